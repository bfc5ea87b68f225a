//! Why a session ended: a cause and the phase in which it struck.

use std::fmt;

/// What ended the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Both sides sent all they had and a FIN.
    Finished,
    /// The client reset, or its connection failed.
    ClientReset,
    /// The upstream reset, or its connection failed.
    UpstreamReset,
    /// The client left before the session reached an upstream.
    ClientLeft,
    /// No backend could be picked.
    NoBackend,
    /// Every attempt to connect was refused or failed.
    ConnectFailed,
    /// `connect.deadline` passed, or the last attempt's `connect.timeout`.
    ConnectTimeout,
    /// `timeout.idle`
    Idle,
    /// `timeout.half_closed`
    HalfClosed,
    /// `timeout.lifetime`
    Lifetime,
    /// `timeout.abort`
    AbortTimeout,
    /// `timeout.dead_peer`
    DeadPeer,
    /// The client's address is denied.
    Denied,
    /// `per_source`
    SourceLimit,
    /// `max_connections` or `rate` of the process or the listener, with `over = "reject"`.
    Limit,
    /// `max_connections` of the pool or of all its backends; with a `queue`, that is full.
    PoolLimit,
    /// `queue.timeout`
    QueueTimeout,
    /// No descriptor, memory or port was left.
    Resources,
    /// The time to drain was over.
    Shutdown,
    /// The operator, or a lost backend, ended it.
    Ended,
    /// A fault in Forebay while it handled the session.
    Panic,
}

/// How far the session had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Being judged.
    Accept,
    /// Looking for an upstream.
    Connect,
    /// Moving bytes.
    Relay,
    /// One side had aborted; the other was still to get what had arrived.
    Abort,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndReason {
    /// What ended it.
    pub cause: Cause,
    /// How far it had come.
    pub phase: Phase,
}

impl Cause {
    /// Every cause, in the order of their discriminants.
    pub const ALL: [Self; 21] = [
        Self::Finished,
        Self::ClientReset,
        Self::UpstreamReset,
        Self::ClientLeft,
        Self::NoBackend,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::Idle,
        Self::HalfClosed,
        Self::Lifetime,
        Self::AbortTimeout,
        Self::DeadPeer,
        Self::Denied,
        Self::SourceLimit,
        Self::Limit,
        Self::PoolLimit,
        Self::QueueTimeout,
        Self::Resources,
        Self::Shutdown,
        Self::Ended,
        Self::Panic,
    ];

    /// Its name in logs, metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::ClientLeft => "client_left",
            Self::NoBackend => "no_backend",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::Idle => "idle_timeout",
            Self::HalfClosed => "half_closed_timeout",
            Self::Lifetime => "lifetime",
            Self::AbortTimeout => "abort_timeout",
            Self::DeadPeer => "dead_peer",
            Self::Denied => "denied",
            Self::SourceLimit => "source_limit",
            Self::Limit => "limit",
            Self::PoolLimit => "pool_limit",
            Self::QueueTimeout => "queue_timeout",
            Self::Resources => "resources",
            Self::Shutdown => "shutdown",
            Self::Ended => "ended",
            Self::Panic => "panic",
        }
    }
}

impl Phase {
    /// Its name in logs, metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Relay => "relay",
            Self::Abort => "abort",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cause.name(), self.phase.name())
    }
}
