;; Says that it can fold outputs, and not that it can combine them.
(module
  (memory (export "memory") 1)
  (@custom "essaim" "reduce")
  (func (export "_start")))
