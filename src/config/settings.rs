//! The checked configuration: plain values with every default filled in.
//!
//! A value that exists is valid. Nothing here remembers where in the file it stood.

use std::net::SocketAddr;
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

/// The threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// Worker threads. `None`: one per core (`available_parallelism`).
    pub workers: Option<usize>,
    /// True exactly when each worker is pinned to one CPU.
    pub pin_cpus: bool,
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
    /// How often host names are looked up again.
    pub resolve_interval: Duration,
    /// The destinations, in the order of the file.
    pub backends: Vec<Backend>,
}

/// How connects are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// Bound on one attempt.
    pub timeout: Duration,
    /// Candidates tried for one session.
    pub attempts: u32,
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
