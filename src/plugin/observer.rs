//! What is told of sessions, and to whom.

use std::sync::Arc;
use std::time::Duration;

use super::EndReason;
use crate::net::Peer;

/// Is told what happens with sessions: for logs, metrics, taps.
///
/// Observers are called on a thread of their own, from a bounded queue: what does not fit is dropped
/// and counted, so that a slow observer never stalls a worker, and may not have been told of every
/// start whose end it is told of. One that panics is told of the next session all the same.
/// A connection that is refused before it is a session (by a limit, `deny`, a guard) is not told of.
///
/// ```
/// use forebay::plugin::{Observer, Registry, SessionFacts};
///
/// /// Says which clients sent nothing.
/// struct Silent;
///
/// impl Observer for Silent {
///     fn session_ended(&mut self, facts: &SessionFacts) {
///         if facts.bytes_up == 0 {
///             println!("{} sent nothing: {}", facts.client, facts.reason);
///         }
///     }
/// }
///
/// let mut registry = Registry::with_builtins();
/// registry.observer(Silent);
/// ```
pub trait Observer: Send {
    /// A session has started: its client was let in, and is about to be connected to a backend.
    fn session_started(&mut self, start: &SessionStart) {
        let _ = start;
    }

    /// A session has ended. Those of a worker that died of a fault are not told of.
    fn session_ended(&mut self, facts: &SessionFacts) {
        let _ = facts;
    }
}

/// A session that has started.
#[derive(Debug, Clone)]
pub struct SessionStart {
    /// Its number. No two sessions at the same time have the same.
    pub id: u64,
    /// The listener that it came by.
    pub listener: Arc<str>,
    /// Who came.
    pub client: Peer,
    /// The pool that is to serve it; the fallback of that one may serve it in the end.
    pub pool: Arc<str>,
}

/// A session that has ended.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// Its number, as when it started.
    pub id: u64,
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

/// What workers tell, on its way to the observers.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// A session has started.
    Started(SessionStart),
    /// A session has ended.
    Ended(SessionFacts),
}

impl SessionEvent {
    /// Tells it to `observer`.
    pub fn tell(&self, observer: &mut dyn Observer) {
        match self {
            Self::Started(start) => observer.session_started(start),
            Self::Ended(facts) => observer.session_ended(facts),
        }
    }
}
