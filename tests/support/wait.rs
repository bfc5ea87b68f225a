//! Waiting: always for a condition, always with a deadline.

use std::time::{Duration, Instant};

/// How soon a condition is looked at again: so soon at first, then after twice as long each time.
const FIRST_LOOK: Duration = Duration::from_micros(50);

/// The longest until it is looked at again.
const LOOK: Duration = Duration::from_millis(2);

/// Gives the processor away for `time`. For pacing a load, never for guessing that something is done.
#[allow(clippy::disallowed_methods, reason = "the one place in which a test lets time pass")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// True exactly when `holds` came true in time.
pub fn comes_true(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let (deadline, mut look) = (Instant::now() + within, FIRST_LOOK);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pause(look);
        look = LOOK.min(look * 2);
    }
}

/// Panics unless `holds` comes true in time.
#[track_caller]
pub fn eventually(within: Duration, holds: impl FnMut() -> bool) {
    assert!(comes_true(within, holds), "did not come true within {within:?}");
}

/// The first value that `get` has, or a panic when it has none in time.
#[track_caller]
pub fn obtain<T>(within: Duration, mut get: impl FnMut() -> Option<T>) -> T {
    let mut value = None;
    eventually(within, || {
        value = get();
        value.is_some()
    });
    value.expect("it came true")
}
