;; Prints its input and a comma. What it folds, or combines, it prints one behind the other, so that their order shows.
;; It fails on what begins with a y. It combines nothing that begins with an x: says so on stderr and exits 3. What begins
;; with an s takes it a while to combine, and with what begins with a u it comes to no end.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 64) "no x can be combined\n")
  (@custom "essaim" "combine reduce")
  ;; Whether the environment, at 8192, has these eight bytes in it.
  (func $has (param $word i64) (result i32) (local $at i32)
    (local.set $at (i32.const 8192))
    (loop $next
      (if (i64.eq (i64.load (local.get $at)) (local.get $word)) (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.add (i32.const 8192) (i32.load (i32.const 20))))))
    (i32.const 0))
  (func $print (param $to i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $at i32) (local $end i32) (local $combines i32) (local $spin i32)
    (local.set $end (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (i32.store (i32.const 0) (local.get $end))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $end (i32.add (local.get $end) (i32.load (i32.const 8))))
      (br_if $more (i32.load (i32.const 8))))
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $environ (i32.const 1024) (i32.const 8192)))
    ;; _ROLE=ma
    (if (call $has (i64.const 0x616d3d454c4f525f))
      (then
        (if (i32.eq (i32.load8_u (i32.const 65536)) (i32.const 121)) (then (call $exit (i32.const 3))))
        (i32.store8 (local.get $end) (i32.const 44))
        (call $print (i32.const 1) (i32.const 65536)
          (i32.sub (i32.add (local.get $end) (i32.const 1)) (i32.const 65536)))
        (return)))
    ;; _ROLE=co
    (local.set $combines (call $has (i64.const 0x6f633d454c4f525f)))
    (local.set $at (i32.const 65536))
    (loop $frames
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (if (local.get $combines)
            (then
              (if (i32.eq (i32.load8_u offset=4 (local.get $at)) (i32.const 120))
                (then
                  (call $print (i32.const 2) (i32.const 64) (i32.const 21))
                  (call $exit (i32.const 3))))
              (if (i32.eq (i32.load8_u offset=4 (local.get $at)) (i32.const 117)) (then (loop $ever (br $ever))))
              (if (i32.eq (i32.load8_u offset=4 (local.get $at)) (i32.const 115))
                (then
                  (local.set $spin (i32.const 0))
                  (loop $turn
                    (local.set $spin (i32.add (local.get $spin) (i32.const 1)))
                    (br_if $turn (i32.lt_u (local.get $spin) (i32.const 20000000))))))))
          (call $print (i32.const 1) (i32.add (local.get $at) (i32.const 4)) (i32.load (local.get $at)))
          (local.set $at (i32.add (i32.add (local.get $at) (i32.const 4)) (i32.load (local.get $at))))
          (br $frames))))))
