;; Says that it is at 40 %, and never ends.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "\1eessaim-progress 40\n")
  (data (i32.const 0) "\00\04\00\00\14\00\00\00")
  (func (export "_start")
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop $again (br $again))))
