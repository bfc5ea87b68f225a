//! What the demo is told of a session.

use std::time::Duration;

use crate::plugin::{Observer, SessionFacts};

/// A session that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) client: String,
    /// The address of the backend that served it; none if it reached none.
    pub(super) backend: Option<String>,
    /// Backends that were tried.
    pub(super) attempts: u32,
    /// Bytes from the upstream to the client.
    pub(super) down: u64,
    /// From accept to the end.
    pub(super) took: Duration,
}

/// Calls somebody for each session that ends.
pub(super) struct Teller<F>(pub(super) F);

impl<F: FnMut(Ended) + Send> Observer for Teller<F> {
    fn session_ended(&mut self, facts: &SessionFacts) {
        (self.0)(Ended {
            client: facts.client.to_string(),
            backend: facts.backend.as_ref().map(ToString::to_string),
            attempts: facts.attempts,
            down: facts.bytes_down,
            took: facts.duration,
        });
    }
}
