//! The tables themselves, in the order in which the reference shows them.

use super::{Key, Kind};

const MAX: u64 = u32::MAX as u64;

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// The top of the file.
pub const ROOT: &[Key] = &[
    key("include", Kind::Paths, "[]", "further files, relative to this one; `*` in the last part"),
    key("limits", Kind::Table(LIMITS), "", "caps of the whole process"),
    key("shutdown", Kind::Table(SHUTDOWN), "", "what happens on SIGTERM and SIGINT"),
    key("reload", Kind::Table(RELOAD), "", "how a change of the file is noticed, besides SIGHUP"),
    key("runtime", Kind::Table(RUNTIME), "", "the threads"),
    key("defaults", Kind::Table(DEFAULTS), "", "what holds for every table that does not say"),
    key("listener", Kind::Named(LISTENER), "", "where clients connect"),
    key("pool", Kind::Named(POOL), "", "a named group of destinations"),
];

const LIMITS: &[Key] = &[
    key(
        "max_connections",
        Kind::Count { min: 1, max: MAX },
        "",
        "concurrent sessions of the process; else what RLIMIT_NOFILE carries",
    ),
    key(
        "buffers",
        Kind::Size { min: 1 << 20, max: 1 << 50 },
        "",
        "sum of what is buffered; else a quarter of the memory, or of the cgroup's",
    ),
    key(
        "buffer",
        Kind::Size { min: 4 << 10, max: 1 << 20 },
        "\"64KiB\"",
        "what one half holds while its other side refuses bytes (4KiB to 1MiB)",
    ),
];

const SHUTDOWN: &[Key] = &[
    key("timeout", Kind::Delay, "\"30s\"", "sessions still alive after this are reset"),
    key(
        "delay",
        Kind::Delay,
        "\"0s\"",
        "keep accepting so long, while whoever stands in front notices",
    ),
];

const RELOAD: &[Key] = &[
    key(
        "watch",
        Kind::OneOf(&["auto", "poll", "off"]),
        "\"auto\"",
        "\"auto\": the kernel tells of changes, and a poll finds the rest; \"poll\": the poll alone",
    ),
    key("interval", Kind::Duration, "\"5s\"", "between two looks of the poll"),
];

const RUNTIME: &[Key] = &[
    key("workers", Kind::Count { min: 1, max: 256 }, "", "worker threads; else one per core"),
    key("pin_cpus", Kind::Flag, "false", "pin each worker to one CPU"),
    key(
        "spin",
        Kind::Timeout,
        "\"off\"",
        "a worker that had something to do looks for more for so long before it sleeps; at most 1ms",
    ),
    key("spread", Kind::Flag, "true", "hand accepted sockets to a clearly less loaded worker"),
    key(
        "splice",
        Kind::OneOf(&["auto", "always", "never"]),
        "\"auto\"",
        "move bytes inside the kernel: once a direction carries bulk, from the first byte, never",
    ),
];

/// `[defaults]`: neither an address, backends nor a fallback makes sense for all.
pub const DEFAULTS: &[Key] = &[
    key("listener", Kind::Table(LISTENER_SHARED), "", "for every listener, key by key"),
    key("pool", Kind::Table(POOL_SHARED), "", "for every pool, key by key"),
];

/// `[listener.NAME]`
pub const LISTENER: &[Key] = &joined::<17>(
    &[key(
        "address",
        Kind::ListenAddresses,
        "",
        "IP:PORT, IP:FIRST-LAST or unix:/PATH, or a list; [::] is IPv6 only; port 0: the kernel's choice",
    )],
    LISTENER_SHARED,
);

const LISTENER_SHARED: &[Key] = &[
    key("pool", Kind::PoolName, "", "the pool that its sessions go to"),
    key("max_connections", Kind::Count { min: 1, max: MAX }, "", "concurrent sessions"),
    key(
        "over",
        Kind::OneOf(&["wait", "reject"]),
        "\"wait\"",
        "over a cap: \"wait\" in the kernel's backlog, or \"reject\"",
    ),
    key("rate", Kind::Rate, "", "new sessions"),
    key("per_source", Kind::Table(PER_SOURCE), "", "limits for each source address"),
    key("deny", Kind::Networks, "[]", "sources that are refused"),
    key("allow", Kind::Networks, "[]", "sources that are let in; a list denies the rest"),
    key("guards", Kind::Choices, "[]", "guards, asked in this order"),
    key(
        "backlog",
        Kind::Count { min: 1, max: 1 << 20 },
        "4096",
        "listen(2) backlog; the kernel caps it at net.core.somaxconn",
    ),
    key("client_first", Kind::Flag, "false", "clients of this protocol always send first"),
    key(
        "tcp_fastopen",
        Kind::FlagOrCount { min: 0, max: 1 << 20 },
        "false",
        "TCP Fast Open: queue length; true is 256",
    ),
    key("interface", Kind::KernelName, "", "network interface (SO_BINDTODEVICE)"),
    key("freebind", Kind::Flag, "false", "bind an address that this host does not have yet"),
    key("congestion", Kind::KernelName, "", "congestion control towards clients; else the host's"),
    key(
        "socket_buffer",
        SOCKET_BUFFER,
        "",
        "what the kernel may hold for a client, each way; else it tunes itself",
    ),
    key("mode", Kind::Mode, "", "mode bits of a unix socket file; else what the umask leaves"),
];

/// SO_SNDBUF and SO_RCVBUF (socket(7)); the kernel has a lowest and, in sysctls, a highest of its own.
const SOCKET_BUFFER: Kind = Kind::Size { min: 4 << 10, max: 1 << 30 };

const PER_SOURCE: &[Key] = &[
    key("max_connections", Kind::Count { min: 1, max: MAX }, "", "concurrent sessions of a source"),
    key("rate", Kind::Rate, "", "new sessions of a source"),
    key(
        "ipv6_prefix",
        Kind::Count { min: 1, max: 128 },
        "64",
        "leading bits of an IPv6 address that count as one source",
    ),
];

/// `[pool.NAME]`
pub const POOL: &[Key] = &joined::<20>(
    &[
        key("backends", Kind::Backends, "", "addresses, or tables as in [[pool.NAME.backends]]"),
        key(
            "fallback",
            Kind::PoolName,
            "",
            "the pool that is asked when this one has no usable backend",
        ),
    ],
    POOL_SHARED,
);

const POOL_SHARED: &[Key] = &[
    key("balance", Kind::Choice, "\"round_robin\"", "how a backend is picked"),
    key("connect", Kind::Table(CONNECT), "", "how connects are made"),
    key("timeout", Kind::Table(TIMEOUT), "", "bounds in time"),
    key("max_connections", Kind::Count { min: 1, max: MAX }, "", "concurrent sessions of the pool"),
    key("source", Kind::SourceAddress, "", "address that connects are made from"),
    key("keepalive", Kind::FlagOrTable(KEEPALIVE), "", "TCP keepalive of both sides"),
    key("congestion", Kind::KernelName, "", "congestion control towards backends; else the host's"),
    key(
        "socket_buffer",
        SOCKET_BUFFER,
        "",
        "what the kernel may hold for an upstream, each way; else it tunes itself",
    ),
    key(
        "resolver",
        Kind::Choice,
        "\"system\"",
        "who looks host names up: \"system\", or \"dns\", which follows their time to live",
    ),
    key("resolve_interval", Kind::Duration, "\"30s\"", "how often host names are looked up again"),
    key(
        "on_remove",
        Kind::OneKind(ON_REMOVE),
        "\"drain\"",
        "what happens to the sessions of a backend that is not named any more",
    ),
    key("probe", Kind::FlagOrTable(PROBE), "false", "how backends are measured; true: by tcp"),
    key("eject", Kind::FlagOrTable(EJECT), "true", "leaves a backend out that fails sessions"),
    key(
        "on_unhealthy",
        Kind::OneKind(ON_REMOVE),
        "\"keep\"",
        "what happens to the sessions of a backend that probes find unhealthy",
    ),
    key(
        "panic_threshold",
        Kind::Percent,
        "\"0%\"",
        "below this share of healthy backends all are used; 0%: never",
    ),
    key(
        "slow_start",
        Kind::Timeout,
        "\"off\"",
        "how long the share of a backend rises that is new or is used again",
    ),
    key(
        "queue",
        Kind::FlagOrTable(QUEUE),
        "false",
        "clients wait while every backend has its max_connections; else they are reset",
    ),
    key(
        "when_down",
        Kind::FlagOrTable(WHEN_DOWN),
        "false",
        "clients wait while no backend can be used",
    ),
];

const PROBE: &[Key] = &[
    key("kind", Kind::Choice, "\"tcp\"", "what is measured"),
    key("interval", Kind::Duration, "\"2s\"", "from one probe to the next"),
    key(
        "fast_interval",
        Kind::Duration,
        "\"500ms\"",
        "the same while they speak against the state; default: a quarter of interval",
    ),
    key("timeout", Kind::Duration, "\"1s\"", "bound on one probe"),
    key("rise", Kind::Count { min: 1, max: 1000 }, "2", "good ones in a row: healthy"),
    key("fall", Kind::Count { min: 1, max: 1000 }, "3", "bad ones in a row: unhealthy"),
    key("port", Kind::Count { min: 1, max: 65_535 }, "", "port to probe; else the backend's"),
    key("address", Kind::SourceAddress, "", "IP address to probe; else the backend's"),
];

const QUEUE: &[Key] = &[
    key("max", Kind::Count { min: 1, max: 1_000_000 }, "1000", "at most so many"),
    key("timeout", Kind::Duration, "\"5s\"", "at most so long"),
];

const WHEN_DOWN: &[Key] = &[
    key("hold", Kind::Duration, "\"10s\"", "at most so long"),
    key("max", Kind::Count { min: 1, max: MAX }, "5000", "at most so many"),
    key("release_rate", Kind::Rate, "\"1000/s\"", "so many go on once there is a backend again"),
];

const EJECT: &[Key] = &[
    key(
        "failures",
        Kind::Count { min: 1, max: 10_000 },
        "5",
        "connects in a row that fail, or sessions reset before a byte came back",
    ),
    key("time", Kind::Duration, "\"10s\"", "how long at first; twice as long each time in a row"),
    key("max_time", Kind::Duration, "\"5m\"", "at most so long"),
    key("max_ejected", Kind::Percent, "\"50%\"", "at most so many of a pool at once, never all"),
];

const ON_REMOVE: &[Key] = &[
    key("drain", Kind::Table(DRAIN), "", "they may finish"),
    key("keep", Kind::Table(&[]), "", "they live on"),
    key("close", Kind::Table(&[]), "", "they are reset at once"),
];

const DRAIN: &[Key] =
    &[key("timeout", Kind::Duration, "\"1h\"", "sessions still alive after this are reset")];

const CONNECT: &[Key] = &[
    key("timeout", Kind::Duration, "\"5s\"", "bound on one attempt"),
    key("attempts", Kind::Count { min: 1, max: 1000 }, "3", "backends tried for one session"),
    key(
        "retry_budget",
        Kind::Percent,
        "\"20%\"",
        "attempts beyond the first of each session, of those firsts; ten a second are always allowed",
    ),
    key("hedge", Kind::Timeout, "\"off\"", "after so long another backend is tried beside"),
    key(
        "deadline",
        Kind::Duration,
        "\"15s\"",
        "bound on all attempts; default: attempts x timeout",
    ),
];

const TIMEOUT: &[Key] = &[
    key("idle", Kind::Timeout, "\"1h\"", "no byte moved in either direction"),
    key(
        "half_closed",
        Kind::Timeout,
        "\"30s\"",
        "one direction has ended and no byte moved in the other",
    ),
    key("lifetime", Kind::Timeout, "\"off\"", "age of a session"),
    key(
        "lifetime_jitter",
        Kind::Percent,
        "\"0%\"",
        "share of lifetime by which it varies at random",
    ),
    key(
        "abort",
        Kind::Duration,
        "\"10s\"",
        "after an abort: the side still to be told acknowledges nothing",
    ),
    key(
        "dead_peer",
        Kind::Timeout,
        "\"30s\"",
        "a peer that holds unacknowledged bytes answers nothing",
    ),
];

const KEEPALIVE: &[Key] = &[
    key("idle", Kind::Duration, "\"60s\"", "silence before the first probe (whole seconds)"),
    key("interval", Kind::Duration, "\"10s\"", "between probes (whole seconds)"),
    key(
        "count",
        Kind::Count { min: 1, max: 127 },
        "6",
        "unanswered probes that end the connection",
    ),
];

/// One of `[[pool.NAME.backends]]`
pub const BACKEND: &[Key] = &[
    key(
        "address",
        Kind::BackendAddress,
        "",
        "HOST:PORT, srv:NAME or unix:/PATH; port +N or -N is the client's destination port plus or minus N",
    ),
    key("weight", Kind::Count { min: 0, max: 65_535 }, "1", "share of new sessions; 0: none"),
    key(
        "priority",
        Kind::Count { min: 0, max: 99 },
        "0",
        "its tier: a higher one is used as far as the lower ones lack healthy backends",
    ),
    key("backup", Kind::Flag, "false", "true is priority = 1"),
    key(
        "max_connections",
        Kind::Count { min: 1, max: MAX },
        "",
        "concurrent sessions of the backend",
    ),
    key(
        "state",
        Kind::OneOf(&["ready", "drain", "maint"]),
        "\"ready\"",
        "\"drain\": no new sessions; \"maint\": not looked after either",
    ),
];

/// Puts the keys that only the table itself has before those that it shares with its defaults.
const fn joined<const ALL: usize>(own: &[Key], shared: &[Key]) -> [Key; ALL] {
    assert!(own.len() + shared.len() == ALL, "the length of a joined table is wrong");
    let mut all = [key("", Kind::Flag, "", ""); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < own.len() { own[at] } else { shared[at - own.len()] };
        at += 1;
    }
    all
}
