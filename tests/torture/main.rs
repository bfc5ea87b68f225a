//! Torture: what a TCP proxy owes to both sides, played as black-box cases on Forebay and on its peers.
//!
//! Forebay must do what it should; what the peers do is recorded. `sh tests/torture.sh` writes the table.

#![allow(unreachable_pub, reason = "the modules of a test crate are public in none")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails loudly and says where"
)]

mod case;
mod closing;
mod crowd;
mod histories;
mod leaving;
mod model;
mod outcome;
mod peers;
mod proxy;
mod refusing;
mod rest;
mod row;
mod rows;
mod rush;
mod side;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use case::{CASES, Case};
use outcome::Outcome;
use proxy::Kind;
use row::{Length, Row, Verdict};
use stage::Stage;
use table::{Column, Times};

/// Where to write the table; without it none is written.
const TABLE: &str = "FOREBAY_TORTURE_TABLE";

/// Names the rows, with commas between them, that alone are to be played.
const AGAIN: &str = "FOREBAY_TORTURE_AGAIN";

/// Held by whoever plays: what is played loads the machine, and is judged. What scripts leave in the
/// kernel adds up, too, and short of TCP memory it resets connections that were closed well
/// (tcp_out_of_resources; TCPAbortOnMemory counts them).
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other test of this process plays. One that failed has stopped.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn forebay_does_what_it_should_in_every_case() {
    let _alone = alone();
    for splice in ["auto", "never", "always"] {
        expect_all_met(&play_all(Kind::Forebay { splice }, 1));
    }
}

#[test]
fn every_proxy_plays_every_case() {
    let _alone = alone();
    for kind in Kind::ALL.into_iter().filter(|kind| is_here(*kind)) {
        // No outcome is judged, and what a peer is waited for in one case need not wait for another.
        play_all(kind, 4);
    }
}

#[test]
#[ignore = "sh tests/torture.sh writes the table"]
fn the_table_is_written() {
    let _alone = alone();
    let path = std::env::var(TABLE).unwrap_or_else(|_| panic!("{TABLE} says where to"));
    if let Ok(names) = std::env::var(AGAIN) {
        return rows_are_played_again(&path, &names.split(',').collect::<Vec<_>>());
    }
    let began = Instant::now();
    // Also before the long run, which plays nothing as shortly as a commit does.
    let set = Column::play(Kind::ALL[0], Length::Short);
    let commit = began.elapsed();
    let kinds = Kind::ALL.into_iter().filter(|kind| is_here(*kind));
    let columns: Vec<Column> = match row::length() {
        Length::Short => std::iter::once(set)
            .chain(kinds.skip(1).map(|kind| Column::play(kind, Length::Short)))
            .collect(),
        Length::Long => kinds.map(|kind| Column::play(kind, Length::Long)).collect(),
    };
    let times = Times { commit, whole: began.elapsed() };
    std::fs::write(path, table::text(&columns, times)).unwrap();
    expect_all_met(&columns[0].cases);
    expect_rows_met(row::all().zip(&columns[0].rows));
    assert!(times.commit <= Times::COMMIT && times.whole <= Times::WHOLE, "{times:?}");
}

/// Plays these rows alone, on every proxy, and writes what came of them into the table that is there.
fn rows_are_played_again(path: &str, names: &[&str]) {
    let mut table = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&'static Row> = row::all().filter(|row| names.contains(&row.name)).collect();
    assert_eq!(rows.len(), names.len(), "there are not all of {names:?}");
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| is_here(*kind)).collect();
    let mut own = Vec::new();
    for row in &rows {
        let play = |kind: &Kind| (*kind, row.play(*kind, row::length()));
        let mut seen: Vec<(Kind, Option<Verdict>)> = kinds.iter().map(play).collect();
        table = table::with_row(&table, row, &seen);
        own.push(seen.swap_remove(0).1);
    }
    std::fs::write(path, table::played_again(table, names)).unwrap();
    expect_rows_met(rows.into_iter().zip(&own));
}

/// Panics unless Forebay did what it should in all that was played.
fn expect_rows_met<'a>(rows: impl Iterator<Item = (&'static Row, &'a Option<Verdict>)>) {
    let unmet = rows.filter(|(_, verdict)| verdict.as_ref().is_some_and(|it| !it.met));
    assert_eq!(unmet.map(|(row, _)| row.name).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_table_has_every_case_and_row_as_they_are() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/torture.md");
    let missing = table::missing_in(&std::fs::read_to_string(document).unwrap());
    assert!(missing.is_empty(), "`sh tests/torture.sh long` tells of:\n{}", missing.join("\n"));
}

impl Column {
    /// Plays all cases, and the rows that are to be played at this length.
    fn play(kind: Kind, length: Length) -> Self {
        let cases = play_all(kind, 1);
        Self { kind, cases, rows: row::all().map(|row| row.play(kind, length)).collect() }
    }
}

/// True exactly when this proxy can be played on. Only Envoy, which no Debian package has, may be
/// missing where nothing is left out.
fn is_here(kind: Kind) -> bool {
    match kind {
        Kind::Forebay { .. } => true,
        Kind::Haproxy => !support::left_out(&["haproxy"]),
        Kind::Nginx => !support::left_out(&["nginx"]) && peers::stream_module_or_left_out(),
        Kind::Envoy => {
            let here = support::found("envoy").is_some();
            if !here {
                let _ = writeln!(
                    std::io::stderr(),
                    "LEFT OUT: envoy's column: sh tests/torture.sh installs it"
                );
            }
            here
        }
    }
}

/// Plays every case, each on a proxy of its own, and so many at once: one, where outcomes are judged.
fn play_all(kind: Kind, at_once: usize) -> Vec<Outcome> {
    let play_some = |some: &'static [Case]| {
        std::thread::scope(|scope| {
            let begin = |case| scope.spawn(move || play(case, kind));
            let begun: Vec<_> = some.iter().map(begin).collect();
            begun.into_iter().map(|it| it.join().unwrap()).collect::<Vec<Outcome>>()
        })
    };
    let outcomes: Vec<Outcome> = CASES.chunks(at_once).flat_map(play_some).collect();
    assert!(outcomes.len() >= 13, "only {} cases", outcomes.len());
    outcomes
}

fn play(case: &Case, kind: Kind) -> Outcome {
    let mut stage = Stage::new(kind);
    let outcome = (case.play)(&mut stage);
    println!("{} {kind:?}: {outcome}", case.name);
    if kind.is_forebay() {
        stage.expect_nothing_left(case.name);
    }
    outcome
}

/// Panics unless every case ended as it should, and says which did not.
#[track_caller]
fn expect_all_met(outcomes: &[Outcome]) {
    let unmet: Vec<String> = CASES
        .iter()
        .zip(outcomes)
        .filter(|(case, outcome)| !case.should.is_met_by(outcome))
        .map(|(case, outcome)| {
            format!("{} {}: {outcome}; it should be: {}", case.name, case.what, case.should)
        })
        .collect();
    assert!(unmet.is_empty(), "\n{}", unmet.join("\n"));
}
