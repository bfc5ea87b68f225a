#!/bin/sh
# Plays the model test under AddressSanitizer and ThreadSanitizer, with a nightly toolchain:
#
#   sh tests/sanitizers.sh [SCRIPTS]     2,000 scripts for each of its tests, unless said otherwise
#
# A report fails the run and is printed.
set -eu
cd "$(dirname "$0")/.."

scripts=${1:-2000}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sanitizers
host=$(rustc +nightly -vV | sed -n 's/^host: //p')

# play NAME FLAGS: every report is kept in $reports.
play() {
    reports=$target/$1/reports
    rm -rf "$reports"
    mkdir -p "$reports"
    echo "== $1 sanitizer"
    options="log_path=$reports/report:exitcode=0"
    ASAN_OPTIONS=$options TSAN_OPTIONS=$options \
        RUSTFLAGS="-Zsanitizer=$1 $2" CARGO_TARGET_DIR=$target/$1 FOREBAY_SCRIPTS=$scripts \
        cargo +nightly test --all-features --target "$host" --test torture -- --test-threads 1 model:: rows::scripts::
}

play address ''
if [ -n "$(ls "$reports")" ]; then
    cat "$reports"/*
    exit 1
fi
echo 'no report'

# Without the standard library's source its locks, channels and threads are not instrumented: what they
# keep apart looks like a race, in them and in what they hold. So a report counts only if it is about a
# place in src/; what the data plane shares is atomics and locks of its own, whose code is compiled there.
play thread '-Cunsafe-allow-abi-mismatch=sanitizer'
summaries=$(cat "$reports"/* 2>/dev/null | grep '^SUMMARY' || true)
if printf '%s\n' "$summaries" | grep -F "$PWD/src/"; then
    echo "whole reports: $reports"
    exit 1
fi
echo "no report about a place in src/; $(printf '%s\n' "$summaries" | grep -c . || true) about the standard library and what it holds"
