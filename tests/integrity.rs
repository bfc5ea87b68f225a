//! Many bytes: each of them arrives, once, in order, and what is lost is told.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use fastrand::Rng;
use sha2::{Digest, Sha256};
use support::{
    Backend, End, Forebay, Netns, Pattern, Peer, SOON, SessionLine, Start, eventually, left_out,
    pause, root_or_left_out,
};

/// Bytes each way of one connection.
const LENGTH: u64 = 8 << 20;

/// Bytes that lie unread when the upstream resets.
const UNREAD: u64 = 4 << 20;

fn before(backend: &Backend, splice: &str) -> Forebay {
    let config = Forebay::simple(&[backend.address()], "");
    Start::new(config).splice(splice).sessions().start()
}

#[test]
fn eight_megabytes_each_way_at_once_are_equal_over_200_connections() {
    for (splice, least) in [("never", 0), ("always", 50), ("auto", 5)] {
        // 48 pipes serve 400 directions; whoever finds none free copies.
        expect_spliced(&exchange_all(200, splice), splice, least);
    }
}

#[test]
fn twenty_connections_that_are_to_be_spliced_find_a_pipe_for_each_direction() {
    expect_spliced(&exchange_all(20, "always"), "always", 95);
}

/// Exchanges the patterns over so many connections at once; what is logged of them.
#[track_caller]
fn exchange_all(connections: u64, splice: &str) -> Vec<SessionLine> {
    let (up, down) = (Pattern::new(1), Pattern::new(2));
    let [to_upstream, to_client] = [hash(up), hash(down)];
    let backend = Backend::scripted(move |peer| {
        let seed = u64::from(peer.stream().peer_addr().unwrap().port());
        let digest = exchange(peer, down, seed);
        // What the upstream received is told to the client by how it ends.
        if digest != to_upstream {
            peer.reset_when_closed();
        }
    });
    let forebay = before(&backend, splice);
    let address = forebay.address("web");
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..connections {
            let (wrong, to_client) = (&wrong, &to_client);
            scope.spawn(move || {
                let mut client = Peer::connect(address);
                if exchange(&mut client, up, number) != *to_client {
                    wrong.lock().unwrap().push(number);
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<u64>::new(), "splice {splice}");
    eventually(SOON, || forebay.sessions().len() as u64 == connections);
    forebay.sessions()
}

/// Of so much, splice(2) moves at least so many percent; none if it may not.
#[track_caller]
fn expect_spliced(sessions: &[SessionLine], splice: &str, least: u64) {
    let moved: u64 = sessions.iter().map(|session| session.bytes_up + session.bytes_down).sum();
    let spliced: u64 = sessions.iter().map(|session| session.spliced).sum();
    assert_eq!(moved, sessions.len() as u64 * LENGTH * 2);
    assert!(
        spliced >= moved / 100 * least && (splice != "never" || spliced == 0),
        "{splice}: {spliced} of {moved}"
    );
}

/// Sends the pattern in random pieces and reads to the end at the same time; the digest of what came.
fn exchange(peer: &mut Peer, pattern: Pattern, seed: u64) -> Option<(u64, Vec<u8>)> {
    let mut writer = Peer::new(peer.stream().try_clone().unwrap());
    for end in [&writer, peer] {
        end.within(Duration::from_secs(60));
    }
    let (length, digest, end) = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Rng::with_seed(seed);
            let mut sent = 0;
            while sent < LENGTH {
                let most = usize::try_from(LENGTH - sent).unwrap().min(random.usize(1..=64 * 1024));
                writer.send(pattern.piece(sent, most));
                sent += most as u64;
            }
            writer.finish();
        });
        peer.digest()
    });
    (end == End::Eof).then_some((length, digest))
}

fn hash(pattern: Pattern) -> Option<(u64, Vec<u8>)> {
    let mut hash = Sha256::new();
    let mut position = 0;
    while position < LENGTH {
        let piece = pattern.piece(position, usize::try_from(LENGTH - position).unwrap());
        hash.update(piece);
        position += piece.len() as u64;
    }
    Some((LENGTH, hash.finalize().to_vec()))
}

/// Room in each of the kernel's queues for all that lies unread (tcp(7), tcp_rmem and tcp_wmem).
const ROOM: &str = "4096 16777216 16777216";

#[test]
fn what_lies_unread_when_the_upstream_resets_is_delivered_and_then_the_reset() {
    if root_or_left_out() || left_out(&["ip", "sysctl"]) {
        return;
    }
    let netns = Netns::new();
    for queue in ["rmem", "wmem"] {
        netns.run(&["sysctl", "-q", "-w", &format!("net.ipv4.tcp_{queue}={ROOM}")]);
    }
    let (pattern, seeds) = (Pattern::new(3), 20);
    for splice in ["never", "always"] {
        let (tells, told) = channel();
        let backend = netns.enter(|| {
            Backend::scripted(move |peer| {
                assert_eq!(peer.send_pattern(pattern, UNREAD), UNREAD);
                peer.expect_acknowledged();
                peer.close_with_reset();
                let _ = tells.send(());
            })
        });
        let config = Forebay::simple(&[backend.address()], "");
        let forebay = Start::new(config).splice(splice).sessions().under(&netns.prefix()).start();
        for seed in 0..seeds {
            let connect = || Peer::connect_small(forebay.address("web"), 32 * 1024);
            let mut client = netns.enter(connect);
            told.recv_timeout(SOON).unwrap();
            assert!(support::unread(client.stream()) < UNREAD / 10, "it is no slow client");
            read_slowly(&mut client, pattern, seed);
        }
        eventually(SOON, || forebay.sessions().len() as u64 == seeds);
        for session in forebay.sessions() {
            assert_eq!((&*session.reason, session.bytes_down), ("upstream_reset/abort", UNREAD));
            assert_eq!(session.spliced > 0, splice == "always", "{splice}: {session:?}");
        }
    }
}

/// Reads all that lay unread in random pieces with pauses between, and then meets the reset.
fn read_slowly(client: &mut Peer, pattern: Pattern, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut got = 0;
    let end = loop {
        match client.read_some(random.usize(1..=128 * 1024)) {
            Ok(bytes) => {
                assert_eq!(pattern.first_difference(got, &bytes), None);
                got += bytes.len() as u64;
            }
            Err(end) => break end,
        }
        if random.u32(..20) == 0 {
            pause(Duration::from_millis(random.u64(..20)));
        }
    };
    assert_eq!((got, end), (UNREAD, End::Reset), "seed {seed}");
}

#[test]
fn urgent_data_neither_freezes_nor_truncates() {
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        let all = peer.read_all();
        peer.send(b"seen");
        let _ = tells.send(all);
    });
    for splice in ["never", "always", "auto"] {
        let forebay = before(&backend, splice);
        let mut client = Peer::connect(forebay.address("web"));
        let (first, second) = (vec![b'a'; 200_000], vec![b'b'; 200_000]);
        client.send(&first);
        client.send_urgent(b'!');
        client.send(&second);
        client.finish();
        let (bytes, end) = told.recv_timeout(SOON).unwrap();
        assert_eq!(end, End::Eof);
        // The urgent byte itself is not part of the stream (tcp(7), SO_OOBINLINE).
        let stream: Vec<u8> = bytes.into_iter().filter(|&byte| byte != b'!').collect();
        assert!(stream == [first, second].concat(), "{} bytes", stream.len());
        client.expect_then_eof(b"seen");
    }
}

/// The harness itself: two ends without a proxy between them.
#[test]
fn the_exchange_is_equal_without_a_proxy() {
    let backend = Backend::scripted(|peer| {
        let _ = exchange(peer, Pattern::new(2), 1);
    });
    let address: SocketAddr = backend.address();
    assert_eq!(exchange(&mut Peer::connect(address), Pattern::new(1), 2), hash(Pattern::new(2)));
}
