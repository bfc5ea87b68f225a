//! How many connects a pool may make beyond those that its clients ask for.
//!
//! When backends fail, each client becomes several connects, just when those that are left have the
//! most to do. So retries are bounded by a share of the clients' own connects of the last seconds, and
//! a few a second besides, so that a quiet pool may retry too.
//!
//! Who waits and has tried before looks again within the same budget, a retry for each look. But one of them
//! who is served shows that somebody is there again, so two more may look besides: those who wait go on as
//! fast as they are served, and no faster.
//!
//! It counts in two windows, the one of now and the one before. Threads that race may count one retry
//! too many; none is bounded by it for good. It must never read a clock: `now` is an argument.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use super::RateLimiter;
use crate::config::Rate;

/// In milliseconds.
const WINDOW: u64 = 5_000;

/// So many are always allowed.
const FLOOR: Rate = Rate { count: 10, per: Duration::from_secs(1) };

/// Retries of a pool.
#[derive(Debug)]
pub struct Retries {
    epoch: Instant,
    windows: [Window; 2],
    floor: RateLimiter,
    /// So many more may look of those who wait.
    earned: AtomicU32,
}

/// Connects that began in one window.
#[derive(Debug, Default)]
struct Window {
    number: AtomicU64,
    firsts: AtomicU32,
    retries: AtomicU32,
}

impl Retries {
    /// None were made yet.
    pub fn new(epoch: Instant) -> Self {
        let floor = RateLimiter::new(Some(FLOOR), epoch);
        Self { epoch, windows: Default::default(), floor, earned: AtomicU32::new(0) }
    }

    /// Counts the first connect for a client. `now` is in milliseconds of the clock of all.
    pub fn note_first(&self, now: u64) {
        self.window(now).firsts.fetch_add(1, Relaxed);
    }

    /// True exactly when there may be one more retry, which is counted then: they are to be at most
    /// `percent` of the firsts. `now` is in milliseconds of the clock of all.
    pub fn may_retry(&self, percent: u8, now: u64) -> bool {
        let current = self.window(now);
        let recent = || self.windows.iter().filter(|it| it.is_recent(now / WINDOW));
        let firsts: u64 = recent().map(|it| u64::from(it.firsts.load(Relaxed))).sum();
        let retries: u64 = recent().map(|it| u64::from(it.retries.load(Relaxed))).sum();
        if (retries + 1) * 100 <= firsts * u64::from(percent) {
            current.retries.fetch_add(1, Relaxed);
            return true;
        }
        self.floor.try_take(self.epoch + Duration::from_millis(now)).is_ok()
    }

    /// One who had waited is connected.
    pub fn served_one(&self) {
        let more = |earned: u32| Some(earned.saturating_add(2));
        // The closure never declines.
        let _ = self.earned.fetch_update(Relaxed, Relaxed, more);
    }

    /// One who looked by what was earned has found nobody: it counts no more.
    pub fn failed_one(&self) {
        if self.earned.load(Relaxed) != 0 {
            self.earned.store(0, Relaxed);
        }
    }

    /// True exactly when one more of those who wait may look for what others met, who is counted then.
    pub fn take_earned(&self) -> bool {
        self.earned.fetch_update(Relaxed, Relaxed, |earned| earned.checked_sub(1)).is_ok()
    }

    /// The window of now, emptied if it is a new one.
    fn window(&self, now: u64) -> &Window {
        let number = now / WINDOW;
        let window = &self.windows[usize::from(number % 2 == 1)];
        if window.number.load(Relaxed) < number && window.number.swap(number, Relaxed) < number {
            window.firsts.store(0, Relaxed);
            window.retries.store(0, Relaxed);
        }
        window
    }
}

impl Window {
    fn is_recent(&self, number: u64) -> bool {
        self.number.load(Relaxed) + 1 >= number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(retries: &Retries, percent: u8, now: u64) -> usize {
        (0..10_000).take_while(|_| retries.may_retry(percent, now)).count()
    }

    #[test]
    fn they_are_a_share_of_the_firsts_and_a_few_besides() {
        let retries = Retries::new(Instant::now());
        assert_eq!(allowed(&retries, 20, 0), 10, "a quiet pool may retry");
        (0..1000).for_each(|_| retries.note_first(0));
        assert_eq!(allowed(&retries, 20, 0), 200);
        assert_eq!(allowed(&retries, 20, 0), 0);
        assert_eq!(allowed(&retries, 20, 1000), 10, "a few a second");
        (0..100).for_each(|_| retries.note_first(1000));
        assert_eq!(allowed(&retries, 20, 1000), 20);
        assert_eq!(allowed(&retries, 0, 2000), 10);
        assert_eq!(allowed(&retries, 100, 2000), 880);
    }

    #[test]
    fn one_who_is_served_lets_two_go_on_until_one_fails() {
        let retries = Retries::new(Instant::now());
        let earned = || (0..100).take_while(|_| retries.take_earned()).count();
        assert_eq!(earned(), 0);
        (0..3).for_each(|_| retries.served_one());
        assert_eq!(earned(), 6);
        assert_eq!(earned(), 0);
        retries.served_one();
        retries.failed_one();
        assert_eq!(earned(), 0);
        assert_eq!(allowed(&retries, 20, 0), 10, "counted apart");
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let retries = Retries::new(Instant::now());
        (0..1000).for_each(|_| retries.note_first(4_000));
        assert_eq!(allowed(&retries, 20, 9_999), 210, "the window before counts");
        (0..1000).for_each(|_| retries.note_first(9_999));
        assert_eq!(allowed(&retries, 20, 14_999), 10, "those of before were for the window before");
        assert_eq!(allowed(&retries, 20, 25_000), 10);
        (0..50).for_each(|_| retries.note_first(60_000));
        assert_eq!(allowed(&retries, 20, 60_000), 20);
    }
}
