;; Works as long as its input says: each line is a number of steps, of a few processor cycles each. Prints nothing.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func $spin (param $steps i64) (local $x i64)
    (block $done (loop $again
      (br_if $done (i64.eqz (local.get $steps)))
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (local.set $steps (i64.sub (local.get $steps) (i64.const 1)))
      (br $again)))
    (i64.store (i32.const 512) (local.get $x)))
  (func (export "_start") (local $steps i64) (local $at i32) (local $end i32) (local $byte i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (local.set $at (i32.const 1024))
      (local.set $end (i32.add (i32.const 1024) (i32.load (i32.const 8))))
      (block $read_all (loop $next
        (br_if $read_all (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.eq (local.get $byte) (i32.const 10))
          (then
            (call $spin (local.get $steps))
            (local.set $steps (i64.const 0)))
          (else
            (local.set $steps (i64.add (i64.mul (local.get $steps) (i64.const 10))
              (i64.extend_i32_u (i32.sub (local.get $byte) (i32.const 48)))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
      (br_if $more (i32.load (i32.const 8))))
    (call $spin (local.get $steps))))
