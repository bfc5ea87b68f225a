//! Limits are exact: N sessions, never N+1, with four workers and clients that come all at once.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{
    Caps, Counting, Forebay, Peer, Process, SOON, Start, THREADS, all_at_once, comes_to_rest,
    eventually,
};

/// Sessions that are let in, a multiple of THREADS.
const N: usize = 48;

/// Clients of each thread, and of each where nobody is to be turned away.
const CLIENTS: usize = 50;
const FEW: usize = N / THREADS;

/// Waves of each kind.
const WAVES: usize = 20;

fn cap() -> String {
    format!("max_connections = {N}")
}

#[test]
fn the_process_lets_exactly_n_in() {
    expect_exact(&Caps {
        process: cap(),
        listener: "over = \"reject\"".to_owned(),
        ..Caps::default()
    });
}

#[test]
fn a_listener_lets_exactly_n_in() {
    let listener = format!("{}\nover = \"reject\"", cap());
    expect_exact(&Caps { listener, ..Caps::default() });
}

#[test]
fn a_pool_lets_exactly_n_in() {
    expect_exact(&Caps { pool: cap(), ..Caps::default() });
}

#[test]
fn a_backend_lets_exactly_n_in() {
    expect_exact(&Caps { backend: cap(), ..Caps::default() });
}

#[test]
fn a_source_lets_exactly_n_in_and_does_not_touch_another() {
    let counting = Counting::start();
    let listener = format!("per_source = {{ max_connections = {N} }}");
    let forebay = Caps { listener, ..Caps::default() }.start(&counting);
    expect_waves(&forebay, &counting);
    let held = all_at_once(forebay.address("web"), CLIENTS);
    assert_eq!((held.len(), counting.peak()), (N, N));
    let mut other = Peer::connect_from("127.0.0.2".parse().unwrap(), forebay.address("web"));
    other.expect(b"!");
}

/// Waves against a rate, each against a full bucket: a program of its own.
const BUCKETS: usize = 5;

#[test]
fn the_rate_of_a_listener_lets_exactly_n_in() {
    let listener = format!("rate = \"{N}/h\"\nover = \"reject\"");
    for _ in 0..BUCKETS {
        expect_bucket(&listener);
    }
}

#[test]
fn the_rate_of_a_source_lets_exactly_n_in_and_does_not_touch_another() {
    let listener = format!("per_source = {{ rate = \"{N}/h\" }}");
    for _ in 0..BUCKETS {
        let (_counting, forebay) = expect_bucket(&listener);
        let source = "127.0.0.2".parse().unwrap();
        Peer::connect_from(source, forebay.address("web")).expect(b"!");
    }
}

/// All clients come at once, of whom N are let in whether or not the others still are; then nobody.
#[track_caller]
fn expect_bucket(listener: &str) -> (Counting, Forebay) {
    let counting = Counting::start();
    let forebay = Caps { listener: listener.to_owned(), ..Caps::default() }.start(&counting);
    let held = all_at_once(forebay.address("web"), CLIENTS);
    assert_eq!((held.len(), counting.accepted()), (N, N), "of {} clients", CLIENTS * THREADS);
    drop(held);
    eventually(SOON, || counting.live() == 0);
    Peer::expect_rejection(forebay.address("web"));
    assert_eq!(counting.accepted(), N);
    (counting, forebay)
}

#[test]
fn a_full_listener_lets_clients_wait_and_serves_all_in_the_end() {
    expect_all_served(&Caps { listener: format!("{}\nover = \"wait\"", cap()), ..Caps::default() });
}

#[test]
fn a_full_process_lets_clients_wait_and_serves_all_in_the_end() {
    expect_all_served(&Caps {
        process: cap(),
        listener: "over = \"wait\"".to_owned(),
        ..Caps::default()
    });
}

#[test]
fn the_last_waiter_is_served_when_every_permit_is_freed_elsewhere() {
    let counting = Counting::start();
    let listener = "max_connections = 4\nover = \"wait\"".to_owned();
    let forebay = Caps { listener, ..Caps::default() }.start(&counting);
    let address = forebay.address("web");
    for _ in 0..30 {
        let mut held: Vec<Peer> = (0..4).map(|_| Peer::connect(address)).collect();
        held.iter_mut().for_each(|client| client.expect(b"!"));
        let mut waiting = Peer::connect(address);
        drop(held);
        waiting.within(Duration::from_secs(1));
        waiting.expect(b"!");
        drop(waiting);
        eventually(SOON, || counting.live() == 0);
    }
    assert_eq!(counting.peak(), 4);
}

#[test]
fn unasked_no_more_come_in_than_there_are_descriptors_for() {
    const MOST: usize = 256;
    let counting = Counting::start();
    let nofile = format!("--nofile={MOST}");
    let config = Forebay::simple(&[counting.address()], "");
    let forebay = Start::new(config).under(&["prlimit", &nofile]).start();
    let address = forebay.address("web");
    let clients: Vec<Peer> = (0..MOST).map(|_| Peer::connect(address)).collect();
    let proxy = Process::new(forebay.id());
    eventually(SOON, || counting.live() > MOST / 16 && proxy.is_asleep());
    // Each has two; the others wait.
    assert!(counting.peak() < MOST / 2, "{}", counting.peak());
    assert!(!forebay.said().contains("Too many open files"), "{}", forebay.said());
    drop(clients);
}

#[track_caller]
fn expect_exact(caps: &Caps) {
    let counting = Counting::start();
    expect_waves(&caps.start(&counting), &counting);
}

/// Many times all clients come at once, and as often only as many as are let in.
#[track_caller]
fn expect_waves(forebay: &Forebay, counting: &Counting) {
    let sockets = forebay.sockets();
    for clients in [CLIENTS, FEW].repeat(WAVES) {
        expect_wave(forebay.address("web"), clients, counting);
        expect_rest(forebay, counting, sockets);
    }
}

/// Lets so many clients of each thread come at once, when every permit is free.
#[track_caller]
fn expect_wave(address: SocketAddr, clients: usize, counting: &Counting) {
    counting.forget_peak();
    let held = all_at_once(address, clients);
    assert_eq!((held.len(), counting.peak()), (N, N), "of {} clients", clients * THREADS);
}

/// Waits until every permit is free.
#[track_caller]
fn expect_rest(forebay: &Forebay, counting: &Counting, sockets: usize) {
    assert!(comes_to_rest(**forebay, counting, sockets));
}

#[track_caller]
fn expect_all_served(caps: &Caps) {
    let counting = Counting::start();
    let forebay = caps.start(&counting);
    let address = forebay.address("web");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let counting = &counting;
            scope.spawn(move || {
                let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| Peer::connect(address)).collect();
                // Nobody leaves before as many as may be are in.
                eventually(SOON, || counting.peak() == N);
                // Not in the order of connecting: each worker has a queue of its own.
                eventually(SOON, || {
                    clients.retain(|client| support::unread(client.stream()) == 0);
                    clients.is_empty()
                });
            });
        }
    });
    assert_eq!((counting.accepted(), counting.peak()), (THREADS * CLIENTS, N));
}
