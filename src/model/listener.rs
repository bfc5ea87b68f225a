//! A listener: who may come in, and where they go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::{Counters, Guards, Limit, PoolView, RateLimiter, SourcePermit, Sources, Throttle};
use crate::config::Over;

/// A listener. It outlives the snapshots that name it; its identity is its name.
#[derive(Debug)]
pub struct Listener {
    /// Its name in the file.
    pub name: Arc<str>,
    /// `max_connections`
    pub limit: Arc<Limit>,
    /// `rate`
    pub rate: RateLimiter,
    /// What happened.
    pub counters: Counters,
    /// Says when it may be said that a guard fails.
    pub complaints: Throttle,
}

/// A listener as one snapshot sees it.
#[derive(Debug)]
pub struct ListenerView {
    /// What outlives the snapshot.
    pub listener: Arc<Listener>,
    /// What happens over a cap.
    pub over: Over,
    /// `per_source`
    pub sources: Option<Arc<Sources>>,
    /// Sources that are refused.
    pub deny: Vec<IpNet>,
    /// Sources that are let in; empty means all.
    pub allow: Vec<IpNet>,
    /// Asked about who is left.
    pub guards: Guards,
    /// True exactly when clients send first.
    pub client_first: bool,
    /// `socket_buffer`
    pub socket_buffer: Option<u64>,
    /// Where sessions go that no guard sends elsewhere.
    pub pool: Arc<PoolView>,
}

/// What becomes of a source.
#[derive(Debug)]
pub enum Verdict {
    /// It may come in, and is counted while it is.
    Admitted(Option<SourcePermit>),
    /// It is over `per_source`.
    OverLimit,
    /// A list keeps it out.
    Denied,
}

impl ListenerView {
    /// Judges a source: first its limits, then deny, then allow. A unix client has no address and
    /// passes all three. Guards come after this, since they are told more.
    pub fn judge(&self, source: Option<IpAddr>, now: Instant) -> Verdict {
        let Some(source) = source else { return Verdict::Admitted(None) };
        let permit = match &self.sources {
            None => None,
            Some(sources) => match sources.admit(source, now) {
                Ok(permit) => Some(permit),
                Err(_) => return Verdict::OverLimit,
            },
        };
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&source));
        if within(&self.deny) || (!self.allow.is_empty() && !within(&self.allow)) {
            return Verdict::Denied;
        }
        Verdict::Admitted(permit)
    }
}
