//! A client that does not read is not a dead one; one whose packets get lost is.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::time::{Duration, Instant};

use support::{
    Backend, Forebay, Line, Netns, Pattern, Peer, RIGHT, SOON, Start, eventually, left_out, pause,
    root_or_left_out,
};

/// Bytes that a client leaves unread: more than any buffer on the way holds.
const MUCH: u64 = 64 << 20;

/// `timeout.dead_peer` where a dead peer is to be found.
const DEAD_PEER: Duration = Duration::from_secs(5);

#[test]
fn a_live_client_that_does_not_read_is_not_cut() {
    let pattern = Pattern::new(9);
    let backend = Backend::scripted(move |peer| {
        peer.within(Duration::from_secs(60));
        peer.send_pattern(pattern, MUCH);
    });
    let config = Forebay::simple(&[backend.address()], "timeout = { dead_peer = \"2s\" }");
    let forebay = Forebay::start(&config);
    let mut client = Peer::connect_small(forebay.address("web"), 16 * 1024);
    eventually(SOON, || support::unread(client.stream()) > 0);
    // Window probes are answered all the while; between them ten times dead_peer may pass.
    pause(Duration::from_secs(25));
    assert_eq!(backend.live(), 1, "cut while it lived");
    client.within(Duration::from_secs(30));
    client.expect_pattern(pattern, MUCH, support::End::Eof);
}

#[test]
fn a_client_whose_packets_are_lost_is_cut_in_time() {
    if root_or_left_out() || left_out(&["nft"]) {
        return;
    }
    let (left, right) = (Netns::new(), Netns::new());
    let _line = Line::round_trip(Duration::from_millis(4)).join(&left, &right);
    let backend = right.enter(Backend::blasting);
    let config = format!(
        "[listener.web]\naddress = \"{RIGHT}:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"{}\"]\ntimeout = {{ dead_peer = \"{}s\" }}\n",
        backend.address(),
        DEAD_PEER.as_secs()
    );
    let forebay = Start::new(config).under(&right.prefix()).sessions().start();
    let mut client = left.enter(|| Peer::connect(forebay.address("web")));
    for _ in 0..20 {
        client.read_some(64 * 1024).unwrap();
    }
    left.run(&["nft", "add table ip cut"]);
    for chain in ["input", "output"] {
        left.run(&[
            "nft",
            &format!(
                "add chain ip cut {chain} {{ type filter hook {chain} priority 0; policy drop; }}"
            ),
        ]);
    }
    let began = Instant::now();
    eventually(DEAD_PEER * 3, || !forebay.sessions().is_empty());
    let time = began.elapsed();
    assert_eq!(forebay.only_session().reason.split('/').next(), Some("dead_peer"));
    assert!(time > DEAD_PEER.mul_f64(0.9) && time < DEAD_PEER.mul_f64(1.1), "{time:?}");
    eventually(SOON, || backend.live() == 0);
}
