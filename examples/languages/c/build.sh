#!/bin/sh
# Builds tally.wasm with Zig's C compiler, which brings a C library for WASI.
set -eu
cd "$(dirname "$0")"
zig=$(command -v zig || command -v python-zig) || {
    echo "build.sh: there is no zig on the PATH; hint: pip install ziglang" >&2
    exit 127
}
"$zig" cc -O2 -target wasm32-wasi -Wall -Wextra -o tally.wasm tally.c
