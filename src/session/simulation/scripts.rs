//! Random scripts, hundreds in a second.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::chance::Chance;
use super::random::setting;
use super::world::World;
use crate::plugin::Cause;

/// Scripts of an ordinary run.
const SCRIPTS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn any_script_keeps_the_promises() {
    if let Some(seed) = number("SIM_SEED") {
        run(seed);
        return;
    }
    let mut causes = [0_u32; Cause::ALL.len()];
    for seed in 0..number("SIM_SCRIPTS").unwrap_or(SCRIPTS) {
        let world = catch_unwind(AssertUnwindSafe(|| run(seed)))
            .unwrap_or_else(|_| panic!("a promise was broken; replay it with SIM_SEED={seed}"));
        causes[world.ended.unwrap().1.cause as usize] += 1;
    }
    let expected = [
        Cause::Finished,
        Cause::ClientReset,
        Cause::UpstreamReset,
        Cause::ClientLeft,
        Cause::ConnectFailed,
        Cause::ConnectTimeout,
        Cause::Idle,
        Cause::HalfClosed,
        Cause::Lifetime,
        Cause::AbortTimeout,
        Cause::DeadPeer,
    ];
    for cause in expected {
        assert!(causes[cause as usize] > 0, "no script ended by {}", cause.name());
    }
    assert!(causes[Cause::Finished as usize] * 4 > causes.iter().sum(), "too few ended well");
}

fn run(seed: u64) -> World {
    setting(Chance::of_seed(seed)).run()
}
