#!/bin/sh
# Measures Forebay beside HAProxy, nginx and Envoy, in a network namespace made for it;
# benches/README.md says what the figures mean.
#
#   sh benches/peers/run.sh [--quick] [--json FILE] [--svg FILE] [more: --help]
set -eu
cd "$(dirname "$0")/../.."

congestion=reno
# Longest that all of it may take, in seconds; then it is ended.
limit=${FOREBAY_BENCH_LIMIT:-18000}
quick=
for argument; do
    [ "$argument" = --quick ] && quick=yes limit=1200
done

say() { printf '%s\n' "$*" >&2; }

# Debian's packages of what is compared and measured with. They need not be there: what is missing
# is left out. No service is started, nor one that was not running before left behind. Newer builds
# are named by FOREBAY_PEER_HAPROXY, FOREBAY_PEER_NGINX, FOREBAY_PEER_NGINX_MODULE and
# FOREBAY_PEER_ENVOY.
install_missing() {
    missing=
    [ -x /usr/sbin/nginx ] || missing="$missing nginx"
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
    [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
    command -v strace >/dev/null || missing="$missing strace"
    command -v ip >/dev/null || missing="$missing iproute2"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || [ -n "$quick" ]; then
        say "not installed, so left out:$missing"
        return 0
    fi
    policy=/usr/sbin/policy-rc.d
    own_policy=
    if [ ! -e "$policy" ]; then
        # Debian asks this program whether a service may start (invoke-rc.d(8)); 101 is no.
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        own_policy=yes
    fi
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null ||
        say "cannot install:$missing"
    [ -z "$own_policy" ] || rm -f "$policy"
}

# A namespace of our own: nobody else's traffic, and the host's settings stay as they are.
make_namespace() {
    namespace=forebay-bench-$$
    ip netns add "$namespace" 2>/dev/null || return 1
    trap 'ip netns del "$namespace"' EXIT
    trap 'exit 130' INT TERM HUP
    inside="ip netns exec $namespace"
    $inside ip link set lo up
    $inside sysctl -qw net.ipv4.tcp_congestion_control=$congestion
    $inside sysctl -qw net.ipv4.ip_local_port_range='1024 65535'
    $inside sysctl -qw net.ipv4.tcp_tw_reuse=1
}

install_missing
if [ -z "${FOREBAY_PEER_ENVOY:-}" ]; then
    # Debian does not have it.
    FOREBAY_PEER_ENVOY=$(sh tests/envoy.sh ${quick:+--installed})/envoy
    export FOREBAY_PEER_ENVOY
fi
cargo build --quiet --release
cargo build --quiet --release --example peers
target=${CARGO_TARGET_DIR:-target}/release

inside=
if ! make_namespace; then
    say "no namespace (needs root and ip): measuring on the host's loopback, with its settings"
fi
# Load and servers on the last CPU, proxies with one worker on the first.
cores=$(nproc)
# shellcheck disable=SC2086 # words, or none
timeout --kill-after=10 "$limit" $inside taskset -c "$((cores - 1))" "$target/examples/peers" \
    --forebay "$target/forebay" --proxy-cpu 0 --cores "$cores" "$@"
