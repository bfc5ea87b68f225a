//! The checked configuration: plain values with every default filled in.
//!
//! A value that exists is valid. Nothing here remembers where in the file it stood.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Choice;

/// The whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[limits]`
    pub limits: Limits,
    /// `[shutdown]`
    pub shutdown: Shutdown,
    /// `[reload]`
    pub reload: Reload,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[listener.NAME]`, in the order of the file.
    pub listeners: Vec<Listener>,
    /// `[pool.NAME]`, in the order of the file.
    pub pools: Vec<Pool>,
}

/// Caps of the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Concurrent sessions. `None`: what RLIMIT_NOFILE carries.
    pub max_connections: Option<u32>,
    /// Bytes buffered by all sessions. `None`: a quarter of the memory, or of the cgroup's.
    pub buffers: Option<u64>,
    /// Bytes that one half may hold while its other side refuses them.
    pub buffer: usize,
}

/// What happens on SIGTERM and SIGINT.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// Sessions still alive after this are reset.
    pub timeout: Duration,
    /// Accepting goes on for so long, while whoever stands in front notices.
    pub delay: Duration,
}

/// How a change of the file is noticed. SIGHUP reloads it always.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// Who looks.
    pub watch: Watch,
    /// How often the files are read again to see whether they have changed.
    pub interval: Duration,
}

/// How a change of the file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The kernel tells of changes in the directories; the poll finds what it does not tell.
    Auto,
    /// By the poll alone.
    Poll,
    /// Not at all.
    Off,
}

/// The threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// Worker threads. `None`: one per core (`available_parallelism`).
    pub workers: Option<usize>,
    /// True exactly when each worker is pinned to one CPU.
    pub pin_cpus: bool,
    /// How long a worker looks for what comes next before it sleeps.
    pub spin: Option<Duration>,
    /// True exactly when accepted sockets are handed to a clearly less loaded worker.
    pub spread: bool,
    /// When bytes are moved by splice(2) instead of being copied.
    pub splice: Splice,
}

/// When bytes are moved by splice(2) instead of being copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// Once a direction of a session has proved to carry bulk.
    Auto,
    /// From the first byte.
    Always,
    /// Never.
    Never,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// The NAME of `[listener.NAME]`.
    pub name: Arc<str>,
    /// Every single address, port ranges expanded.
    pub addresses: Vec<ListenAddress>,
    /// The pool that its sessions go to.
    pub pool: Arc<str>,
    /// Concurrent sessions.
    pub max_connections: Option<u32>,
    /// What happens to a connection over `max_connections` or `rate`.
    pub over: Over,
    /// New sessions.
    pub rate: Option<Rate>,
    /// Limits for each source address.
    pub per_source: Option<PerSource>,
    /// Sources that are refused.
    pub deny: Vec<IpNet>,
    /// Sources that are let in; empty means all.
    pub allow: Vec<IpNet>,
    /// Guards asked in this order.
    pub guards: Vec<Choice>,
    /// listen(2) backlog; the kernel caps it at net.core.somaxconn.
    pub backlog: u32,
    /// True exactly when clients of this protocol always send first (TCP_DEFER_ACCEPT).
    pub client_first: bool,
    /// TCP_FASTOPEN queue length; `None` is off.
    pub tcp_fastopen: Option<u32>,
    /// SO_BINDTODEVICE.
    pub interface: Option<String>,
    /// IP_FREEBIND: bind an address that this host does not have yet.
    pub freebind: bool,
    /// TCP_CONGESTION of the client side.
    pub congestion: Option<String>,
    /// SO_SNDBUF and SO_RCVBUF of the client side, in bytes. `None`: the kernel tunes itself.
    pub socket_buffer: Option<u64>,
    /// Mode bits of a unix socket file.
    pub mode: Option<u32>,
}

/// One address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP. Port 0: the kernel chooses.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// What happens to a connection over a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It stays in the kernel's backlog until there is room.
    Wait,
    /// It is accepted and reset.
    Reject,
}

/// So many per so long, with bursts of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least 1.
    pub count: u32,
    /// In how long; over zero.
    pub per: Duration,
}

/// Limits for each source address.
#[derive(Debug, Clone, PartialEq)]
pub struct PerSource {
    /// Concurrent sessions.
    pub max_connections: Option<u32>,
    /// New sessions.
    pub rate: Option<Rate>,
    /// Leading bits of an IPv6 address that count as one source.
    pub ipv6_prefix: u8,
}

/// A named group of destinations.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The NAME of `[pool.NAME]`.
    pub name: Arc<str>,
    /// How a backend is picked.
    pub balance: Choice,
    /// How connects are made.
    pub connect: Connect,
    /// Bounds in time.
    pub timeout: Timeouts,
    /// Concurrent sessions.
    pub max_connections: Option<u32>,
    /// The pool that is asked when this one has no usable backend.
    pub fallback: Option<Arc<str>>,
    /// Address that connects are made from; its port is 0.
    pub source: Option<SocketAddr>,
    /// TCP keepalive of both sides; `None` is off.
    pub keepalive: Option<Keepalive>,
    /// TCP_CONGESTION of the upstream side.
    pub congestion: Option<String>,
    /// SO_SNDBUF and SO_RCVBUF of the upstream side, in bytes. `None`: the kernel tunes itself.
    pub socket_buffer: Option<u64>,
    /// Who looks host names up.
    pub resolver: Choice,
    /// How often host names are looked up again.
    pub resolve_interval: Duration,
    /// What happens to the sessions of a backend that is not named any more.
    pub on_remove: OnRemove,
    /// How its backends are measured; `None` is not at all.
    pub probe: Option<ProbeSettings>,
    /// When a backend that fails sessions is left out for a while; `None` is never.
    pub eject: Option<Eject>,
    /// What happens to the sessions of a backend that probes have found unhealthy.
    pub on_unhealthy: OnRemove,
    /// Below this share of healthy backends, in percent, health is not looked at; 0 is never.
    pub panic_threshold: u8,
    /// How long the share of a backend rises that is new, or is used again.
    pub slow_start: Option<Duration>,
    /// How clients wait while no backend has room; `None`: they do not.
    pub queue: Option<Queue>,
    /// How clients wait while no backend can be used; `None`: they do not.
    pub when_down: Option<WhenDown>,
    /// The destinations, in the order of the file.
    pub backends: Vec<Backend>,
}

/// What happens to the sessions of a backend that is not to be used any more: that the file, or the
/// answer to its host name, does not name (also every one of a pool that is removed), or that is
/// unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRemove {
    /// They may finish.
    Drain {
        /// Sessions still alive after this are reset.
        timeout: Duration,
    },
    /// They live on.
    Keep,
    /// They are reset at once.
    Close,
}

/// How the backends of a pool are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSettings {
    /// What is measured.
    pub kind: Choice,
    /// From one probe to the next.
    pub interval: Duration,
    /// From one to the next while they speak against the state.
    pub fast_interval: Duration,
    /// Bound on one probe.
    pub timeout: Duration,
    /// Good ones in a row that make a backend healthy.
    pub rise: u32,
    /// Bad ones in a row that make it unhealthy.
    pub fall: u32,
    /// The port that is probed; `None`: that of the backend.
    pub port: Option<u16>,
    /// The address that is probed; `None`: that of the backend.
    pub address: Option<IpAddr>,
}

/// When a backend that fails sessions is left out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eject {
    /// Failures in a row.
    pub failures: u32,
    /// How long the first time; each time in a row it is twice as long.
    pub time: Duration,
    /// At most so long.
    pub max_time: Duration,
    /// At most so many backends of a pool at once, in percent; never all.
    pub max_ejected: u8,
}

/// How clients wait while every backend that could be used has all the sessions it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// At most so many.
    pub max: u32,
    /// At most so long.
    pub timeout: Duration,
}

/// How clients wait while no backend can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WhenDown {
    /// At most so long.
    pub hold: Duration,
    /// At most so many.
    pub max: u32,
    /// So many may go on once there is a backend again.
    pub release_rate: Rate,
}

/// How connects are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// Bound on one attempt.
    pub timeout: Duration,
    /// Candidates tried for one session.
    pub attempts: u32,
    /// Attempts beyond the first of each session, in percent of those firsts.
    pub retry_budget: u8,
    /// After so long without an answer another backend is tried beside.
    pub hedge: Option<Duration>,
    /// Bound on all attempts together.
    pub deadline: Duration,
}

/// Bounds in time. `None` is off.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// No byte moved in either direction.
    pub idle: Option<Duration>,
    /// One direction has ended and no byte moved in the other.
    pub half_closed: Option<Duration>,
    /// Age of a session.
    pub lifetime: Option<Duration>,
    /// Share of `lifetime` by which it varies at random, in percent (0 to 100).
    pub lifetime_jitter: u8,
    /// After an abort: no byte was acknowledged by the side that is still to be told.
    pub abort: Duration,
    /// A peer that holds unacknowledged bytes and answers nothing.
    pub dead_peer: Option<Duration>,
}

/// TCP keepalive (tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub count: u32,
}

/// One destination as the file names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Where it is.
    pub address: BackendAddress,
    /// Share of new sessions; 0: none.
    pub weight: u32,
    /// Its tier: those of a higher number are used as far as the lower ones lack healthy backends.
    pub priority: u32,
    /// Concurrent sessions.
    pub max_connections: Option<u32>,
    /// The operator's will.
    pub state: State,
}

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// An IP address.
    Ip(std::net::IpAddr, BackendPort),
    /// A host name, looked up by the control thread.
    Name(Arc<str>, BackendPort),
    /// The name of a service, whose SRV records say host, port, weight and priority (RFC 2782).
    Service(Arc<str>),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// The port of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendPort {
    /// This port.
    Fixed(u16),
    /// The port that the client connected to, plus this (`"10.0.0.5:+0"`).
    Offset(i32),
}

/// The operator's will for a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// In use.
    Ready,
    /// No new sessions; old ones finish.
    Drain,
    /// No new sessions, and not looked after.
    Maint,
}
