//! Sessions under simulation: fake sockets, a fake worker, virtual time, and seeds.
//!
//! `kernel` is one socket as Linux shows it, `link` joins it to a peer over a network and is the
//! stream that a session gets, `world` plays the worker and the clock, `oracle` judges what came of
//! it. `behaviour` and `bounds` hold promises by name; `scripts` lets hundreds of random scripts
//! loose. A failure prints its seed; `SIM_SEED` replays one script, `SIM_SCRIPTS` runs so many.
//! `simulate` lets a fuzzer's bytes decide instead of a seed.

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod bounds;
mod chance;
mod drive;
mod kernel;
mod link;
mod oracle;
mod peer;
mod random;
#[cfg(test)]
mod scripts;
mod setting;
mod stream;
mod world;

use std::time::Duration;

/// Runs the session that `bytes` decide on, and panics if it breaks a promise.
#[cfg(feature = "fuzzing")]
pub fn simulate(bytes: &[u8]) {
    random::setting(chance::Chance::of_bytes(bytes)).run();
}

/// Microseconds of virtual time.
type Micros = u64;

const MILLISECOND: Micros = 1_000;
const SECOND: Micros = 1_000_000;

fn micros(length: Duration) -> Micros {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
