//! A client that does not read is not a dead one. One whose packets get lost is, also while somebody
//! keeps writing to it; a line that dies under bulk is row D2 of the torture.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use support::{
    Backend, Forebay, Netns, Pattern, Peer, SOON, Start, eventually, left_out, pause,
    root_or_left_out,
};

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

/// `timeout.dead_peer` where somebody writes on.
const DEAD: Duration = Duration::from_secs(10);

/// Who writes on sends a byte so often.
const TRICKLE: Duration = Duration::from_millis(20);

/// Sessions that begin one after the other, so that death meets each at another moment of its clock.
const SESSIONS: usize = 10;

/// Where those live whose packets get lost: a client, and a backend.
const LOST_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
const LOST_BACKEND: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
const LOSING: &str = "table inet lost {\nchain dropping {\ntype filter hook input priority 0\n\
                      ip daddr 127.0.1.0/24 drop\nip saddr 127.0.1.0/24 drop\n}\n}\n";

/// Writes to a peer until that fails, and tells when it did.
fn write_on(peer: &mut Peer, tells: &Sender<Instant>) {
    while peer.send_pattern(Pattern::new(1), 1) == 1 {
        pause(TRICKLE);
    }
    let _ = tells.send(Instant::now());
}

fn before(netns: &Netns, backend: &Backend) -> Forebay {
    let pool = format!("timeout = {{ dead_peer = \"{}s\" }}", DEAD.as_secs());
    let config = Forebay::simple(&[backend.address()], &pool);
    Start::new(config).sessions().under(&netns.prefix()).start()
}

/// So often it is played where others have the machine meanwhile, who may add to a time.
const TRIES: usize = 3;

#[test]
fn a_peer_that_dies_while_one_writes_on_is_found_at_dead_peer() {
    if root_or_left_out() || left_out(&["ip", "nft"]) {
        return;
    }
    let mut times = Vec::new();
    while times.last().is_none_or(|time| *time > DEAD.mul_f64(1.1)) {
        assert!(times.len() < TRIES, "{times:?}");
        times.push(last_found());
    }
}

/// How long after its death the last of the peers is found, none of them too soon.
fn last_found() -> Duration {
    let netns = Netns::new();
    let (tells, told) = channel();
    let client_tells = tells.clone();
    let (writing, lost) = netns.enter(|| {
        let writing = Backend::scripted(move |peer| write_on(peer, &tells));
        let lost =
            Backend::at((LOST_BACKEND, 0).into(), |peer| while peer.read_some(64).is_ok() {});
        (writing, lost)
    });
    let forebays = [&writing, &lost].map(|backend| before(&netns, backend));
    let [to_writing, to_lost] = forebays.each_ref().map(|forebay| forebay.address("web"));
    let mut held = Vec::new();
    for _ in 0..SESSIONS {
        let tells = client_tells.clone();
        let mut client = netns.enter(|| Peer::connect(to_lost));
        std::thread::spawn(move || write_on(&mut client, &tells));
        let mut client = netns.enter(|| Peer::connect_from(LOST_CLIENT, to_writing));
        client.read_some(1).unwrap();
        held.push(client);
        // A tenth of the time between two looks of the clock.
        pause(DEAD / 100);
    }
    let begins = Instant::now();
    netns.run(&["nft", LOSING]);
    let cut = Instant::now();
    let found: Vec<Instant> =
        (0..2 * SESSIONS).map(|_| told.recv_timeout(DEAD * 2).unwrap()).collect();
    for at in &found {
        assert!(*at >= cut + DEAD.mul_f64(0.9), "{:?} after the death", *at - cut);
    }
    for forebay in forebays {
        eventually(SOON, || forebay.sessions().len() == SESSIONS);
        for session in forebay.sessions() {
            assert_eq!(session.reason, "dead_peer/relay");
        }
    }
    found.into_iter().max().unwrap() - begins
}
