//! Settings of pools and of the process that change while sessions live: from where, how and how long
//! it is connected, and how long a shutdown waits.

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{Backend, Exit, Forebay, Peer, SOON, comes_true, deaf_address};
use super::{say, served_by, simple, sockets, visit};

#[test]
fn the_address_that_connects_come_from_changes() {
    let a = Backend::scripted(|peer| {
        let from = peer.stream().peer_addr().unwrap().ip();
        peer.stream().write_all(format!("{from}\n").as_bytes()).unwrap();
        while let Ok(bytes) = peer.read_some(16) {
            peer.send(&bytes);
        }
    });
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let (mut old, from) = visit(&forebay);
    assert_eq!(from, "127.0.0.1");
    for source in ["127.0.0.7", "127.0.0.8"] {
        forebay.reload(&simple(&[&a], "", &format!("source = {source:?}"))).expect_applied();
        assert_eq!(served_by(&forebay), source);
    }
    forebay.reload(&simple(&[&a], "", "")).expect_applied();
    assert_eq!(served_by(&forebay), "127.0.0.1");
    say(&mut old);
}

#[test]
fn the_congestion_control_towards_backends_changes_for_new_sessions() {
    let a = Backend::naming("a");
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let upstreams = || -> Vec<String> {
        let all = sockets(&["-tniH", "state", "established", "dst", &a.address().to_string()]);
        all.into_iter().map(|(_, congestion)| congestion).collect()
    };
    let (mut old, _) = visit(&forebay);
    let hosts = upstreams().remove(0);
    let other = if hosts == "reno" { "cubic" } else { "reno" };
    let file = simple(&[&a], "", &format!("congestion = {other:?}"));
    forebay.reload(&file).expect_applied();
    let (mut new, _) = visit(&forebay);
    let mut expected = [hosts.as_str(), other];
    let mut found = upstreams();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    say(&mut old);
    say(&mut new);
}

#[test]
fn how_long_and_how_often_it_is_connected_changes() {
    let (deaf, _held) = deaf_address();
    let a = Backend::naming("a");
    let file = |timeout: &str, attempts: u32| {
        let backends = format!("backends = [\"{deaf}\", \"{}\"]", a.address());
        let pool = format!(
            "balance = \"first\"\neject = false\n\
             connect = {{ timeout = {timeout:?}, attempts = {attempts} }}"
        );
        let simple = simple(&[&a], "", &pool);
        simple.replace(&format!("backends = [\"{}\"]", a.address()), &backends)
    };
    let forebay = Forebay::start(&file("1h", 2));
    let old = Peer::connect(forebay.address("web"));
    forebay.reload(&file("200ms", 2)).expect_applied();
    let began = Instant::now();
    assert_eq!(served_by(&forebay), "a");
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    forebay.reload(&file("200ms", 1)).expect_applied();
    Peer::expect_rejection(forebay.address("web"));
    // Who came before goes on as it began.
    old.stream().set_nonblocking(true).unwrap();
    let told = || !old.stream().peek(&mut [0]).is_err_and(|it| it.kind() == ErrorKind::WouldBlock);
    assert!(!comes_true(Duration::from_millis(300), told), "it was served or reset");
}

#[test]
fn how_long_a_shutdown_waits_changes() {
    let a = Backend::naming("a");
    let file =
        |timeout: &str| format!("[shutdown]\ntimeout = {timeout:?}\n{}", simple(&[&a], "", ""));
    let mut forebay = Forebay::start(&file("1h"));
    let (mut client, _) = visit(&forebay);
    forebay.reload(&file("300ms")).expect_applied();
    forebay.signal(Signal::TERM);
    client.expect_reset();
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
}
