//! What each source address may have: sessions at once, and new ones in a time.
//!
//! A [`Sources`] admits a session of a source or says why not, exactly, whatever the threads do.
//! It holds at most [`SOURCES_MAX`] sources: those that have sessions, and those whose rate still
//! remembers some. If it is full, the memory of an idle source goes; a source with sessions is never
//! forgotten. IPv6 sources are one by their prefix, and an IPv4-mapped address is the IPv4 address.
//!
//! Workers take a lock here, one of [`SHARDS`], in which they must never allocate, log or do a system
//! call, and which they hold for a bounded number of instructions. Nothing here reads a clock.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::PerSource;

use super::rate::{LivePace, Pace, nanoseconds};
use shard::{Admission, Key, SHARD_MAX, Shard, Terms};

mod shard;

/// Sources that are remembered at most: 1,048,576, which is about 140 MB. Memory grows towards it only
/// as there are sources that cannot be forgotten.
pub const SOURCES_MAX: usize = SHARDS * SHARD_MAX;

/// Locks that share the sources among them.
const SHARDS: usize = 64;

/// Rounds of making a shard larger before a session is refused: each doubles it, and from the
/// smallest to the largest there are eight.
const GROWTHS_MAX: usize = 16;

/// Counts sessions by source.
pub struct Sources {
    epoch: Instant,
    max: AtomicU32,
    pace: LivePace,
    ipv6_prefix: AtomicU8,
    refused: AtomicU64,
    /// Unknown to clients, so that none can aim at one shard.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// A session counted for its source. Dropping it takes the session off the count.
pub struct SourcePermit {
    sources: Arc<Sources>,
    key: Key,
}

/// Why a source gets no further session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has `per_source.max_connections`.
    Connections,
    /// It is over `per_source.rate`; it may come again after this, if it stays quiet until then.
    Rate(Duration),
    /// [`SOURCES_MAX`] sources have sessions, and this is not one of them.
    Full,
}

impl Sources {
    /// Counts under these settings. Moments before `epoch` count as `epoch`.
    pub fn new(settings: &PerSource, epoch: Instant) -> Self {
        Self {
            epoch,
            max: AtomicU32::new(settings.max_connections.unwrap_or(u32::MAX)),
            pace: LivePace::new(Pace::new(settings.rate)),
            ipv6_prefix: AtomicU8::new(settings.ipv6_prefix),
            refused: AtomicU64::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
        }
    }

    /// Sets what holds from now on. Sessions are never cut: a source over its new maximum gets none
    /// until it fits. Under another prefix counting starts anew. A bucket that owes more than the
    /// new rate can hold is then just empty.
    pub fn set(&self, settings: &PerSource, now: Instant) {
        self.max.store(settings.max_connections.unwrap_or(u32::MAX), Relaxed);
        self.ipv6_prefix.store(settings.ipv6_prefix, Relaxed);
        let pace = Pace::new(settings.rate);
        if pace == self.pace.load() {
            return;
        }
        self.pace.set(pace);
        let latest = pace.empty_at(nanoseconds(self.epoch, now));
        for shard in &self.shards {
            lock(shard).forgive(latest);
        }
    }

    /// Counts a session for `source`, if it may have one. A refused session takes no token of the
    /// rate.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(self: &Arc<Self>, source: IpAddr, now: Instant) -> Result<SourcePermit, Refused> {
        let key = Key::new(source, self.ipv6_prefix.load(Relaxed));
        let terms = Terms {
            max: self.max.load(Relaxed),
            pace: self.pace.load(),
            now: nanoseconds(self.epoch, now),
        };
        let admitted = self.count(key, &terms);
        if admitted.is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
        admitted.map(|()| SourcePermit { sources: Arc::clone(self), key })
    }

    fn count(&self, key: Key, terms: &Terms) -> Result<(), Refused> {
        let shard = self.shard(key);
        for _ in 0..GROWTHS_MAX {
            // The guard is gone before the larger shard is allocated, and before the smaller one,
            // which the exchange leaves here, is freed.
            let admission = lock(shard).admit(key, terms);
            match admission {
                Admission::Counted => return Ok(()),
                Admission::Refused(why) => return Err(why),
                Admission::NeedsRoom(capacity) => {
                    let mut room = Shard::with_capacity(capacity);
                    lock(shard).grow_into(&mut room);
                }
            }
        }
        Err(Refused::Full)
    }

    fn release(&self, key: Key) {
        let remember = !self.pace.load().is_unlimited();
        lock(self.shard(key)).release(key, remember);
    }

    /// Sources that are remembered now; takes every lock in turn.
    pub fn count_sources(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Sessions of all sources; takes every lock in turn.
    pub fn sessions(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).sessions()).sum()
    }

    /// How often [`Self::admit`] refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        // The remainder is below SHARDS and so fits any usize.
        let index = self.hasher.hash_one(key) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }
}

/// A shard is whole after every statement that can panic, so a poisoned lock may be taken over.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        self.sources.release(self.key);
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("max", &self.max)
            .field("pace", &self.pace)
            .field("ipv6_prefix", &self.ipv6_prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SourcePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourcePermit").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests;
