#!/bin/sh
# Installs what the tests use, where it can (apt, root), says what is missing where it cannot, and
# runs everything. With CI=true nothing is left out: what is missing is a failure.
set -eu
cd "$(dirname "$0")/.."

# program:Debian package
programs='redis-server:redis-server redis-cli:redis-tools redis-benchmark:redis-tools
pgbench:postgresql psql:postgresql-client postgres:postgresql initdb:postgresql
nginx:nginx-light wrk:wrk curl:curl iperf3:iperf3 socat:socat
haproxy:haproxy dnsmasq:dnsmasq-base ngx_stream_module.so:libnginx-mod-stream
nft:nftables ip:iproute2 strace:strace prlimit:util-linux setpriv:util-linux unshare:util-linux mount:mount sysctl:procps
docker:docker.io dockerd:docker.io docker-compose:docker-compose mmdebstrap:mmdebstrap busybox:busybox-static'

found() {
    command -v "$1" >/dev/null 2>&1 && return 0
    [ -e "/usr/lib/nginx/modules/$1" ] && return 0
    for directory in /usr/sbin /sbin /usr/lib/postgresql/*/bin; do
        [ -x "$directory/$1" ] && return 0
    done
    return 1
}

missing_packages() {
    for pair in $programs; do
        found "${pair%%:*}" || echo "${pair#*:}"
    done | sort -u | tr '\n' ' '
}

# Debian starts a server when it is installed; this answer keeps it from doing so.
policy=/usr/sbin/policy-rc.d
ours=
forget_policy() { [ -z "$ours" ] || rm -f "$policy"; }

install_packages() {
    if [ ! -e "$policy" ]; then
        ours=yes
        trap forget_policy EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086  # one word for each package
    if ! { apt-get update && apt-get install -y --no-install-recommends $1; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log"
        echo "apt-get could not install: $1"
    fi
    rm -f "$log"
    forget_policy
    ours=
}

packages=$(missing_packages)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing: $packages"
    install_packages "$packages"
    packages=$(missing_packages)
fi
if [ -n "$packages" ]; then
    echo "missing packages: $packages"
    [ "${CI:-}" != true ] || exit 1
fi
[ "$(id -u)" = 0 ] || echo 'not root: tests in network namespaces are left out'

# Each test waits for events, not for fixed times, so the two runners differ only in what they print.
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --all-features --no-fail-fast --status-level fail --final-status-level slow
    cargo test --all-features --doc
else
    cargo test --all-features --no-fail-fast
fi
# The library without its features; what needs them is left out by `required-features`.
cargo test --no-default-features --test data_plane
