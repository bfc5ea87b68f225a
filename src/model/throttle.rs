//! Says at most once a second, over all workers, that something may be said.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Milliseconds between two who speak.
const PAUSE: u64 = 1000;

/// Keeps what many threads would say to one line a second.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the next may speak, in milliseconds since the epoch of the process.
    next: AtomicU64,
}

impl Throttle {
    /// True exactly when a second has passed since it was true last. `age` is that of the process.
    pub fn may_speak(&self, epoch: Instant, now: Instant) -> bool {
        let age = now.saturating_duration_since(epoch);
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Relaxed);
        let later = age.saturating_add(PAUSE);
        // Of those who come at once, the one that moves the mark speaks.
        age >= next && self.next.compare_exchange(next, later, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_speaks_each_second() {
        let (epoch, throttle) = (Instant::now(), Throttle::default());
        let at =
            |milliseconds| throttle.may_speak(epoch, epoch + Duration::from_millis(milliseconds));
        let spoken: Vec<u64> = (0..35).map(|tenth| tenth * 100).filter(|&time| at(time)).collect();
        assert_eq!(spoken, [0, 1000, 2000, 3000]);
    }
}
