//! `docker stop` while sessions move bytes and clients come and go.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::confinement::{before, echo};
use super::support::{End, Pattern, Peer, SOON, eventually, pause};
use super::{Engine, Image, Run};

/// Sessions that are under way when it is told to stop.
const SESSIONS: u64 = 40;

/// What each of them sends and gets back, in pieces of this size and so far apart.
const LENGTH: u64 = 4 << 20;
const PIECE: usize = 128 * 1024;
const GAP: Duration = Duration::from_millis(100);

#[test]
fn docker_stop_lets_every_session_finish() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let backend = echo(&engine);
    let container = Run::new(&image, before(&backend.address().to_string())).start();
    let address = container.address(8080);
    let under_way = Barrier::new(usize::try_from(SESSIONS).unwrap() + 1);
    let served = AtomicUsize::new(0);
    let began = std::thread::scope(|scope| {
        for key in 0..SESSIONS {
            let under_way = &under_way;
            scope.spawn(move || transfer(address, key, under_way));
        }
        let coming = scope.spawn(|| newcomers(address, &served));
        under_way.wait();
        eventually(SOON, || served.load(Ordering::SeqCst) > 0);
        let began = Instant::now();
        engine.docker(&["stop", "-t", "40", container.name()]);
        coming.join().unwrap();
        began
    });
    assert_eq!(container.fact("{{.State.ExitCode}}"), "0");
    // Not at the end of Docker's patience, nor of shutdown.timeout.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

/// Sends a stream slowly while reading it back: every byte must come, and then a FIN.
fn transfer(address: SocketAddr, key: u64, under_way: &Barrier) {
    let pattern = Pattern::new(key);
    let mut client = Peer::connect(address);
    client.send(pattern.piece(0, PIECE));
    client.expect(pattern.piece(0, PIECE));
    under_way.wait();
    let mut expected = Sha256::new();
    let mut reader = Peer::new(client.stream().try_clone().unwrap());
    let got = std::thread::scope(|scope| {
        let reading = scope.spawn(move || reader.digest());
        let mut sent = PIECE as u64;
        while sent < LENGTH {
            let piece = pattern.piece(sent, PIECE);
            client.send(piece);
            expected.update(piece);
            sent += piece.len() as u64;
            pause(GAP);
        }
        client.finish();
        reading.join().unwrap()
    });
    assert_eq!(got, (LENGTH - PIECE as u64, expected.finalize().to_vec(), End::Eof));
}

/// Clients that come one after the other until one cannot connect: each that could is served.
fn newcomers(address: SocketAddr, served: &AtomicUsize) {
    while let Ok(mut client) = Peer::try_connect(address) {
        client.send(b"hello");
        client.expect(b"hello");
        served.fetch_add(1, Ordering::SeqCst);
    }
}
