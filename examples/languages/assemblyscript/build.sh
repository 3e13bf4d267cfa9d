#!/bin/sh
# Builds tally.wasm, as asconfig.json says.
set -eu
cd "$(dirname "$0")"
[ -x node_modules/.bin/asc ] || {
    echo "build.sh: there is no AssemblyScript here; hint: npm install, in $PWD" >&2
    exit 127
}
node_modules/.bin/asc
