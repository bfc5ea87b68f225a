//! Cases in which one side resets: the other must get what had arrived, and must not take it for all.

use std::time::{Duration, Instant};

use super::case::{heard, telling};
use super::outcome::{Outcome, Received};
use super::side::{DOWN, PATIENCE, Side, UP};
use super::stage::Stage;
use super::support::{Backend, SOON, comes_true, eventually};

/// Bytes that are sent to a client that does not read.
const UNREAD: u64 = 4 << 20;

/// A sender that the kernel takes nothing from for so long has filled all there is.
const FULL: Duration = Duration::from_millis(300);

/// c03.
pub fn upstream_resets(stage: &mut Stage) -> Outcome {
    let (backend, _told) = telling(|peer, side| {
        side.receive_first(UP, 5);
        side.send(DOWN, 5);
        side.receive_first(UP, 3);
        peer.reset_when_closed();
    });
    let client = stage.before(&[backend.address()]).connect();
    let side = Side::of(&client);
    side.send(UP, 5);
    side.receive_first(DOWN, 5);
    side.send(UP, 3);
    client_got(side.receive(DOWN, 0))
}

/// c04.
pub fn client_resets(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|_, side| {
        side.send(DOWN, 5);
        side.receive(UP, 0)
    });
    let client = stage.before(&[backend.address()]).connect();
    Side::of(&client).receive_first(DOWN, 5);
    client.reset();
    Outcome { upstream: heard(&told), ..Outcome::default() }
}

/// c06.
pub fn upstream_resets_behind_data(stage: &mut Stage) -> Outcome {
    let (backend, _told) = telling(|peer, side| {
        side.send(DOWN, 100_000);
        side.settle();
        peer.reset_when_closed();
    });
    let client = stage.before(&[backend.address()]).connect();
    client_got(Side::of(&client).receive(DOWN, 100_000))
}

/// c07.
pub fn upstream_resets_behind_unread_data(stage: &mut Stage) -> Outcome {
    let (backend, told) = telling(|peer, side| {
        peer.within(FULL);
        let sent = side.send(DOWN, UNREAD);
        peer.reset_when_closed();
        sent - side.unacknowledged()
    });
    let client = stage.before(&[backend.address()]).connect_small(32 * 1024);
    let arrived = heard(&told).expect("the backend was connected to");
    eventually(SOON, || backend.live() == 0);
    let received = Side::of(&client).receive_slowly(DOWN, arrived);
    // The proxy's kernel may have taken more between counting and resetting.
    client_got(Received { of: arrived.max(received.bytes), ..received })
}

/// c11.
pub fn client_resets_a_sending_upstream(stage: &mut Stage) -> Outcome {
    let backend = Backend::blasting();
    let stage = stage.before(&[backend.address()]);
    let mut times = [(); 5].map(|()| {
        let client = stage.connect();
        Side::of(&client).receive_first(0, 64 * 1024);
        let began = Instant::now();
        client.reset();
        comes_true(PATIENCE, || backend.live() == 0);
        began.elapsed()
    });
    times.sort();
    Outcome { after: Some(times[2]), ..Outcome::default() }
}

fn client_got(received: Received) -> Outcome {
    Outcome { client: Some(received), ..Outcome::default() }
}
