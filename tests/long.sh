#!/bin/sh
# All that is too long for every commit, one after the other, on a machine that does nothing else:
# the torture cases and rows at full length (40 minutes at most; writes docs/torture.md), every fuzz target
# (ten minutes each), and the model test under sanitizers. Each can be run by itself:
#
#   sh tests/torture.sh long
#   sh fuzz/run.sh [SECONDS [TARGET...]]
#   sh tests/sanitizers.sh [SCRIPTS]
#
#   sh tests/long.sh [SECONDS]     so many for each fuzz target, 600 unless said otherwise
#
# All are played, whatever fails; what failed is named at the end.
set -u
cd "$(dirname "$0")/.."

seconds=${1:-600}
failed=

play() {
    printf '\n== %s\n' "$*"
    sh "$@" || failed="$failed $1"
}

play tests/torture.sh long
play fuzz/run.sh "$seconds"
play tests/sanitizers.sh

[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
echo 'all is well'
