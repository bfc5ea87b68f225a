#!/bin/sh
# Fuzzes every target for so many seconds (600), or only those that are named:
#   sh fuzz/run.sh [seconds] [target...]
# Prints runs, coverage and findings of each; ends with 1 if there is a finding.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-600}
[ $# -eq 0 ] || shift
targets=${*:-config session balance words answers}
# What the fuzzer finds on its way; fuzz/keep.sh makes the kept corpus of it.
work=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/corpus
# Built apart from the project, so that neither waits for the other.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz
export CARGO_TARGET_DIR

rustup toolchain list | grep -q '^nightly' || { echo 'a nightly toolchain is needed: rustup toolchain install nightly'; exit 2; }
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

cargo +nightly fuzz build >&2
failed=
for target in $targets; do
    mkdir -p "$work/$target" "fuzz/artifacts/$target"
    log=$work/$target.log
    words=
    [ ! -f "fuzz/$target.dict" ] || words=-dict=fuzz/$target.dict
    verdict=none
    # shellcheck disable=SC2086  # no dictionary is no word
    cargo +nightly fuzz run "$target" "$work/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 $words >"$log" 2>&1 || verdict=found
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "$target: ${runs:-no} runs in $seconds s, ${covered:-no} edges covered, findings: $verdict"
    if [ "$verdict" = found ]; then
        failed=yes
        grep -A 12 'panicked at\|^==[0-9]*== *ERROR' "$log" | head -n 40 || tail -n 20 "$log"
        grep 'Test unit written to' "$log" || true
    fi
done
[ -n "$failed" ] || exit 0
cat <<'TEXT'

What to do with a finding:
  cargo +nightly fuzz run TARGET FILE     replays it
  cargo +nightly fuzz tmin TARGET FILE    makes it smaller
Mend what is wrong, give it a test by name beside the code, see that test fail without the mend,
and copy FILE to fuzz/corpus/TARGET/.
TEXT
exit 1
