//! A client that does not read is not a dead one. One whose packets get lost is: row D2 of the torture.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::time::Duration;

use support::{Backend, Forebay, Pattern, Peer, SOON, eventually, pause};

/// Bytes that a client leaves unread: more than any buffer on the way holds.
const MUCH: u64 = 64 << 20;

/// For so long it reads nothing.
const UNREAD: Duration = Duration::from_secs(60);

#[test]
fn a_live_client_that_does_not_read_is_not_cut() {
    let pattern = Pattern::new(9);
    let backend = Backend::scripted(move |peer| {
        peer.within(UNREAD * 2);
        peer.send_pattern(pattern, MUCH);
    });
    let config = Forebay::simple(&[backend.address()], "timeout = { dead_peer = \"2s\" }");
    let forebay = Forebay::start(&config);
    let mut client = Peer::connect_small(forebay.address("web"), 16 * 1024);
    eventually(SOON, || support::unread(client.stream()) > 0);
    // Window probes are answered all the while; between them ten times dead_peer may pass.
    pause(UNREAD);
    assert_eq!(backend.live(), 1, "cut while it lived");
    client.within(Duration::from_secs(30));
    client.expect_pattern(pattern, MUCH, support::End::Eof);
}
