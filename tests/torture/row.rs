//! Rows of the scorecard: what must hold under load and faults, each with a figure.
//!
//! A row is played on Forebay by a test of its own, and on the peers, where it makes sense there, when
//! the table is written. It ends by `Stage::expect_nothing_left`: descriptors, sessions, memory and
//! counts are back at the start.

use std::panic::catch_unwind;

use super::proxy::Kind;
use super::{alone, rows};

/// How much is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// What every commit can wait for.
    Short,
    /// All that the row asks for.
    Long,
}

/// When Forebay plays a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At every commit, short; in the long run, long.
    Commit,
    /// Only in the long run.
    LongRun,
}

/// One row.
pub struct Row {
    /// Its name in the scorecard.
    pub name: &'static str,
    /// What is played.
    pub what: &'static str,
    /// The figure that should come of it.
    pub should: &'static str,
    /// When.
    pub when: When,
    /// True exactly when it means something on a peer too.
    pub peers: bool,
    /// Plays it.
    pub play: fn(Kind, Length) -> Verdict,
}

/// What came of a row.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The figure that was seen.
    pub figure: String,
    /// True exactly when it is what it should be.
    pub met: bool,
}

impl Verdict {
    /// What came of a row that may not be played to its end; then the reason is its figure.
    pub fn of(played: Result<Self, String>) -> Self {
        played.unwrap_or_else(|figure| Self { figure, met: false })
    }
}

/// Every row, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Row> {
    rows::ALL.iter().flat_map(|rows| rows.iter())
}

/// `FOREBAY_TORTURE=long` asks for the long run.
pub fn length() -> Length {
    let long = std::env::var("FOREBAY_TORTURE").is_ok_and(|value| value == "long");
    if long { Length::Long } else { Length::Short }
}

impl Row {
    /// Plays it on this proxy, if it is to be played at this length and means something there.
    pub fn play(&'static self, kind: Kind, length: Length) -> Option<Verdict> {
        let now = self.when == When::Commit || length == Length::Long;
        let here = self.peers || kind.is_forebay();
        (now && here).then(|| {
            let play = || (self.play)(kind, length);
            // What a peer cannot take is its figure, and the others go on.
            let verdict = if kind.is_forebay() {
                play()
            } else {
                Verdict::of(
                    catch_unwind(play).map_err(|_| "not to be played to its end".to_owned()),
                )
            };
            println!("{} {kind:?}: {}", self.name, verdict.figure);
            verdict
        })
    }
}

/// Plays the row on Forebay, which must do what it should.
#[track_caller]
pub fn must_hold(name: &str) {
    let _alone = alone();
    let row = all().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"));
    let verdict = (row.play)(Kind::ALL[0], length());
    println!("{name} {}: {}; it should be: {}", row.what, verdict.figure, row.should);
    assert!(verdict.met, "{name} {}: {}; it should be: {}", row.what, verdict.figure, row.should);
}
