#!/bin/sh
# Counts the instructions of benches/instructions.rs and compares them with those that are kept.
# Fails if a count is more than 3 % over. Usage: sh benches/instructions.sh [--keep]
set -eu
cd "$(dirname "$0")/.."

kept=benches/instructions.toml
# Hundredths by which a count may differ.
tolerance=3
bin=${CARGO_HOME:-$HOME/.cargo}/bin
PATH=$bin:$PATH

say() { printf '%s\n' "$*" >&2; }

case "${1:-}" in
'' | --keep) ;;
*)
    say 'usage: sh benches/instructions.sh [--keep]'
    exit 2
    ;;
esac

if ! command -v valgrind >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say 'valgrind is missing, and only root can install it (apt-get install valgrind)'
        exit 1
    fi
    apt-get update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends valgrind >/dev/null
fi

# The library speaks with a runner of its own version only. It does little, so it needs no optimising.
version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)
runner=$(command -v gungraun-runner || true)
if [ -z "$runner" ] || ! "$runner" --version | grep -qF "$version"; then
    cargo install --quiet --locked --debug --force --root "${bin%/bin}" --version "=$version" gungraun-runner
    runner=$bin/gungraun-runner
fi
export GUNGRAUN_RUNNER="$runner"

here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
trap 'exit 130' INT TERM HUP
# A place of its own, so that nothing of an earlier run is counted.
GUNGRAUN_HOME=$here/out cargo bench --quiet --bench instructions >"$here/log" 2>&1 || {
    cat "$here/log" >&2
    exit 1
}
# One file for each: …/GROUP/FUNCTION.CASE/callgrind.FUNCTION.CASE.out, in callgrind's own format.
find "$here/out" -name 'callgrind.*.out' | sort | while read -r file; do
    name=${file%/*}
    group=${name%/*}
    count=$(awk '$1 == "summary:" { print $2 }' "$file")
    printf '"%s/%s" = %s\n' "${group##*/}" "${name##*/}" "$count"
done >"$here/counts"
if [ ! -s "$here/counts" ] || grep -qE ' = 0?$' "$here/counts"; then
    cat "$here/log" "$here/counts" >&2
    say 'nothing was counted'
    exit 1
fi

compiler=$(rustc --version)
if [ "${1:-}" = --keep ]; then
    {
        echo '# Instructions, as sh benches/instructions.sh --keep has counted them.'
        printf 'compiler = "%s"\nvalgrind = "%s"\n\n[counts]\n' "$compiler" "$(valgrind --version)"
        cat "$here/counts"
    } >"$kept"
    say "kept in $kept"
    exit 0
fi

grep -qF "compiler = \"$compiler\"" "$kept" ||
    say "the counts were kept with another compiler than $compiler: see benches/README.md"
grep '^"' "$kept" >"$here/kept"
awk -F ' = ' -v tolerance="$tolerance" '
    NR == FNR { kept[$1] = $2; next }
    FNR == 1 { printf "%-34s %12s %12s %8s\n", "", "kept", "now", "ratio" }
    {
        seen[$1]
        if (!($1 in kept)) { printf "%-34s %12s %12d new: keep it\n", $1, "-", $2; bad = 1; next }
        ratio = $2 / kept[$1]
        word = ""
        if (ratio > 1 + tolerance / 100) { word = "  MORE"; bad = 1 }
        if (ratio < 1 - tolerance / 100) { word = "  less: keep the new counts"; }
        printf "%-34s %12d %12d %8.4f%s\n", $1, kept[$1], $2, ratio, word
    }
    END {
        for (name in kept) if (!(name in seen)) { printf "%s is not counted any more\n", name; bad = 1 }
        if (bad) printf "over %s %%, or others than are kept\n", tolerance
        exit bad
    }' "$here/kept" "$here/counts"
