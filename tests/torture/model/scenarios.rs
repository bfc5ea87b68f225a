//! Two ways in which a reset turns into a FIN, each played exactly.

use std::sync::{Arc, Barrier, mpsc};

use crate::support::{Backend, End, Forebay, Pattern, Peer, SOON, Start};

/// Bytes that a proxy reads at once.
const SHORT: u64 = 10_000;

fn before(backend: &Backend, splice: &str) -> Forebay {
    let config = Forebay::simple(&[backend.address()], "");
    Start::new(config).splice(splice).start()
}

/// The upstream resets while the client is sending: the half that writes to the upstream may meet the
/// error first, and then the half that reads from it gets its data and 0.
#[test]
fn reset_met_by_a_write_is_not_a_fin() {
    for splice in ["never", "always", "auto"] {
        for round in 0..10 {
            play(splice, Pattern::new(round), Some(b"meets the reset"));
        }
    }
}

/// Short data and a reset that arrive while the proxy is not looking come as one event with RDHUP in
/// it, from the upstream.
#[test]
fn rdhup_with_error_is_not_a_fin() {
    for splice in ["never", "always", "auto"] {
        for round in 0..5 {
            play(splice, Pattern::new(round), None);
        }
    }
}

/// While the proxy does not look, the client sends `more`, and the upstream sends and resets.
fn play(splice: &str, pattern: Pattern, more: Option<&[u8]>) {
    let (frozen, reset) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let backend = {
        let (frozen, reset) = (Arc::clone(&frozen), Arc::clone(&reset));
        Backend::scripted(move |peer| {
            peer.expect(b"hello");
            peer.send(b"hello");
            frozen.wait();
            send_and_reset(peer, pattern);
            reset.wait();
        })
    };
    let forebay = before(&backend, splice);
    let mut client = Peer::connect(forebay.address("web"));
    client.send(b"hello");
    client.expect(b"hello");
    forebay.freeze();
    // First, so that the proxy is told of it first.
    more.into_iter().for_each(|bytes| client.send(bytes));
    frozen.wait();
    reset.wait();
    forebay.wake();
    client.expect_pattern(pattern, SHORT, End::Reset);
}

/// Data and a reset in one event, from the client.
#[test]
fn rdhup_with_error_from_the_client_is_not_a_fin() {
    for splice in ["never", "always", "auto"] {
        let pattern = Pattern::new(7);
        let (told, tells) = mpsc::channel();
        let backend = Backend::scripted(move |peer| {
            peer.send(b"hello");
            let _ = told.send(peer.read_all());
        });
        let forebay = before(&backend, splice);
        let mut client = Peer::connect(forebay.address("web"));
        client.expect(b"hello");
        forebay.freeze();
        send_and_reset(&mut client, pattern);
        drop(client);
        forebay.wake();
        let (bytes, end) = tells.recv_timeout(SOON).unwrap();
        assert_eq!(pattern.first_difference(0, &bytes), None);
        assert_eq!((bytes.len() as u64, end), (SHORT, End::Reset));
    }
}

/// Sends SHORT bytes, waits until the other kernel has them, and makes closing a reset.
fn send_and_reset(peer: &mut Peer, pattern: Pattern) {
    assert_eq!(peer.send_pattern(pattern, SHORT), SHORT);
    peer.expect_acknowledged();
    peer.close_with_reset();
}
