//! Who is let in, and to which pool: decided once for each connection.

use std::net::SocketAddr;
use std::time::Instant;

use crate::config::{Choice, Problem};
use crate::net::Peer;

/// Decides about connections before they become sessions.
///
/// The guards of a listener are asked in the order of the file, after its limits and its `deny` and
/// `allow` lists; the first that does not allow decides. A guard is asked in the worker, so it must
/// never block: no lookups, no files, no locks that others hold for long. If it panics, that
/// connection alone is refused. Its state lives on over a reload while its name and options are
/// equal; each listener has a guard of its own.
///
/// ```
/// use forebay::plugin::{Connection, Decision, Guard, Options, Registry};
///
/// /// `guards = [{ closed = { ports = [8081] } }]`: of a range of ports, some are closed.
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Closed {
///     ports: Vec<u16>,
/// }
///
/// impl Guard for Closed {
///     fn decide(&self, connection: &Connection<'_>) -> Decision<'_> {
///         match connection.local {
///             Some(local) if self.ports.contains(&local.port()) => Decision::Deny,
///             _ => Decision::Allow,
///         }
///     }
/// }
///
/// let mut registry = Registry::with_builtins();
/// registry.guard("closed", Options::read::<Closed>);
/// ```
pub trait Guard: Send + Sync {
    /// Decides about one connection.
    fn decide(&self, connection: &Connection<'_>) -> Decision<'_>;

    /// The pools that it may name. One that the file does not have is then reported when the file is
    /// read; else the sessions that it is named for are refused.
    fn pools(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// A connection that was accepted and is not yet a session.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// The listener that it came by.
    pub listener: &'a str,
    /// Who came.
    pub client: &'a Peer,
    /// The address that the client connected to; none for a unix socket.
    pub local: Option<SocketAddr>,
    /// When it was accepted.
    pub accepted: Instant,
}

/// What a guard says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// This guard has nothing against it: the next one is asked.
    Allow,
    /// It is reset.
    Deny,
    /// It goes to the pool of this name, under that pool's limits; no further guard is asked.
    Pool(&'a str),
}

/// The problems that `guard`, made from `choice`, names pools that are not among `known`.
pub fn unknown_pools(choice: &Choice, guard: &dyn Guard, known: &[&str]) -> Vec<Problem> {
    let named = guard.pools();
    let unknown = named.iter().filter(|name| !known.contains(name));
    unknown.map(|name| choice.options.unknown("pool", name, known)).collect()
}
