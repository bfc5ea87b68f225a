//! The same scripts on every proxy: how many of them it breaks a promise in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::driver::{ENOUGH, Outcome, Run};
use super::line::{BadLine, most_untold};
use super::network::Network;
use super::slot::Slot;
use super::{put_before, setup};
use crate::proxy::{Kind, Setup};
use crate::row::Verdict;
use crate::stage::Stage;
use crate::support::RIGHT;

/// Sessions whose end nobody was told of are not waited for.
const STOP_SOON: &str = "[shutdown]\ntimeout = \"1s\"\n";

/// Plays so many scripts through this proxy.
pub fn play(kind: Kind, scripts: u64) -> Verdict {
    let run = run(kind, scripts);
    let network = Network::new();
    let mut slots = network.slots(|_, backend| backend);
    let setup = setup(&slots, &network, Ipv4Addr::LOCALHOST);
    let mut stage = start(kind, setup, &mut slots);
    let outcome = network.play(run, slots);
    expect_nothing_left(&mut stage, &outcome);
    verdict(run, &outcome, 2 + outcome.played / 1000)
}

/// The same with both of its sides behind a bad line.
pub fn play_through_a_bad_line(kind: Kind, scripts: u64) -> Verdict {
    let run = run(kind, scripts);
    let line = BadLine::new(run.seed);
    let mut slots = line.slots();
    let setup = setup(&slots, &line.middle, RIGHT);
    let mut stage = start(kind, setup, &mut slots);
    let outcome = line.ends.play(run, slots);
    expect_nothing_left(&mut stage, &outcome);
    verdict(run, &outcome, most_untold(outcome.played))
}

/// A peer goes on, whatever it breaks: how often is its figure.
fn run(kind: Kind, scripts: u64) -> Run {
    let run = Run::from_environment(scripts);
    if kind.is_forebay() { run } else { Run { enough: usize::MAX, ..run } }
}

/// Starts one that its last sessions do not keep long, and sends the clients of each slot to it.
pub fn start(kind: Kind, setup: Setup<'_>, slots: &mut [Slot]) -> Stage {
    let mut stage = Stage::new(kind);
    stage.start(&Setup { tables: STOP_SOON, ..setup });
    put_before(stage.proxy(), slots);
    stage
}

/// Panics if a Forebay that broke no promise has something left.
pub fn expect_nothing_left(stage: &mut Stage, outcome: &Outcome) {
    if stage.kind().is_forebay() && outcome.violations.is_empty() {
        let untold = usize::try_from(outcome.untold).unwrap();
        stage.count_clients(usize::try_from(outcome.played).unwrap() - untold);
        stage.expect_nothing_left_but("A2", untold);
    }
}

fn verdict(run: Run, outcome: &Outcome, most_untold: u64) -> Verdict {
    let most_untold = outcome.counted.most_untold().min(most_untold);
    let broken: BTreeSet<u64> = outcome.violations.iter().map(|(number, _)| *number).collect();
    let mut kinds = BTreeMap::new();
    for (_, violation) in &outcome.violations {
        *kinds.entry(format!("{:?}", violation.kind)).or_insert(0) += 1;
    }
    let mut figure = format!("{} of {} scripts", broken.len(), outcome.played);
    for (number, (kind, count)) in kinds.into_iter().enumerate() {
        let _ = write!(figure, "{} {kind} {count}", if number == 0 { ":" } else { "," });
    }
    if outcome.violations.len() <= ENOUGH {
        outcome.tell(run);
    }
    Verdict { figure, met: broken.is_empty() && outcome.untold <= most_untold }
}
