//! What is told of a session, and to whom.

use std::sync::Arc;
use std::time::Duration;

use super::EndReason;
use crate::net::Peer;

/// A session that has ended.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// The listener that it came by.
    pub listener: Arc<str>,
    /// Who came.
    pub client: Peer,
    /// The pool that served it, or would have.
    pub pool: Arc<str>,
    /// The backend that served it; none if it reached none.
    pub backend: Option<Arc<str>>,
    /// Backends that were tried.
    pub attempts: u32,
    /// Bytes from the client to the upstream.
    pub bytes_up: u64,
    /// Bytes from the upstream to the client.
    pub bytes_down: u64,
    /// From accept until the upstream was connected; none if it never was.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
    /// Why it ended.
    pub reason: EndReason,
}

/// Is told what happens with sessions: for logs, metrics, taps.
pub trait Observer: Send {
    /// A session has ended. Called on a thread of its own, from a bounded queue: what does not fit
    /// is dropped and counted, so that a slow observer never stalls a worker.
    fn session_ended(&mut self, facts: &SessionFacts);
}
