#!/bin/sh
# Builds tally.wasm.
set -eu
cd "$(dirname "$0")"
zig=$(command -v zig || command -v python-zig) || {
    echo "build.sh: there is no zig on the PATH; hint: pip install ziglang" >&2
    exit 127
}
"$zig" build-exe -O ReleaseSafe -target wasm32-wasi -femit-bin=tally.wasm tally.zig
