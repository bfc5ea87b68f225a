//! A: bytes arrive, whatever the pieces and the sizes of buffers.

use std::{iter, thread};

use fastrand::Rng;
use socket2::SockRef;

use crate::case::{heard, telling};
use crate::closing::exchange;
use crate::outcome::{Ending, Received};
use crate::proxy::Kind;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::side::{DOWN, Side, UP};
use crate::stage::Stage;
use crate::support::Peer;

pub const ROWS: &[Row] = &[Row {
    name: "A1",
    what: "8 MiB each way at once, in pieces of 1 B to 64 KiB, through socket buffers of random sizes",
    should: "0 streams miss a byte or get a wrong one; 200 connections (4 at every commit)",
    when: When::Commit,
    peers: true,
    play: a1,
}];

#[test]
fn a1_bytes_arrive_both_ways_at_once() {
    must_hold("A1");
}

fn a1(kind: Kind, length: Length) -> Verdict {
    let connections: u64 = if length == Length::Long { 200 } else { 4 };
    let mut stage = Stage::new(kind);
    let (backend, told) = telling(|peer, side| {
        choose_buffers(peer, u64::from(peer.local().port()));
        is_whole(exchange(side, DOWN, UP))
    });
    stage.before(&[backend.address()]);
    let client = |number| {
        stage.try_connect().is_some_and(|client| {
            choose_buffers(&client, number);
            is_whole(exchange(&Side::of(&client), UP, DOWN))
        })
    };
    let down = thread::scope(|scope| {
        let clients: Vec<_> = (0..connections).map(|n| scope.spawn(move || client(n))).collect();
        clients.into_iter().map(|it| u64::from(it.join().unwrap())).sum::<u64>()
    });
    let most = usize::try_from(connections).unwrap();
    let up = iter::from_fn(|| heard(&told)).take(most).filter(|whole| *whole).count() as u64;
    if kind.is_forebay() {
        stage.expect_nothing_left("A1");
    }
    let bad = 2 * connections - up - down;
    Verdict { figure: format!("{bad} of {} streams", 2 * connections), met: bad == 0 }
}

fn is_whole(received: Received) -> bool {
    received.is_whole() && received.ending == Ending::Fin
}

/// Buffers of 4 KiB to 256 KiB for what is sent, from 64 KiB for what is received (SO_SNDBUF, SO_RCVBUF
/// of socket(7)): a window that shrinks under half of what was once offered is filled by the other
/// kernel's persist timer alone, a piece in 200 ms, whoever sends.
fn choose_buffers(peer: &Peer, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let socket = SockRef::from(peer.stream());
    socket.set_recv_buffer_size(random.usize(64 << 10..256 << 10)).unwrap();
    socket.set_send_buffer_size(random.usize(4 << 10..256 << 10)).unwrap();
}
