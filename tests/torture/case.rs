//! The cases: what is played, and what should come of it (ARCHITECTURE.md, the life of a session).

use std::sync::mpsc::{Receiver, channel};

use super::outcome::Ending::{Fin, Reset};
use super::outcome::{Outcome, Should};
use super::side::{PATIENCE, Side};
use super::stage::Stage;
use super::support::{Backend, Peer};
use super::{closing, leaving, refusing};

/// One case.
pub struct Case {
    /// Its short name.
    pub name: &'static str,
    /// What is played.
    pub what: &'static str,
    /// What should happen.
    pub should: Should,
    /// Plays it.
    pub play: fn(&mut Stage) -> Outcome,
}

const fn case(
    name: &'static str,
    what: &'static str,
    should: Should,
    play: fn(&mut Stage) -> Outcome,
) -> Case {
    Case { name, what, should, play }
}

const AND: Should = Should::NOTHING;

/// Every case, in the order of the table's rows.
pub const CASES: &[Case] = &[
    case(
        "c01",
        "the client half-closes, then the upstream answers",
        AND.client(Fin).upstream(Fin),
        closing::client_half_closes,
    ),
    case(
        "c02",
        "the upstream half-closes, then the client sends more",
        AND.client(Fin).upstream(Fin),
        closing::upstream_half_closes,
    ),
    case("c03", "the upstream resets, idle", AND.client(Reset), leaving::upstream_resets),
    case("c04", "the client resets, idle", AND.upstream(Reset), leaving::client_resets),
    case(
        "c05",
        "1 MB, then a close, to a slow client",
        AND.client(Fin),
        closing::a_slow_client_reads,
    ),
    case("c06", "100 kB, then a reset", AND.client(Reset), leaving::upstream_resets_behind_data),
    case(
        "c07",
        "up to 4 MB that the client has not read, then a reset",
        AND.client(Reset),
        leaving::upstream_resets_behind_unread_data,
    ),
    case("c08", "the server speaks first", AND.client(Fin).upstream(Fin), closing::server_first),
    case(
        "c09",
        "data and FIN at once, before the upstream is up",
        AND.client(Fin).upstream(Fin),
        closing::early_data_and_fin,
    ),
    case(
        "c10",
        "the client connects and closes at once",
        AND.upstream(Fin),
        closing::client_connects_and_closes,
    ),
    case(
        "c11",
        "the client resets an upstream that sends: until it is cut, middle of 5",
        AND.within(250),
        leaving::client_resets_a_sending_upstream,
    ),
    case(
        "c12",
        "8 MiB both ways at once, in random pieces",
        AND.client(Fin).upstream(Fin),
        closing::both_send_at_once,
    ),
    case(
        "c13",
        "the only backend refuses, middle of 5",
        AND.client(Reset).within(50),
        refusing::only_backend_refuses,
    ),
    case(
        "c14",
        "one of two backends refuses: 8 clients, the slowest",
        AND.client(Fin).within(1000),
        refusing::one_of_two_refuses,
    ),
];

/// A backend that tells what its script found out.
pub fn telling<T: Send + 'static>(
    script: impl Fn(&Peer, &Side) -> T + Send + Sync + 'static,
) -> (Backend, Receiver<T>) {
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        let _ = tells.send(script(peer, &Side::of(peer)));
    });
    (backend, told)
}

/// What the backend tells; `None` if nobody came to it.
pub fn heard<T>(told: &Receiver<T>) -> Option<T> {
    // Its script may wait for two things, each so long.
    told.recv_timeout(2 * PATIENCE).ok()
}
