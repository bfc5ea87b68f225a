//! What a reload in the middle of a failure leaves as it was, and what begins with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use support::{Backend, Forebay, Peer, SOON, Start, eventually, pause, refusing_address};

/// Before these backends, with more lines for the pool. Nobody but the test asks for a reload.
fn simple(backends: &[SocketAddr], pool: &str) -> String {
    format!("[reload]\nwatch = \"off\"\n{}", Forebay::simple(backends, pool))
}

/// The name of the backend that a new client reaches.
#[track_caller]
fn reached(forebay: &Forebay) -> String {
    Peer::connect(forebay.address("web")).line().expect("a name")
}

/// How many of so many clients reach this backend.
fn share(forebay: &Forebay, name: &str, clients: usize) -> usize {
    (0..clients).filter(|_| reached(forebay) == name).count()
}

#[test]
fn it_takes_as_many_failed_probes_as_the_file_says_whatever_is_reloaded() {
    const FALL: usize = 5;
    let failing = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicUsize::new(0));
    let backend = {
        let (failing, failed) = (Arc::clone(&failing), Arc::clone(&failed));
        Backend::scripted(move |peer| match failing.load(SeqCst) {
            true => {
                let count = failed.fetch_add(1, SeqCst) + 1;
                peer.send(format!("down for the {count}. time").as_bytes());
            }
            false => peer.send(b"up"),
        })
    };
    let file = |cap: usize| {
        let lines = format!(
            "max_connections = {cap}\n\
             probe = {{ kind = {{ send-expect = {{ steps = [{{ expect = \"up\" }}] }} }}, \
             interval = \"250ms\", fast_interval = \"250ms\", fall = {FALL} }}"
        );
        simple(&[backend.address()], &lines)
    };
    let mut cap = 100;
    let forebay = Forebay::start(&file(cap));
    eventually(SOON, || backend.accepted() > 1);
    failing.store(true, SeqCst);
    while !forebay.said().contains("backend is unhealthy") {
        cap += 1;
        assert!(cap < 300, "never found");
        forebay.reload(&file(cap)).expect_applied();
        pause(Duration::from_millis(100));
    }
    assert!(cap > 103, "{cap}: the reloads were too few to say anything");
    // The reason is what the probe found that decided.
    let decided = format!("got \\\"down for the {FALL}. time\\\"");
    assert!(forebay.said().contains(&decided), "no {decided}");
}

#[test]
fn who_is_left_out_stays_out_when_the_file_is_reloaded() {
    let good = Backend::naming("good");
    let (dead, held) = refusing_address();
    let file = |cap: usize| {
        let lines = format!(
            "max_connections = {cap}\n\
             eject = {{ failures = 2, time = \"1h\", max_time = \"1h\" }}"
        );
        simple(&[dead, good.address()], &lines)
    };
    let forebay = Start::new(file(100)).sessions().start();
    let mut visits = 0;
    eventually(SOON, || {
        visits += 1;
        assert_eq!(reached(&forebay), "good");
        forebay.said().contains("backend ejected")
    });
    let tried_twice = |visits| {
        eventually(SOON, || forebay.sessions().len() == visits);
        forebay.sessions().iter().filter(|it| it.attempts > 1).count()
    };
    let before = tried_twice(visits);
    for cap in 101..106 {
        forebay.reload(&file(cap)).expect_applied();
        assert_eq!(share(&forebay, "good", 4), 4);
        visits += 4;
    }
    assert_eq!(tried_twice(visits), before);
    drop(held);
}

#[test]
fn who_waits_for_a_backend_goes_on_waiting_when_the_file_is_reloaded() {
    let (dead, held) = refusing_address();
    let file = |backends: &[SocketAddr], cap: usize| {
        let lines = format!("max_connections = {cap}\nwhen_down = {{ hold = \"1m\" }}");
        simple(backends, &lines)
    };
    let forebay = Start::new(file(&[dead], 100)).sessions().start();
    let client = || {
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"unread");
        forebay.expect_said(&format!("\"{}\"", client.local()));
        client
    };
    let mut clients: Vec<Peer> = (0..4).map(|_| client()).collect();
    for cap in 101..106 {
        forebay.reload(&file(&[dead], cap)).expect_applied();
        clients.push(client());
    }
    // Whom a reload names is found as well as who comes back.
    let new = Backend::echo();
    forebay.reload(&file(&[dead, new.address()], 200)).expect_applied();
    clients.iter_mut().for_each(|client| client.expect(b"unread"));
    let ended: Vec<_> = forebay.sessions();
    assert!(ended.is_empty(), "{ended:?}");
    drop(held);
}

#[test]
fn a_backend_that_a_reload_adds_gets_a_rising_share() {
    let (old, new) = (Backend::naming("old"), Backend::naming("new"));
    let file = |backends: &[SocketAddr], slow_start: &str| {
        simple(backends, &format!("slow_start = \"{slow_start}\""))
    };
    let all = [old.address(), new.address()];
    let forebay = Forebay::start(&file(&all[..1], "1h"));
    assert_eq!(share(&forebay, "old", 10), 10);
    forebay.reload(&file(&all, "1h")).expect_applied();
    // A tenth of its share beside a whole one.
    let first = share(&forebay, "new", 110);
    assert!((5..=15).contains(&first), "{first} of 110");
    // It is as old as it is, and the file says for how long that is new.
    forebay.reload(&file(&all, "1ms")).expect_applied();
    let whole = share(&forebay, "new", 110);
    assert!((50..=60).contains(&whole), "{whole} of 110");
    // Those that were there at the start are all as new as each other.
    let forebay = Forebay::start(&file(&all, "1h"));
    let half = share(&forebay, "new", 110);
    assert!((50..=60).contains(&half), "{half} of 110");
}
