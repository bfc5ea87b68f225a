//! Stopping: what signals do, what becomes of sessions, and of connections that nobody has accepted yet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    Arrivals, Backend, Exit, Fates, Forebay, Line, Netns, Peer, RIGHT, SOON, Start, WITHOUT_RIGHTS,
    comes_true, eventually, pause, root_or_left_out,
};

/// A forebay with one session that has moved bytes.
fn with_a_session(shutdown: &str) -> (Forebay, Backend, Peer) {
    let backend = Backend::echo();
    let config = Forebay::simple(&[backend.address()], "");
    let forebay = Forebay::start(&format!("[shutdown]\n{shutdown}\n{config}"));
    let mut client = Peer::connect(forebay.address("web"));
    say(&mut client);
    (forebay, backend, client)
}

#[track_caller]
fn say(client: &mut Peer) {
    client.send(b"hello");
    client.expect(b"hello");
}

/// True exactly when a new client does not get through: its SYN is dropped, or answered by a reset.
fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_err()
}

/// True exactly when a new client is served.
fn serves(address: SocketAddr) -> bool {
    let Ok(mut client) = Peer::try_connect(address) else { return false };
    client.send(b"x");
    client.read_some(1).is_ok()
}

#[test]
fn a_terminated_process_lets_its_sessions_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut forebay, _backend, mut client) = with_a_session("timeout = \"30s\"");
        let address = forebay.address("web");
        forebay.signal(signal);
        eventually(SOON, || refuses(address));
        say(&mut client);
        assert!(forebay.is_running());
        client.finish();
        client.expect_eof();
        assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let (mut forebay, _backend, mut client) = with_a_session("timeout = \"60s\"");
    let address = forebay.address("web");
    forebay.signal(Signal::TERM);
    eventually(SOON, || refuses(address));
    say(&mut client);
    let began = Instant::now();
    forebay.signal(Signal::TERM);
    client.expect_reset();
    assert!(matches!(forebay.wait_exit(SOON), Exit::Code(_)));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_process_that_stops_answers_a_reload_but_not_each_change_beside_its_file() {
    let (mut forebay, _backend, client) = with_a_session("timeout = \"60s\"");
    let address = forebay.address("web");
    forebay.signal(Signal::TERM);
    eventually(SOON, || refuses(address));
    for change in 0..5 {
        std::fs::write(forebay.directory().join("log"), change.to_string()).unwrap();
        pause(Duration::from_millis(250));
    }
    let answers = || forebay.said().matches("not reloaded").count();
    assert_eq!(answers(), 0, "{}", forebay.said());
    forebay.signal(Signal::HUP);
    eventually(SOON, || answers() == 1);
    drop(client);
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}

#[test]
fn quit_drains_without_bound() {
    let (mut forebay, _backend, mut client) = with_a_session("timeout = \"100ms\"");
    let address = forebay.address("web");
    forebay.signal(Signal::QUIT);
    eventually(SOON, || refuses(address));
    pause(Duration::from_millis(500));
    say(&mut client);
    client.finish();
    client.expect_eof();
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}

#[test]
fn accepting_goes_on_during_the_delay() {
    let (mut forebay, _backend, client) = with_a_session("delay = \"1500ms\"");
    let (address, began) = (forebay.address("web"), Instant::now());
    forebay.signal(Signal::TERM);
    drop(client);
    while began.elapsed() < Duration::from_millis(1200) {
        assert!(serves(address), "after {:?}", began.elapsed());
        pause(Duration::from_millis(50));
    }
    eventually(SOON, || refuses(address));
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}

#[test]
fn signals_without_a_meaning_yet_change_nothing() {
    let (mut forebay, _backend, mut client) = with_a_session("");
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE, Signal::WINCH] {
        forebay.signal(signal);
        pause(Duration::from_millis(50));
        say(&mut client);
    }
    assert!(forebay.is_running() && serves(forebay.address("web")));
}

#[test]
fn nobody_who_got_through_to_a_stopping_process_is_lost_with_1_worker() {
    expect_nobody_lost(1, &[]);
}

#[test]
fn nobody_who_got_through_to_a_stopping_process_without_rights_is_lost() {
    expect_nobody_lost(2, &WITHOUT_RIGHTS);
}

/// Clients that are connected before the signal, beside those in the queue.
const BEFORE: usize = 300;

/// `shutdown.timeout`; sessions here take far less.
const DEADLINE: Duration = Duration::from_secs(5);

fn expect_nobody_lost(workers: usize, rights: &[&str]) {
    if root_or_left_out() {
        return;
    }
    let (left, right) = (Netns::new(), Netns::new());
    let _line = Line::round_trip(Duration::from_millis(20)).join(&left, &right);
    right.run(&["sysctl", "-q", "-w", "net.ipv4.tcp_migrate_req=0"]);
    let backend = right.enter(Backend::echo);
    let config = format!(
        "[runtime]\nworkers = {workers}\n[shutdown]\ntimeout = \"5s\"\n\
         [listener.web]\naddress = \"{RIGHT}:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"{}\"]\n",
        backend.address()
    );
    let mut forebay = Start::new(config).under(&[&right.prefix(), rights].concat()).start();
    let address = forebay.address("web");
    let patience = Duration::from_secs(2);
    let arrivals = Arrivals { before: BEFORE, after: 1700, patience, late: DEADLINE };
    let change = || {
        forebay.signal(Signal::TERM);
        forebay.wake();
    };
    let fates = left.enter(|| arrivals.play(address, || forebay.freeze(), change));
    assert_eq!(forebay.wait_exit(DEADLINE * 2), Exit::Code(0));
    assert_eq!(fates.lost(), 0, "{fates:?}");
    assert!(fates.served() >= Fates::QUEUED + BEFORE, "{fates:?}");
    assert!(fates.not_connected() > 0, "it never stopped: {fates:?}");
}

#[test]
fn a_session_that_outlives_the_deadline_is_reset_on_both_sides() {
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        peer.expect(b"hello");
        peer.send(b"hello");
        let _ = tells.send(peer.is_reset(SOON));
    });
    let config = Forebay::simple(&[backend.address()], "");
    let mut forebay = Forebay::start(&format!("[shutdown]\ntimeout = \"1s\"\n{config}"));
    let mut client = Peer::connect(forebay.address("web"));
    say(&mut client);
    let began = Instant::now();
    forebay.signal(Signal::TERM);
    client.expect_reset();
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(told.recv_timeout(SOON).unwrap(), "the upstream was not reset");
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}

#[test]
fn bytes_for_somebody_who_does_not_read_do_not_hold_the_end_up() {
    let backend = Backend::blasting();
    let config = Forebay::simple(&[backend.address()], "");
    let mut forebay = Forebay::start(&format!("[shutdown]\ntimeout = \"500ms\"\n{config}"));
    let mut client = Peer::connect(forebay.address("web"));
    client.read_some(1).unwrap();
    let began = Instant::now();
    forebay.signal(Signal::TERM);
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
    let took = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_millis(1500)).contains(&took), "{took:?}");
    eventually(SOON, || backend.live() == 0);
    // What had come to it is there, and then it is told that this is not all.
    assert!(client.is_reset(SOON));
}

#[test]
fn whoever_still_waits_for_a_permit_at_the_deadline_is_reset() {
    for workers in [1, 4] {
        let backend = Backend::echo();
        let mut forebay = Forebay::start(&format!(
            "[runtime]\nworkers = {workers}\n[shutdown]\ntimeout = \"1s\"\n\
             [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
             max_connections = 1\nover = \"wait\"\n[pool.app]\nbackends = [\"{}\"]\n",
            backend.address()
        ));
        let mut client = Peer::connect(forebay.address("web"));
        say(&mut client);
        let mut waiting: Vec<Peer> =
            (0..20).map(|_| Peer::connect(forebay.address("web"))).collect();
        waiting.iter_mut().step_by(2).for_each(|waiter| waiter.send(b"hello"));
        let began = Instant::now();
        forebay.signal(Signal::TERM);
        for waiter in &mut waiting {
            waiter.expect_reset();
            assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        }
        client.expect_reset();
        assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert_eq!(backend.accepted(), 1);
    }
}

#[test]
fn a_process_without_sessions_stops_soon() {
    let backend = Backend::echo();
    let mut forebay = Forebay::before(&[backend.address()]);
    forebay.signal(Signal::TERM);
    assert!(comes_true(Duration::from_secs(3), || !forebay.is_running()));
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}
