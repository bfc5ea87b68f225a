//! One lock's share of the sources: a dense list of them and an index by key.
//!
//! No operation allocates: the capacity is given at the start, and a larger shard is made by the
//! caller outside the lock and exchanged by [`Shard::grow_into`]. Every operation takes a bounded
//! number of steps.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Refused;
use crate::model::rate::Pace;

/// Sources in one shard at most.
pub(super) const SHARD_MAX: usize = 16_384;

/// Sources in a shard at first.
const SHARD_FIRST: usize = 64;

/// Sources that are looked at to find one that can be forgotten.
const SAMPLE: usize = 128;

/// What counts as one source: an IPv4 address (mapped into IPv6, RFC 4291 section 2.5.5.2) or an
/// IPv6 prefix. The two cannot be equal, for a prefix that is cut loses bits of `::ffff:0:0/96`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

/// What holds for an admission.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Sessions of one source.
    pub(super) max: u32,
    pub(super) pace: Pace,
    /// Nanoseconds since the epoch.
    pub(super) now: u64,
}

/// What became of an admission.
#[derive(Debug)]
pub(super) enum Admission {
    Counted,
    Refused(Refused),
    /// Nothing was counted: the shard needs this capacity first.
    NeedsRoom(usize),
}

#[derive(Debug, Clone, Copy)]
struct Source {
    key: Key,
    /// Sessions that it has.
    active: u32,
    /// When its bucket is full, in nanoseconds since the epoch.
    full_at: u64,
}

/// A share of the sources.
#[derive(Debug)]
pub(super) struct Shard {
    capacity: usize,
    sources: Vec<Source>,
    /// Position in `sources`.
    index: HashMap<Key, usize>,
    /// Sources without a session.
    idle: usize,
    /// Where the next search for one that can be forgotten starts.
    hand: usize,
}

impl Key {
    pub(super) fn new(source: IpAddr, ipv6_prefix: u8) -> Self {
        let bits = match source.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => {
                let host_bits = 128 - u32::from(ipv6_prefix.min(128));
                // A shift by 128 bits would overflow: then nothing is left of the address.
                address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)
            }
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bits.to_be_bytes();
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let low = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
        Self([high, low])
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::with_capacity(SHARD_FIRST)
    }
}

impl Shard {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            sources: Vec::with_capacity(capacity),
            // Twice as much: a std map whose removed entries have used up its room rehashes in place
            // while it is at most half full, and would allocate otherwise.
            index: HashMap::with_capacity(capacity * 2),
            idle: 0,
            hand: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Sessions of all its sources.
    pub(super) fn sessions(&self) -> u64 {
        self.sources.iter().map(|source| u64::from(source.active)).sum()
    }

    /// Counts a session for `key`.
    pub(super) fn admit(&mut self, key: Key, terms: &Terms) -> Admission {
        if let Some(&position) = self.index.get(&key) {
            let source = &mut self.sources[position];
            return match source.admit(terms) {
                Ok(()) => {
                    self.idle -= usize::from(source.active == 1);
                    Admission::Counted
                }
                Err(why) => Admission::Refused(why),
            };
        }
        let mut source = Source { key, active: 0, full_at: 0 };
        if let Err(why) = source.admit(terms) {
            return Admission::Refused(why);
        }
        if let Err(otherwise) = self.make_room(terms.now) {
            return otherwise;
        }
        self.index.insert(key, self.sources.len());
        self.sources.push(source);
        Admission::Counted
    }

    /// Takes a session off. A source without any is forgotten, unless it is to be remembered for its
    /// rate.
    pub(super) fn release(&mut self, key: Key, remember: bool) {
        let Some(&position) = self.index.get(&key) else {
            debug_assert!(false, "a source with a session was forgotten");
            return;
        };
        let source = &mut self.sources[position];
        source.active = source.active.saturating_sub(1);
        if source.active == 0 {
            self.idle += 1;
            if !remember {
                self.forget_idle(position);
            }
        }
    }

    /// Lets no bucket be full later than `latest`.
    pub(super) fn forgive(&mut self, latest: u64) {
        for source in &mut self.sources {
            source.full_at = source.full_at.min(latest);
        }
    }

    /// Moves all into `room` and becomes it, if that is larger: the caller frees the rest.
    pub(super) fn grow_into(&mut self, room: &mut Self) {
        // Another thread may have been quicker.
        if room.capacity > self.capacity {
            room.sources.append(&mut self.sources);
            room.index.extend(self.index.drain());
            room.idle = self.idle;
            std::mem::swap(self, room);
        }
    }

    /// Makes room for one more: by forgetting an idle source whose bucket is full again; else by
    /// growing; at full size by forgetting the one that refills soonest.
    fn make_room(&mut self, now: u64) -> Result<(), Admission> {
        if self.sources.len() < self.capacity {
            return Ok(());
        }
        match self.soonest_idle() {
            Some(position) if self.sources[position].full_at <= now => self.forget_idle(position),
            _ if self.capacity < SHARD_MAX => {
                return Err(Admission::NeedsRoom((self.capacity * 2).min(SHARD_MAX)));
            }
            Some(position) => self.forget_idle(position),
            None => return Err(Admission::Refused(Refused::Full)),
        }
        Ok(())
    }

    /// The idle source that refills soonest, among the next [`SAMPLE`]; if none of them is idle, the
    /// first idle one anywhere, so at most a walk over the shard.
    fn soonest_idle(&mut self) -> Option<usize> {
        if self.idle == 0 {
            return None;
        }
        let count = self.sources.len();
        let start = self.hand;
        self.hand = (start + SAMPLE) % count.max(1);
        let positions = || (0..count).map(|step| (start + step) % count);
        let idle = |position: &usize| self.sources[*position].active == 0;
        let sample = positions().take(SAMPLE).filter(idle);
        sample
            .min_by_key(|&position| self.sources[position].full_at)
            .or_else(|| positions().skip(SAMPLE).find(idle))
    }

    fn forget_idle(&mut self, position: usize) {
        let source = self.sources.swap_remove(position);
        debug_assert_eq!(source.active, 0, "a source with a session was forgotten");
        self.idle -= 1;
        self.index.remove(&source.key);
        if let Some(moved) = self.sources.get(position) {
            self.index.insert(moved.key, position);
        }
    }
}

impl Source {
    fn admit(&mut self, terms: &Terms) -> Result<(), Refused> {
        if self.active >= terms.max {
            return Err(Refused::Connections);
        }
        if !terms.pace.is_unlimited() {
            self.full_at = terms.pace.take(self.full_at, terms.now).map_err(Refused::Rate)?;
        }
        self.active += 1;
        Ok(())
    }
}
