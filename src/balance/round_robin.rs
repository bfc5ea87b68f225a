//! `round_robin`: members take turns by weight, evenly spread, in one order for all workers.
//!
//! Each member is due again and again, one stride apart: `2^48 / weight` of virtual time (stride
//! scheduling, Waldspurger and Weihl 1995). The pick is the eligible member that is due first, and
//! moves it on by its stride. Virtual time is the due time of the last pick; a member that comes
//! back counts as due now (start-time fair queueing, Goyal, Vin and Cheng 1996), so it takes one turn
//! soon and does not catch up on the turns that it missed. The first due times are spread over a
//! stride, so that weights 5, 1, 1 give `a a a b a a c` and never five `a` in a row.
//!
//! Workers share the due times without a lock. Times wrap around: only their distance counts.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Ask, Balancer, Candidates, Member, Selector};

/// The virtual time between two turns of weight 1. No due time is further ahead of now than a few of
/// these, or behind it than [`BEHIND_MAX`] and one, so distances stay far below the 2^63 at which they would become ambiguous;
/// and a weight of 2^16 still gets its share to within one turn in 2^32.
const STRIDE_ONE: u64 = 1 << 48;

/// How far a member that is out may stay behind: who has waited longest has the first turn of those
/// who come back together, or who are asked again and again for a part of all turns.
const BEHIND_MAX: i64 = 1 << 58;

/// Races that one pick may lose before it takes its turn without looking again.
const RACES_MAX: usize = 8;

/// Members take turns by weight. A member keeps its due time from list to list while its identity and
/// weight stay.
#[derive(Debug, Default)]
pub struct RoundRobin {
    /// Touched when a list changes, never by a pick.
    last: Mutex<Option<Turns>>,
}

/// Whose turn it is in one list.
#[derive(Debug, Clone)]
struct Turns {
    members: Vec<Member>,
    clock: Arc<Clock>,
}

/// What the workers share.
#[derive(Debug)]
struct Clock {
    /// Virtual time: when the last pick was due.
    now: AtomicU64,
    /// When each member is due.
    due: Box<[AtomicU64]>,
}

impl Balancer for RoundRobin {
    fn selector(&self, members: &[Member]) -> Box<dyn Selector> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = Turns::after(last.as_ref(), members);
        let clock = Arc::clone(&turns.clock);
        *last = Some(turns);
        Box::new(InTurn { clock })
    }
}

impl Turns {
    /// Takes over the due times of `last` and forgets who is no longer listed. Turns that workers
    /// take by the old list after this are not seen by the new one.
    fn after(last: Option<&Self>, members: &[Member]) -> Self {
        let now = last.map_or(0, |last| last.clock.now.load(Relaxed));
        let kept: std::collections::HashMap<&Member, u64> =
            last.map(Self::due).into_iter().flatten().collect();
        let due = members.iter().enumerate().map(|(index, member)| {
            let first = || now.wrapping_add(first_due(index, members.len(), member.weight));
            AtomicU64::new(kept.get(member).copied().unwrap_or_else(first))
        });
        let clock = Clock { now: AtomicU64::new(now), due: due.collect() };
        Self { members: members.to_vec(), clock: Arc::new(clock) }
    }

    fn due(&self) -> impl Iterator<Item = (&Member, u64)> {
        self.members.iter().zip(self.clock.due.iter().map(|due| due.load(Relaxed)))
    }
}

/// The middle of the part of its stride that is the member's own when a stride is cut into `count`.
fn first_due(index: usize, count: usize, weight: u32) -> u64 {
    let part = u128::from(stride(weight)) * (2 * index as u128 + 1) / (2 * count.max(1) as u128);
    u64::try_from(part).unwrap_or(0)
}

fn stride(weight: u32) -> u64 {
    STRIDE_ONE / u64::from(weight.max(1))
}

/// The selector: all of its state is shared.
#[derive(Debug)]
struct InTurn {
    clock: Arc<Clock>,
}

/// The member that is due first.
#[derive(Debug, Clone, Copy)]
struct Turn {
    index: usize,
    /// What its due time was when it was chosen.
    seen: u64,
    /// When it is due: `seen`, or now if that is past.
    due: u64,
    weight: u32,
}

impl Turn {
    fn next(&self) -> u64 {
        self.due.wrapping_add(stride(self.weight))
    }
}

impl Selector for InTurn {
    fn pick(&self, _ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
        let mut turn = self.clock.first_due(candidates)?;
        for _ in 0..RACES_MAX {
            if self.clock.take(&turn) {
                return Some(turn.index);
            }
            turn = self.clock.first_due(candidates)?;
        }
        // The turn is accounted for all the same; only its place in the order may be off by a few.
        self.clock.due[turn.index].fetch_add(turn.next().wrapping_sub(turn.seen), Relaxed);
        Some(turn.index)
    }
}

impl Clock {
    fn first_due(&self, candidates: &dyn Candidates) -> Option<Turn> {
        let now = self.now.load(Relaxed);
        let mut first: Option<(i64, Turn)> = None;
        for (index, due) in self.due.iter().enumerate().take(candidates.count()) {
            let seen = due.load(Relaxed);
            let ahead = distance(now, seen);
            let candidate = candidates.at(index);
            if !candidate.eligible() {
                bring_along(due, seen, now);
            } else if first.is_none_or(|(least, _)| ahead < least) {
                // Of several that are past due, the one that has waited longest.
                let due = if ahead > 0 { seen } else { now };
                first = Some((ahead, Turn { index, seen, due, weight: candidate.weight }));
            }
        }
        first.map(|(_, turn)| turn)
    }

    /// Moves the member on by its stride; false if another worker was quicker.
    fn take(&self, turn: &Turn) -> bool {
        // Relaxed: due times guard no other memory, and each is changed by one exchange.
        let due = &self.due[turn.index];
        if due.compare_exchange(turn.seen, turn.next(), Relaxed, Relaxed).is_err() {
            return false;
        }
        let now = self.now.load(Relaxed);
        if distance(now, turn.due) > 0 {
            // If another worker moved it meanwhile, time is at most one turn behind.
            let _ = self.now.compare_exchange(now, turn.due, Relaxed, Relaxed);
        }
        true
    }
}

/// Keeps the due time of a member that is out from falling so far behind that it would wrap
/// around and look as if it were ahead. Writes once in many picks.
fn bring_along(due: &AtomicU64, seen: u64, now: u64) {
    if distance(seen, now) > BEHIND_MAX {
        // Whoever changed it meanwhile moved it on too.
        let _ = due.compare_exchange(seen, now, Relaxed, Relaxed);
    }
}

/// How far `to` is ahead of `from`.
fn distance(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

#[cfg(test)]
mod tests;
