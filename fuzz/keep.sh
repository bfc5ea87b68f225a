#!/bin/sh
# Makes the kept corpus of each target anew from what was kept and what fuzz/run.sh has found: the
# files that together cover all, or an even choice of them if they are too many. Files with a name (of
# a finding, of a format) stay.
set -eu
cd "$(dirname "$0")/.."
work=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/corpus
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz
export CARGO_TARGET_DIR
most=200
bytes=2048

for target in ${*:-config session balance words answers}; do
    kept=fuzz/corpus/$target
    new=$work/$target.new
    rm -rf "$new"
    mkdir -p "$new" "$work/$target"
    cargo +nightly fuzz run "$target" "$new" "$kept" "$work/$target" -- \
        -merge=1 -max_len=4096 >"$work/$target.keep.log" 2>&1
    # The fuzzer names a file by its hash.
    find "$kept" -type f | grep -E '/[0-9a-f]{40}$' | xargs -r rm -f
    room=$((most - $(find "$kept" -type f | wc -l)))
    find "$new" -type f -size -"${bytes}c" -printf '%s %p\n' | sort -n >"$work/$target.list"
    # Of too many, as many small ones as large ones.
    awk -v room="$room" -v all="$(wc -l <"$work/$target.list")" \
        'all <= room || int(NR * room / all) > int((NR - 1) * room / all) { print $2 }' \
        "$work/$target.list" | while read -r file; do cp "$file" "$kept/"; done
    rm -rf "$new"
    echo "$target: $(find "$kept" -type f | wc -l) files, $(du -sk --apparent-size "$kept" | cut -f1) KiB"
done
