;; Fails on what begins with an x: says so on stderr and exits 3. Comes to no end on what begins with a z.
;; Prints all else, up to 64 KiB, and a newline. It can fold outputs, too, in the same way: their frames as they are.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 64) "not an x, please\n")
  (@custom "essaim" "reduce")
  (func (export "_start")
    (local $len i32)
    (i32.store (i32.const 4) (i32.const 4096))
    (loop $more
      (i32.store (i32.const 0) (i32.add (i32.const 1024) (local.get $len)))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $len (i32.add (local.get $len) (i32.load (i32.const 8))))
      (br_if $more (i32.load (i32.const 8))))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 120))
      (then
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 17))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $exit (i32.const 3))))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 122)) (then (loop $ever (br $ever))))
    (i32.store8 (i32.add (i32.const 1024) (local.get $len)) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.add (local.get $len) (i32.const 1)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
