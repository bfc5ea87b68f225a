//! A2: both ends of each connection play random scripts; no promise may be broken in any of them.
//! At every commit the tests of the model play more of them: with splice forced and off, behind a bad
//! line, and during reloads.

use crate::model::{changing, proxies};
use crate::proxy::Kind;
use crate::row::{Length, Row, When, must_hold};

pub const ROWS: &[Row] = &[
    Row {
        name: "A2",
        what: "random scripts at both ends: write, pause, read slowly, half-close, close, reset; what each \
               end saw is judged (100,000 on Forebay, 10,000 on a peer; a fiftieth at every commit)",
        should: "0 scripts with a broken promise",
        when: When::Commit,
        peers: true,
        play: |kind, length| proxies::play(kind, scripts(kind, length, 100_000)),
    },
    Row {
        name: "A2 line",
        what: "the same behind a line that loses 1 %, repeats 1 %, delays and reorders (100,000; 10,000)",
        should: "0 scripts with a broken promise",
        when: When::LongRun,
        peers: true,
        play: |kind, length| proxies::play_through_a_bad_line(kind, scripts(kind, length, 100_000)),
    },
    Row {
        name: "A2 reload",
        what: "the same during 20 reloads a second, each of which changes workers (1, 2, 4), policies, \
               weights, limits and buffers (100,000)",
        should: "0 scripts with a broken promise",
        when: When::LongRun,
        peers: false,
        play: |kind, length| changing::play_row(scripts(kind, length, 100_000)),
    },
];

#[test]
fn a2_no_script_finds_a_broken_promise() {
    must_hold("A2");
}

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn a2_none_behind_a_bad_line() {
    must_hold("A2 line");
}

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn a2_none_during_reloads() {
    must_hold("A2 reload");
}

/// `most` in the long run, a fiftieth of it else, and a tenth of that on a peer.
fn scripts(kind: Kind, length: Length, most: u64) -> u64 {
    let most = if length == Length::Long { most } else { most / 50 };
    if kind.is_forebay() { most } else { most / 10 }
}
