//! An exact cap on how much of something exists at once, across all threads.
//!
//! A [`Limit`] admits at most `max` [`Permit`]s; dropping a permit gives it back. A worker that finds
//! the limit full may leave a bit behind and go to sleep; whoever gives a permit back wakes one such
//! worker. No wake is lost and `max` is never exceeded, whatever the threads do.
//!
//! A permit is one pointer. It must never block, allocate or read a clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// Workers that can wait; one with a higher number is never woken and has to retry by its timer.
pub const WORKERS_MAX: usize = WORDS * 64;

const WORDS: usize = 4;

/// How a waiting worker learns that it may try again.
///
/// A wake is a hint that is given once. The worker that gets it retries everything that it paused
/// for want of a permit, and then calls [`Limit::pass_on`], since it may have wanted nothing.
pub trait Wake: Send + Sync {
    /// Wakes the worker of this number, which is below [`WORKERS_MAX`]. Called from any thread, with
    /// no lock held; it may do a system call but must not block.
    fn wake(&self, worker: usize);

    /// Calls a session of that worker which waits in a [`Queue`](super::Queue) and is its first, by
    /// what the worker knows it by. Called as `wake` is.
    fn call(&self, _worker: usize, _session: usize) {}

    /// Told whenever so many permits have come free. Called as `wake` is.
    fn freed(&self, _permits: usize) {}
}

/// For a limit that nobody waits for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWaiters;

impl Wake for NoWaiters {
    fn wake(&self, _worker: usize) {}
}

/// An exact cap across threads, settable while it is in use.
///
/// Every operation on `state` and `waiting` that decides whether somebody sleeps is `SeqCst`:
///
/// ```text
///   who waits                      who releases
///   W1  set own bit                R1  current -= 1
///   W2  look at current            R2  look at the bits
/// ```
///
/// Each side writes one word and then reads the other's (Dekker's pattern). With acquire and
/// release alone both reads could miss both writes, and the worker would sleep beside a free
/// permit. In the one total order of `SeqCst` either R1 comes before W2, and the worker sees the
/// room, or W1 comes before R2, and the releaser sees the bit. If the room that W2 would have seen is
/// already taken by somebody else, that permit's own release comes after W1.
pub struct Limit {
    /// `max << 32 | current` in one word, so that a permit is admitted by the `max` that holds at
    /// that very moment.
    state: AtomicU64,
    /// One bit for each worker that sleeps until there is room.
    waiting: [AtomicU64; WORDS],
    /// The worker with which the search for a bit starts, so that all get their turn.
    next: AtomicUsize,
    refused: AtomicU64,
    wake: Arc<dyn Wake>,
}

/// The right to one unit of a [`Limit`]. Dropping it gives the right back and wakes a waiting worker.
pub struct Permit(Arc<Limit>);

impl Limit {
    /// A limit of `max`; `None` is unlimited (counted all the same).
    pub fn new(max: Option<u32>, wake: Arc<dyn Wake>) -> Self {
        Self {
            state: AtomicU64::new(u64::from(max.unwrap_or(u32::MAX)) << 32),
            waiting: Default::default(),
            next: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            wake,
        }
    }

    /// Permits that may exist at once; `u32::MAX` is unlimited.
    pub fn max(&self) -> u32 {
        halves(self.state.load(Relaxed)).0
    }

    /// Permits that exist. Above [`Self::max`] only after that was lowered.
    pub fn current(&self) -> u32 {
        halves(self.state.load(Relaxed)).1
    }

    /// True exactly when there is no room now.
    pub fn is_full(&self) -> bool {
        let (max, current) = halves(self.state.load(SeqCst));
        current >= max
    }

    /// How often [`Self::acquire`] found no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Sets `max`; `None` is unlimited. Below `current` none is admitted until it fits, and no permit
    /// is taken away. New room wakes as many waiting workers as it has places.
    pub fn set_max(&self, max: Option<u32>) {
        let high = u64::from(max.unwrap_or(u32::MAX)) << 32;
        let keep_current = |state: u64| Some(high | u64::from(halves(state).1));
        // The closure never declines, so both results are the state before.
        let (Ok(before) | Err(before)) = self.state.fetch_update(SeqCst, SeqCst, keep_current);
        let room = max.unwrap_or(u32::MAX).saturating_sub(halves(before).1) as usize;
        self.wake.freed(room);
        for _ in 0..room.min(WORKERS_MAX) {
            if !self.wake_one() {
                break;
            }
        }
    }

    /// A permit if there is room.
    pub fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.attempt();
        if permit.is_none() {
            self.refused.fetch_add(1, Relaxed);
        }
        permit
    }

    /// A permit if there is room; otherwise `worker` is woken once when there may be.
    pub fn acquire_or_wait(self: &Arc<Self>, worker: usize) -> Option<Permit> {
        self.attempt().or_else(|| self.wait_and_retry(worker))
    }

    fn wait_and_retry(self: &Arc<Self>, worker: usize) -> Option<Permit> {
        debug_assert!(worker < WORKERS_MAX, "worker {worker} has no bit");
        let word = self.waiting.get(worker / 64)?;
        let bit = 1 << (worker % 64);
        let before = word.fetch_or(bit, SeqCst);
        let permit = self.attempt()?;
        // Only the bit that this call set: an earlier one speaks for something else that this worker
        // paused. A bit that a releaser has just taken costs one wake too many, which is harmless.
        if before & bit == 0 {
            word.fetch_and(!bit, SeqCst);
        }
        Some(permit)
    }

    /// Wakes the next waiting worker if there is room: for a worker that was woken and has no use for
    /// the room, and for one that ends.
    pub fn pass_on(&self) {
        let (max, current) = halves(self.state.load(SeqCst));
        if current < max {
            self.wake_one();
        }
    }

    /// Forgets that `worker` waits, for a worker that ends; what it may have been woken for goes to
    /// the next.
    pub fn stop_waiting(&self, worker: usize) {
        if let Some(word) = self.waiting.get(worker / 64) {
            word.fetch_and(!(1 << (worker % 64)), SeqCst);
        }
        self.pass_on();
    }

    /// Lock-free: a lost race means that another thread has got on.
    fn attempt(self: &Arc<Self>) -> Option<Permit> {
        // `current < max` leaves room in the low half, so the addition never carries over.
        let admit = |state: u64| {
            let (max, current) = halves(state);
            (current < max).then(|| state + 1)
        };
        self.state.fetch_update(SeqCst, SeqCst, admit).ok().map(|_| Permit(Arc::clone(self)))
    }

    fn release(&self) {
        let before = self.state.fetch_sub(1, SeqCst);
        debug_assert!(halves(before).1 > 0, "a permit was given back twice");
        self.wake.freed(1);
        self.wake_one();
    }

    /// Takes one bit and wakes its worker; false if no bit was found.
    fn wake_one(&self) -> bool {
        let start = self.next.load(Relaxed) % WORKERS_MAX;
        let from_start = u64::MAX << (start % 64);
        // The start's word comes twice: its upper part first, its lower part last.
        for step in 0..=WORDS {
            let index = (start / 64 + step) % WORDS;
            let mask = match step {
                0 => from_start,
                WORDS => !from_start,
                _ => u64::MAX,
            };
            if let Some(bit) = take_bit(&self.waiting[index], mask) {
                let worker = index * 64 + bit as usize;
                self.next.store(worker + 1, Relaxed);
                self.wake.wake(worker);
                return true;
            }
        }
        false
    }
}

impl Permit {
    /// The limit that it counts under.
    pub fn limit(&self) -> &Arc<Limit> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The lowest bit under `mask`, cleared by this call. At most one round for each bit: one that
/// another releaser was quicker to take is not looked at again, since that releaser wakes its worker,
/// and if the worker sets it anew it looks at `state` after our release.
fn take_bit(word: &AtomicU64, mask: u64) -> Option<u32> {
    let mut left = word.load(SeqCst) & mask;
    while left != 0 {
        let bit = left.trailing_zeros();
        if word.fetch_and(!(1 << bit), SeqCst) & (1 << bit) != 0 {
            return Some(bit);
        }
        left &= left - 1;
    }
    None
}

/// `(max, current)`
fn halves(state: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = state.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, current) = halves(self.state.load(Relaxed));
        f.debug_struct("Limit")
            .field("max", &max)
            .field("current", &current)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests;
