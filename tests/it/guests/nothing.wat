;; Does nothing at all: what a chunk costs that costs nothing.
(module (memory (export "memory") 1) (func (export "_start")))
