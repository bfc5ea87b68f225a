//! Clients that wait while every backend has all the sessions it may have.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Backend, Forebay, Peer, SOON, Start, eventually};

const WORKERS: usize = 2;

/// One backend that may have so many sessions, before which clients wait as `queue` says.
fn file(workers: usize, backend: &Backend, most: usize, queue: &str) -> String {
    format!(
        "[reload]\nwatch = \"off\"\n[runtime]\nworkers = {workers}\n\
         [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nqueue = {queue}\n\
         backends = [{{ address = \"{}\", max_connections = {most} }}]\n",
        backend.address()
    )
}

fn start(backend: &Backend, most: usize, queue: &str) -> Forebay {
    Start::new(file(WORKERS, backend, most, queue)).sessions().start()
}

/// A client that is served.
fn served(forebay: &Forebay) -> Peer {
    let mut client = Peer::connect(forebay.address("web"));
    client.ask(b"hello").unwrap();
    client
}

/// A client that stands in the line, where nobody comes after it until it does.
fn waiting(forebay: &Forebay) -> Peer {
    let mut client = Peer::connect(forebay.address("web"));
    client.send(b"unread");
    eventually(SOON, || stands(forebay, &client));
    client
}

fn stands(forebay: &Forebay, client: &Peer) -> bool {
    let address = format!("\"{}\"", client.local());
    forebay.said().lines().any(|line| line.contains("waits for room") && line.contains(&address))
}

/// It is let in, and nothing that it had sent is lost.
fn is_let_in(client: &mut Peer) {
    client.expect(b"unread");
}

#[test]
fn first_come_first_served_across_workers() {
    let backend = Backend::echo();
    let forebay = start(&backend, 1, "true");
    let first = served(&forebay);
    let line: Vec<Peer> = (0..12).map(|_| waiting(&forebay)).collect();
    assert_eq!(backend.accepted(), 1, "nobody got past the limit");
    drop(first);
    for (place, mut client) in line.into_iter().enumerate() {
        // Were another one first, it would have the only place for good.
        is_let_in(&mut client);
        assert_eq!(backend.accepted(), place + 2);
    }
}

/// Bytes that lie unread in the kernel, of the program's side of this client (proc(5), net/tcp).
fn unread(forebay: &Forebay, client: &Peer) -> Option<u64> {
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", forebay.id())).unwrap();
    let hexadecimal = |address: SocketAddr| match address {
        SocketAddr::V4(it) => {
            format!("{:08X}:{:04X}", u32::from_le_bytes(it.ip().octets()), it.port())
        }
        SocketAddr::V6(_) => panic!("clients come over IPv4"),
    };
    let ends = [forebay.address("web"), client.local()].map(hexadecimal);
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[1..3] == ends)
            .then(|| fields[4].split_once(':'))?
            .and_then(|(_, unread)| u64::from_str_radix(unread, 16).ok())
    })
}

#[test]
fn what_a_waiting_client_sends_stays_in_the_kernel() {
    let backend = Backend::echo();
    let forebay = start(&backend, 1, "{ max = 10, timeout = \"10m\" }");
    let first = served(&forebay);
    let mut line: Vec<Peer> = (0..4).map(|_| waiting(&forebay)).collect();
    for client in &mut line {
        client.send(&[b'x'; 20_000]);
        client.expect_acknowledged();
        assert_eq!(unread(&forebay, client), Some(20_006));
    }
    drop(first);
    let mut client = line.remove(0);
    client.expect(b"unread");
    client.expect(&[b'x'; 20_000]);
    assert_eq!(unread(&forebay, &client), Some(0));
    for client in &line {
        assert_eq!(unread(&forebay, client), Some(20_006));
    }
}

#[test]
fn as_many_go_on_as_there_is_room_for() {
    let backend = Backend::echo();
    let forebay = start(&backend, 3, "{ max = 100, timeout = \"1m\" }");
    let first: Vec<Peer> = (0..3).map(|_| served(&forebay)).collect();
    let mut line: Vec<Peer> = (0..9).map(|_| waiting(&forebay)).collect();
    drop(first);
    line.iter_mut().take(3).for_each(is_let_in);
    eventually(SOON, || backend.live() == 3);
    // A reload makes room as well.
    let before = forebay.status();
    forebay.save(&file(WORKERS, &backend, 7, "{ max = 100, timeout = \"1m\" }"));
    forebay.signal(Signal::HUP);
    forebay.status_after(&before).expect_applied();
    line[3..7].iter_mut().for_each(is_let_in);
    eventually(SOON, || backend.live() == 7);
    line.drain(..7);
    line.iter_mut().for_each(is_let_in);
}

#[test]
fn who_leaves_the_line_keeps_nobody() {
    let backend = Backend::echo();
    let forebay = start(&backend, 1, "{ max = 3, timeout = \"1m\" }");
    let first = served(&forebay);
    let mut line: Vec<Peer> = (0..3).map(|_| waiting(&forebay)).collect();
    Peer::expect_rejection(forebay.address("web"));
    eventually(SOON, || forebay.sessions().iter().any(|it| it.reason.contains("pool_limit")));
    // From the front and from the middle.
    line.remove(0).reset();
    line.remove(0).reset();
    let left = || forebay.sessions().iter().filter(|it| it.reason.contains("client_left")).count();
    eventually(SOON, || left() == 2);
    line.push(waiting(&forebay));
    line.push(waiting(&forebay));
    Peer::expect_rejection(forebay.address("web"));
    drop(first);
    line.into_iter().for_each(|mut client| is_let_in(&mut client));
}

#[test]
fn who_has_waited_for_long_enough_is_reset() {
    let backend = Backend::echo();
    let forebay = start(&backend, 1, "{ max = 3, timeout = \"600ms\" }");
    let mut first = served(&forebay);
    let began = Instant::now();
    waiting(&forebay).expect_reset();
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    eventually(SOON, || forebay.sessions().iter().any(|it| it.reason.contains("queue_timeout")));
    first.ask(b"still here").unwrap();
    drop(first);
    drop(served(&forebay));
}

#[test]
fn the_line_survives_reloads_and_workers_that_leave() {
    let backend = Backend::echo();
    let forebay = start(&backend, 1, "true");
    let first = served(&forebay);
    let queue = "{ max = 50, timeout = \"1m\" }";
    let mut line: Vec<Peer> = (0..4).map(|_| waiting(&forebay)).collect();
    for workers in [4, 1, 3] {
        forebay.reload(&file(workers, &backend, 1, queue)).expect_applied();
        line.extend((0..4).map(|_| waiting(&forebay)));
    }
    drop(first);
    for mut client in line {
        is_let_in(&mut client);
    }
}

#[test]
fn nobody_is_forgotten_under_load() {
    let backend = Backend::echo();
    let forebay = start(&backend, 2, "{ max = 1000, timeout = \"1m\" }");
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| (0..20).for_each(|_| drop(served(&forebay))));
        }
    });
    eventually(SOON, || backend.live() == 0 && forebay.sessions().len() == 640);
    assert_eq!(backend.accepted(), 640);
    let odd: Vec<_> = forebay
        .sessions()
        .into_iter()
        .filter(|it| !it.reason.contains("client_reset") && !it.reason.contains("finished"))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}
