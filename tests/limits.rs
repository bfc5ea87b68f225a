//! Limits are exact: N sessions, never N+1, with four workers and clients that come all at once.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use support::{Counting, End, Forebay, Peer, SOON, eventually};

/// Sessions that are let in.
const N: usize = 50;

/// Threads of clients, and clients of each.
const THREADS: usize = 8;
const CLIENTS: usize = 50;

/// Opens, closes, resets and refusals after which nothing may have leaked.
const TURNS: usize = 100_000;

/// What a listener, a pool, a backend and the process are told.
#[derive(Default)]
struct Caps {
    process: String,
    listener: String,
    pool: String,
    backend: String,
}

impl Caps {
    fn start(&self, counting: &Counting) -> Forebay {
        let Self { process, listener, pool, backend } = self;
        let address = counting.address();
        Forebay::start(&format!(
            "[runtime]\nworkers = 4\n[limits]\n{process}\n\
             [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n{listener}\n\
             [pool.app]\n{pool}\n[[pool.app.backends]]\naddress = \"{address}\"\n{backend}\n"
        ))
    }
}

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
    let held = all_at_once(forebay.address("web"));
    assert_eq!((held.len(), counting.peak()), (N, N));
    let mut other = Peer::connect_from("127.0.0.2".parse().unwrap(), forebay.address("web"));
    other.expect(b"!");
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
fn no_permit_leaks_in_100_000_turns() {
    let counting = Counting::start();
    let caps = Caps {
        process: cap(),
        listener: format!("{}\nover = \"reject\"\nper_source = {{ max_connections = {N} }}", cap()),
        pool: cap(),
        backend: cap(),
    };
    let forebay = caps.start(&counting);
    let address = forebay.address("web");
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || churn(address, seed as u64, TURNS / THREADS));
        }
    });
    eventually(SOON, || counting.live() == 0);
    // The rest was refused, or had left before it got so far.
    assert!(counting.accepted() > TURNS / 10, "only {} came through", counting.accepted());
    fill(address, &counting);
}

/// Several waves, in each of which all clients come at once and hold what they get.
#[track_caller]
fn expect_exact(caps: &Caps) {
    let counting = Counting::start();
    let forebay = caps.start(&counting);
    let held = all_at_once(forebay.address("web"));
    assert_eq!((held.len(), counting.peak()), (N, N));
    drop(held);
    for _ in 0..5 {
        fill(forebay.address("web"), &counting);
    }
}

/// Lets all clients come until N of them are held at once. A permit comes back a moment after the
/// socket has gone, so a wave that follows another may find one too few, but never one too many.
#[track_caller]
fn fill(address: SocketAddr, counting: &Counting) {
    counting.forget_peak();
    eventually(SOON, || {
        let held = all_at_once(address).len();
        assert!(held <= N && counting.peak() <= N, "{held} held, {} counted", counting.peak());
        held == N
    });
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

/// 400 clients from 8 threads at once; those that were served, all of them still open.
fn all_at_once(address: SocketAddr) -> Vec<Peer> {
    let served = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let clients: Vec<Peer> =
                    (0..CLIENTS).filter_map(|_| Peer::try_connect(address).ok()).collect();
                for mut client in clients {
                    match client.read_some(1) {
                        Ok(greeting) => {
                            assert_eq!(greeting, b"!");
                            served.lock().unwrap().push(client);
                        }
                        Err(end) => assert_eq!(end, End::Reset, "a rejected client is reset"),
                    }
                }
            });
        }
    });
    served.into_inner().unwrap()
}

/// Opens and ends connections in every way there is.
fn churn(address: SocketAddr, seed: u64, turns: usize) {
    let mut random = Rng::with_seed(seed);
    let mut held = Vec::new();
    for _ in 0..turns {
        // A client that has been rejected may learn of it while it still connects.
        let Ok(mut client) = Peer::try_connect(address) else { continue };
        match random.u32(..100) {
            0..40 => client.reset(),
            40..45 => drop(client),
            45..90 => {
                let _ = client.read_some(1);
                client.reset();
            }
            _ => held.push(client),
        }
        if held.len() > 20 {
            held.drain(..).for_each(Peer::reset);
        }
    }
}
