;; Prints its input again and again, 64 KiB in all.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func (export "_start") (local $len i32) (local $more i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 65536))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (local.set $len (i32.load (i32.const 8)))
    (loop $double
      (local.set $more (i32.sub (i32.const 65536) (local.get $len)))
      (if (i32.gt_u (local.get $more) (local.get $len)) (then (local.set $more (local.get $len))))
      (memory.copy (i32.add (i32.const 1024) (local.get $len)) (i32.const 1024) (local.get $more))
      (local.set $len (i32.add (local.get $len) (local.get $more)))
      (br_if $double (i32.lt_u (local.get $len) (i32.const 65536))))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
