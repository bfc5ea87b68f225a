//! A rate with bursts: so many per so long, kept in one number.
//!
//! The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): one moment is stored, the
//! one at which the bucket would be full again. Taking a token moves it on by one interval; what
//! would move it further than the whole bucket ahead of now is refused. Threads that race never get
//! more than the rate.
//!
//! It must never read a clock: `now` is an argument.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::config::Rate;

/// Longer periods count as this one, 146 years, so that sums of moments and periods fit.
const LONGEST: u64 = u64::MAX / 4;

/// A rate as the algorithm needs it, in nanoseconds. An interval of zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two tokens: `per / count`, rounded up, so that the rate is never exceeded.
    interval: u64,
    /// In which an empty bucket becomes full: `interval * count`.
    window: u64,
}

/// A [`Pace`] that can be set while others read it. Its two numbers are not read as one: a decision
/// made during a change may mix the old and the new, and then the next one does not.
#[derive(Debug)]
pub(super) struct LivePace {
    interval: AtomicU64,
    window: AtomicU64,
}

/// A rate limit that threads share without a lock, settable while it is in use.
#[derive(Debug)]
pub struct RateLimiter {
    epoch: Instant,
    pace: LivePace,
    /// When the bucket is full again, in nanoseconds since `epoch`.
    full_at: AtomicU64,
}

impl RateLimiter {
    /// A full bucket of `rate.count` tokens, which refills in `rate.per`. `None` is no limit.
    /// Moments before `epoch` count as `epoch`.
    pub fn new(rate: Option<Rate>, epoch: Instant) -> Self {
        let pace = LivePace::new(Pace::new(rate));
        Self { epoch, pace, full_at: AtomicU64::new(0) }
    }

    /// Sets the rate. A bucket that owes more than the new one can hold is then just empty.
    pub fn set(&self, rate: Option<Rate>, now: Instant) {
        let pace = Pace::new(rate);
        self.pace.set(pace);
        self.full_at.fetch_min(pace.empty_at(nanoseconds(self.epoch, now)), Relaxed);
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long it is until there will be one, if nobody else takes it.
    pub fn try_take(&self, now: Instant) -> Result<(), Duration> {
        let pace = self.pace.load();
        if pace.is_unlimited() {
            return Ok(());
        }
        let now = nanoseconds(self.epoch, now);
        let mut full_at = self.full_at.load(Relaxed);
        // Relaxed: the number guards no other memory. A lost race means that somebody took a token,
        // so there are at most as many rounds as tokens.
        loop {
            let after = pace.take(full_at, now)?;
            match self.full_at.compare_exchange(full_at, after, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(found) => full_at = found,
            }
        }
    }

    /// Gives back a token that was taken and not used.
    pub fn put_back(&self) {
        let interval = self.pace.load().interval;
        let earlier = |full_at: u64| Some(full_at.saturating_sub(interval));
        // The closure never declines.
        let _ = self.full_at.fetch_update(Relaxed, Relaxed, earlier);
    }
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let Some(rate) = rate else {
            return Self { interval: 0, window: 0 };
        };
        let count = u64::from(rate.count.max(1));
        let per = u64::try_from(rate.per.as_nanos()).map_or(LONGEST, |per| per.min(LONGEST));
        let interval = per.div_ceil(count).max(1);
        Self { interval, window: interval.saturating_mul(count) }
    }

    pub(super) fn is_unlimited(self) -> bool {
        self.interval == 0
    }

    /// Takes a token from a bucket that is full at `full_at` and returns when it then is.
    ///
    /// # Errors
    /// How long it is until there will be a token.
    pub(super) fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let after = full_at.max(now).saturating_add(self.interval);
        let wait = (after - now).saturating_sub(self.window);
        if wait == 0 { Ok(after) } else { Err(Duration::from_nanos(wait)) }
    }

    /// When a bucket that is empty now is full.
    pub(super) fn empty_at(self, now: u64) -> u64 {
        now.saturating_add(self.window)
    }
}

impl LivePace {
    pub(super) fn new(pace: Pace) -> Self {
        Self { interval: AtomicU64::new(pace.interval), window: AtomicU64::new(pace.window) }
    }

    pub(super) fn load(&self) -> Pace {
        Pace { interval: self.interval.load(Relaxed), window: self.window.load(Relaxed) }
    }

    pub(super) fn set(&self, pace: Pace) {
        self.window.store(pace.window, Relaxed);
        self.interval.store(pace.interval, Relaxed);
    }
}

/// Nanoseconds from `epoch` to `now`: 584 years of them fit.
pub(super) fn nanoseconds(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn rate(count: u32, per: Duration) -> Option<Rate> {
        Some(Rate { count, per })
    }

    fn taken(limiter: &RateLimiter, now: Instant) -> u32 {
        let mut count = 0;
        while limiter.try_take(now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn gives_a_burst_and_then_one_per_interval() {
        let epoch = Instant::now();
        let limiter = RateLimiter::new(rate(5, Duration::from_secs(1)), epoch);
        let start = epoch + Duration::from_secs(10);
        assert_eq!(taken(&limiter, start), 5);
        assert_eq!(limiter.try_take(start), Err(Duration::from_millis(200)));
        let nearly = start + Duration::from_nanos(199_999_999);
        assert_eq!(limiter.try_take(nearly), Err(Duration::from_nanos(1)));
        for tick in 1..=20 {
            let now = start + Duration::from_millis(200) * tick;
            assert_eq!(taken(&limiter, now), 1, "tick {tick}");
        }
        assert_eq!(taken(&limiter, start + Duration::from_secs(60)), 5, "never more than a burst");
    }

    #[test]
    fn an_interval_that_is_no_whole_number_is_rounded_up() {
        let epoch = Instant::now();
        let limiter = RateLimiter::new(rate(3, Duration::from_secs(1)), epoch);
        assert_eq!(taken(&limiter, epoch), 3);
        assert_eq!(taken(&limiter, epoch + Duration::from_nanos(333_333_333)), 0);
        assert_eq!(taken(&limiter, epoch + Duration::from_nanos(333_333_334)), 1);
    }

    #[test]
    fn a_token_put_back_can_be_taken_again() {
        let epoch = Instant::now();
        let limiter = RateLimiter::new(rate(2, Duration::from_secs(1)), epoch);
        assert_eq!(taken(&limiter, epoch), 2);
        limiter.put_back();
        assert_eq!(taken(&limiter, epoch), 1);
    }

    #[test]
    fn a_faster_rate_does_not_inherit_a_slow_ones_debt() {
        let epoch = Instant::now();
        let limiter = RateLimiter::new(rate(1, Duration::from_secs(3600)), epoch);
        assert_eq!(taken(&limiter, epoch), 1);
        limiter.set(rate(10, Duration::from_secs(1)), epoch);
        assert_eq!(limiter.try_take(epoch), Err(Duration::from_millis(100)));
        assert_eq!(taken(&limiter, epoch + Duration::from_secs(1)), 10);
        limiter.set(None, epoch);
        assert!((0..1_000).all(|_| limiter.try_take(epoch).is_ok()));
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_stall() {
        let epoch = Instant::now();
        for per in [Duration::from_nanos(1), Duration::MAX] {
            for count in [1, u32::MAX] {
                let limiter = RateLimiter::new(rate(count, per), epoch);
                assert_eq!(limiter.try_take(epoch), Ok(()), "{count} per {per:?}");
                limiter.put_back();
                assert_eq!(limiter.try_take(epoch), Ok(()), "{count} per {per:?}");
                assert_eq!(limiter.try_take(epoch).is_ok(), count > 1, "{count} per {per:?}");
            }
        }
    }

    #[test]
    fn racing_threads_never_get_more_than_the_rate() {
        const THREADS: u32 = 4;
        let epoch = Instant::now();
        let limiter = RateLimiter::new(rate(200_000, Duration::from_secs(1)), epoch);
        let got = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    got.fetch_add(taken(&limiter, epoch), Relaxed);
                    for tick in 1..=1_000 {
                        let now = epoch + Duration::from_millis(tick);
                        got.fetch_add(taken(&limiter, now), Relaxed);
                    }
                });
            }
        });
        assert_eq!(got.load(Relaxed), 200_000 + 200_000, "the burst, and what one second adds");
    }
}
