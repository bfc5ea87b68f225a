//! The immutable view that workers read, and the one place where it is published.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::{Budget, Count, Ends, Gauges, Limit, ListenerView, Throttle, Wake};

/// Names a listening socket's address for as long as it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

/// What the file says, made ready for workers. Never changed once it is published.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts the snapshots of this process from 1.
    pub generation: u64,
    /// Who listens on which address.
    pub listeners: HashMap<SocketId, Arc<ListenerView>>,
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
    /// A model with an empty snapshot, for `workers` workers that `wake` wakes.
    pub fn new(workers: usize, wake: Arc<dyn Wake>, epoch: Instant) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            sessions: Arc::new(Limit::new(None, wake)),
            budget: Arc::new(Budget::new(u64::MAX)),
            gauges: (0..workers).map(|_| Gauges::default()).collect(),
            ends: Ends::default(),
            dropped_facts: Count::default(),
            complaints: Throttle::default(),
            epoch,
        }
    }
}
