//! Cases in which everybody says with a FIN that this was all.

use super::case::{heard, telling};
use super::outcome::{Outcome, Received};
use super::side::{DOWN, Side, UP};
use super::stage::Stage;

/// Bytes each way when both sides send at once.
const BOTH: u64 = 8 << 20;

/// c01.
pub fn client_half_closes(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| {
        let received = side.receive(UP, 3);
        side.send(DOWN, 6);
        received
    });
    let client = stage.before(&[backend.address()]).connect();
    let side = Side::of(&client);
    side.send(UP, 3);
    side.finish();
    both(side.receive(DOWN, 6), heard(&told))
}

/// c02.
pub fn upstream_half_closes(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| {
        side.send(DOWN, 3);
        side.finish();
        side.receive(UP, 8)
    });
    let client = stage.before(&[backend.address()]).connect();
    let side = Side::of(&client);
    let received = side.receive(DOWN, 3);
    side.send(UP, 8);
    side.finish();
    both(received, heard(&told))
}

/// c05.
pub fn a_slow_client_reads(stage: &mut Stage) -> Outcome {
    let (backend, _told) = telling(|_, side| side.send(DOWN, 1_000_000));
    let client = stage.before(&[backend.address()]).connect();
    let received = Side::of(&client).receive_slowly(DOWN, 1_000_000);
    Outcome { client: Some(received), ..Outcome::default() }
}

/// c08.
pub fn server_first(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| {
        side.send(DOWN, 6);
        side.receive(UP, 0)
    });
    let client = stage.before(&[backend.address()]).connect();
    let side = Side::of(&client);
    let greeting = side.receive_first(DOWN, 6);
    side.finish();
    let ending = side.receive(DOWN, 0).ending;
    both(Received { ending, ..greeting }, heard(&told))
}

/// c09.
pub fn early_data_and_fin(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| {
        let received = side.receive(UP, 5);
        side.send(DOWN, 5);
        received
    });
    let stage = stage.before(&[backend.address()]);
    stage.freeze();
    let client = stage.connect();
    let side = Side::of(&client);
    side.send(UP, 5);
    side.finish();
    stage.wake();
    both(side.receive(DOWN, 5), heard(&told))
}

/// c10.
pub fn client_connects_and_closes(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| side.receive(UP, 0));
    drop(stage.before(&[backend.address()]).connect());
    Outcome { upstream: heard(&told), ..Outcome::default() }
}

/// c12.
pub fn both_send_at_once(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| exchange(side, DOWN, UP));
    let client = stage.before(&[backend.address()]).connect();
    both(exchange(&Side::of(&client), UP, DOWN), heard(&told))
}

/// Sends the pattern of one key in random pieces, and reads that of the other at the same time.
pub fn exchange(side: &Side, own: u64, other: u64) -> Received {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            side.send_randomly(own, BOTH);
            side.finish();
        });
        side.receive(other, BOTH)
    })
}

fn both(client: Received, upstream: Option<Received>) -> Outcome {
    Outcome { client: Some(client), upstream, after: None }
}
