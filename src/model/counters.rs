//! What happened, in numbers that only grow; and what each worker has at this moment.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::Pulse;
use crate::plugin::Cause;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Adds one; the number before.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Sessions of one listener, pool or backend, counted when they end.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions that ended.
    pub sessions: Count,
    /// Bytes from client to upstream.
    pub bytes_up: Count,
    /// Bytes from upstream to client.
    pub bytes_down: Count,
    /// Connects that came to nothing.
    pub connect_failures: Count,
}

/// Ended sessions by cause.
#[derive(Debug, Default)]
pub struct Ends([Count; Cause::ALL.len()]);

impl Ends {
    /// Counts one.
    pub fn add(&self, cause: Cause) {
        self.add_many(cause, 1);
    }

    /// Counts several.
    pub fn add_many(&self, cause: Cause, how_many: u64) {
        if let Some(count) = self.0.get(cause as usize) {
            count.add(how_many);
        }
    }

    /// How many ended so.
    pub fn value(&self, cause: Cause) -> u64 {
        self.0.get(cause as usize).map_or(0, Count::value)
    }
}

/// What one worker has now and has met. On lines of its own in the cache: each worker writes its
/// own all the time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Sessions that it has, also those on the way to it.
    pub sessions: AtomicUsize,
    /// Accepted connections.
    pub accepted: Count,
    /// Sessions that have started here.
    pub started: Count,
    /// Accepting stopped for want of descriptors or memory.
    pub exhausted: Count,
    /// Connects for which no source port was left.
    pub out_of_ports: Count,
    /// Sockets handed to another worker.
    pub handed_over: Count,
    /// How often control found that the loop did not turn.
    pub stalls: Count,
    /// Whether the loop turns, and what it is at.
    pub pulse: Pulse,
}
