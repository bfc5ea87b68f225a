//! The number of workers changes under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use super::support::{
    Backend, End, Exit, Forebay, Pattern, Peer, SOON, comes_true, eventually, unread,
};
use super::{quiet, say};

fn file(backend: &Backend, workers: usize) -> String {
    let simple = Forebay::simple(&[backend.address()], "");
    quiet(&format!("[runtime]\nworkers = {workers}\n{simple}"))
}

fn threads(forebay: &Forebay) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", forebay.id())).unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.starts_with("worker ")).count()
}

#[test]
fn workers_come_and_go_under_load_and_nobody_notices() {
    const ROUNDS: usize = 20;
    let backend = Backend::echo();
    let mut forebay = Forebay::start(&file(&backend, 1));
    let address = forebay.address("web");
    let mut held: Vec<Peer> = (0..20).map(|_| Peer::connect(address)).collect();
    held.iter_mut().for_each(say);
    // Spare pipes for splicing stay open.
    let open = || forebay.descriptors() - forebay.pipes();
    let before = open();
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut client = Peer::connect(address);
                    client.ask(b"hello").expect("served");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 0..2 {
            let stop = &stop;
            scope.spawn(move || transfer(address, number, stop));
        }
        for _ in 0..ROUNDS {
            for workers in [2, 4, 1] {
                forebay.reload(&file(&backend, workers)).expect_applied();
                eventually(SOON, || threads(&forebay) == workers);
                held.iter_mut().for_each(say);
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(served.load(Ordering::SeqCst) > ROUNDS, "{served:?}");
    // Three more sockets on the address: one for each worker that there ever was.
    assert!(comes_true(SOON, || open() <= before + 3), "{} descriptors, {before} before", open());
    assert!(!forebay.said().contains("ERROR"), "{}", forebay.said());
    // Nobody is counted who is not there: the drain is over as soon as all have left.
    drop(held);
    forebay.signal(Signal::TERM);
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}

/// Bytes that go round for as long as the workers change, and come back as they went.
fn transfer(address: std::net::SocketAddr, key: u64, stop: &AtomicBool) {
    let (pattern, mut client) = (Pattern::new(key), Peer::connect(address));
    let mut position = 0;
    while !stop.load(Ordering::SeqCst) {
        let piece = pattern.piece(position, 100_000);
        client.send(piece);
        client.expect(piece);
        position += piece.len() as u64;
    }
    client.finish();
    client.expect_eof();
}

#[test]
fn what_could_not_be_written_yet_is_written_by_another_worker() {
    const MUCH: u64 = 16 << 20;
    let pattern = Pattern::new(3);
    let backend = Backend::scripted(move |peer| {
        peer.send_pattern(pattern, MUCH);
        peer.finish();
    });
    let forebay = Forebay::start(&file(&backend, 4));
    let address = forebay.address("web");
    let clients: Vec<Peer> = (0..8).map(|_| Peer::connect_small(address, 16 * 1024)).collect();
    let full = |client: &Peer| unread(client.stream()) > 0;
    eventually(SOON, || clients.iter().all(full) && forebay.is_asleep());
    forebay.reload(&file(&backend, 1)).expect_applied();
    eventually(SOON, || threads(&forebay) == 1);
    for mut client in clients {
        client.expect_pattern(pattern, MUCH, End::Eof);
    }
}
