//! The immutable view that workers read, and the one place where it is published.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::config::Runtime;

use super::{Budget, Count, Ends, Gauges, Limit, ListenerView, Pools, Throttle, Wake};

/// Names a listening socket's address for as long as it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

/// What the file says, made ready for workers. Never changed once it is published.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the snapshots of this process from 1.
    pub generation: u64,
    /// Who listens on which address.
    pub listeners: HashMap<SocketId, Arc<ListenerView>>,
    /// The pools by name.
    pub pools: Arc<Pools>,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `limits.buffer`: bytes that one half may hold, and that are read at once.
    pub buffer: usize,
}

/// What the whole process shares.
#[derive(Debug)]
pub struct Model {
    /// What workers read, once a turn.
    pub snapshot: ArcSwap<Snapshot>,
    /// `limits.max_connections`
    pub sessions: Arc<Limit>,
    /// `limits.buffers`
    pub budget: Arc<Budget>,
    /// One for each worker there may be.
    pub gauges: Box<[Gauges]>,
    /// Ended sessions by cause.
    pub ends: Ends,
    /// Facts that an observer was too slow for.
    pub dropped_facts: Count,
    /// Says when it may be said that descriptors have run out.
    pub complaints: Throttle,
    /// What all clocks of the process count from.
    pub epoch: Instant,
}

impl Model {
    /// A model of `first` for at most `workers` workers, which `wake` wakes.
    pub fn new(first: Snapshot, workers: usize, wake: Arc<dyn Wake>, epoch: Instant) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(first),
            sessions: Arc::new(Limit::new(None, wake)),
            budget: Arc::new(Budget::new(u64::MAX)),
            gauges: (0..workers).map(|_| Gauges::default()).collect(),
            ends: Ends::default(),
            dropped_facts: Count::default(),
            complaints: Throttle::default(),
            epoch,
        }
    }

    /// Milliseconds from the epoch to `at`: the clock of all.
    pub fn age(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.epoch);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }
}
