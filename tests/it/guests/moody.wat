;; What it does depends on the first letter of its input: `x` traps, `s` never ends, `m` takes 64 MiB of memory or traps;
;; everything but `s` works for a while first, and prints its input and a newline.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $steps (mut i64) (i64.const 10000000))
  (func $is (param $letter i32) (result i32) (i32.eq (i32.load8_u (i32.const 1024)) (local.get $letter)))
  (func (export "_start") (local $x i64)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 65535))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop $forever (br_if $forever (call $is (i32.const 115))))
    (loop $again
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (global.set $steps (i64.sub (global.get $steps) (i64.const 1)))
      (br_if $again (i64.gt_s (global.get $steps) (i64.const 0))))
    (i64.store (i32.const 512) (local.get $x))
    (if (call $is (i32.const 120)) (then unreachable))
    (if (call $is (i32.const 109))
      (then (if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)) (then unreachable))))
    (i32.store8 (i32.add (i32.const 1024) (i32.load (i32.const 8))) (i32.const 10))
    (i32.store (i32.const 4) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
