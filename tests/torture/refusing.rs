//! Cases in which a backend refuses the connection.

use std::time::{Duration, Instant};

use super::case::telling;
use super::outcome::{Ending, Outcome, Received};
use super::side::{DOWN, Side};
use super::stage::Stage;
use super::support::refusing_address;

/// c13.
pub fn only_backend_refuses(stage: &mut Stage) -> Outcome {
    let (refusing, _held) = refusing_address();
    let stage = stage.before(&[refusing]);
    let mut all: Vec<(Duration, Received)> = Vec::new();
    // One who waits for seconds waits for a reason, not because the machine is busy.
    while all.len() < 5 && all.iter().all(|(after, _)| *after < Duration::from_secs(1)) {
        all.push(visit(stage, 0));
    }
    all.sort_by_key(|(after, _)| *after);
    let (after, received) = all.swap_remove(all.len() / 2);
    Outcome { client: Some(received), after: Some(after), ..Outcome::default() }
}

/// c14.
pub fn one_of_two_refuses(stage: &mut Stage) -> Outcome {
    let (refusing, _held) = refusing_address();
    let (backend, _told) = telling(|_, side| side.send(DOWN, 6));
    let stage = stage.before(&[refusing, backend.address()]);
    let all: Vec<(Duration, Received)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| visit(stage, 6))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let together = all.iter().map(|(_, received)| *received).reduce(add);
    let slowest = all.iter().map(|(after, _)| *after).max();
    Outcome { client: together, after: slowest, ..Outcome::default() }
}

/// One client, who should get so many bytes, and how long that took.
fn visit(stage: &Stage, of: u64) -> (Duration, Received) {
    let began = Instant::now();
    let rejected = Received { ending: Ending::Reset, ..Received::nothing_yet(of) };
    let client = stage.try_connect();
    let received = client.map_or(rejected, |client| Side::of(&client).receive(DOWN, of));
    (began.elapsed(), received)
}

/// Both together: how it ended is how it ended for one who lacks something.
fn add(one: Received, other: Received) -> Received {
    let ending = if one.ending == Ending::Fin { other.ending } else { one.ending };
    let wrong = one.wrong || other.wrong;
    Received { bytes: one.bytes + other.bytes, of: one.of + other.of, wrong, ending }
}
