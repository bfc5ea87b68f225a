//! The promises through a bad line: clients and backends at one end, the program at the other, so that
//! both connections of each session suffer.

use std::net::IpAddr;
use std::time::Duration;

use super::driver::{self, Run};
use super::network::Network;
use super::slot::{Bounds, Slot};
use super::{FEW, put_before, setup};
use crate::alone;
use crate::support::{Impair, LEFT, Line, Netns, RIGHT, root_or_left_out};

/// Of a thousand packets.
const LOST: u32 = 10;

/// TCP sends again what was lost after 200 ms at the least (RTO_MIN), and then after twice as long
/// each time. Of the million packets of a run, one is lost three times in a row.
const SENT_AGAIN: Duration = Duration::from_millis(200 + 400 + 800);

/// A session has two connections, and each may stand still for so long by itself.
const BOUNDS: Bounds = Bounds {
    freeze: Duration::from_secs(1).saturating_add(SENT_AGAIN).saturating_add(SENT_AGAIN),
    late: Duration::from_secs(1).saturating_add(SENT_AGAIN),
};

#[test]
fn the_promises_hold_through_a_bad_line_with_splice_forced() {
    play("always");
}

#[test]
fn the_promises_hold_through_a_bad_line_with_splice_off() {
    play("never");
}

fn play(splice: &str) {
    if root_or_left_out() {
        return;
    }
    let _alone = alone();
    let run = Run::from_environment(FEW);
    let line = BadLine::new(run.seed);
    let mut slots = line.slots();
    let forebay = setup(&slots, &line.middle, RIGHT).start_forebay(splice);
    put_before(&forebay, &mut slots);
    let outcome = line.ends.play(run, slots);
    outcome.expect_clean_but(run, most_untold(outcome.played));
    let (carried, lost) = line.line.counts();
    println!("{carried} packets carried, {lost} lost");
    assert!(lost > 0 && u128::from(lost) * 1000 > u128::from(carried) * 5, "{lost} of {carried}");
    // Sessions of which an end was not told may live until timeout.abort, so they are not waited for.
    assert!(!forebay.said().contains("\"reason\":\"panic"), "a session ended by a panic");
}

/// A reset after lost bytes is doubted (RFC 5961), and the doubt may get lost like any other packet:
/// so many of so many scripts may end without the other end being told.
pub fn most_untold(played: u64) -> u64 {
    2 + played * u64::from(LOST) / 1000
}

/// A line, and the networks that it joins.
pub struct BadLine {
    line: Impair,
    /// Where clients and backends are.
    pub ends: Network,
    /// Where the proxy is.
    pub middle: Network,
}

impl BadLine {
    /// A new one, whose chances derive from this.
    pub fn new(seed: u64) -> Self {
        let (ends, middle) = (Netns::new(), Netns::new());
        let line = bad(seed).join(&ends, &middle);
        Self { line, ends: Network::within(ends), middle: Network::within(middle) }
    }

    /// Slots at its ends.
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = self.ends.enter(|| driver::slots(IpAddr::V4(LEFT), |_, backend| backend));
        slots.iter_mut().for_each(|slot| slot.bounds = BOUNDS);
        slots
    }
}

fn bad(seed: u64) -> Line {
    Line {
        delay: Duration::from_millis(1),
        jitter: Duration::from_millis(2),
        lost: LOST,
        repeated: 10,
        early: 20,
        spares_resets: true,
        seed,
    }
}
