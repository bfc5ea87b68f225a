#!/bin/sh
# Writes to stdout, as a tar file, the root of an image in which docker/Dockerfile can be built without
# a registry or a network: Debian with a C compiler, this machine's Rust, and the crates of Cargo.lock.
# Takes a directory to work in, which must be on a file system with room for 1 GB.
set -eu
here=$1
cd "$(dirname "$0")/../.."
rust=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
stage=$here/stage
rm -rf "$stage"
mkdir -p "$stage/usr/local/bin" "$stage/usr/local/lib/rustlib" "$stage/root"

# Hard links cost nothing; across file systems it must be a copy.
bring() { cp -al "$1" "$2" 2>/dev/null || cp -a "$1" "$2"; }
bring "$rust/bin/cargo" "$stage/usr/local/bin/"
bring "$rust/bin/rustc" "$stage/usr/local/bin/"
for library in "$rust"/lib/*.so*; do bring "$library" "$stage/usr/local/lib/"; done
bring "$rust/lib/rustlib/$host" "$stage/usr/local/lib/rustlib/"

# Kept between runs, beside the stage, so that each crate is fetched once.
CARGO_HOME=$here/cargo cargo fetch --quiet --locked --target "$host" >&2
bring "$here/cargo" "$stage/root/.cargo"
rm -rf "$stage/root/.cargo/registry/src"
printf '[net]\noffline = true\n' >"$stage/root/.cargo/config.toml"

# shellcheck disable=SC1091  # the release of this machine, so that its package lists fit
. /etc/os-release
mmdebstrap --quiet --variant=essential --include=gcc,libc6-dev \
    --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
    --customize-hook="sync-in $stage /" "$VERSION_CODENAME" - ||
    { echo "cannot make a root of Debian $VERSION_CODENAME" >&2; exit 1; }
rm -rf "$stage"
