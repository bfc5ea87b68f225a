//! Backends that die, come back, or only seem to live: who is served by whom, and what is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use support::{Backend, End, Forebay, Peer, SOON, Start, eventually, pause, refusing_address};

/// A probe that is quick.
const QUICK: &str =
    "probe = { interval = \"50ms\", fast_interval = \"20ms\", timeout = \"500ms\" }";

/// Before these backends, with more lines for the pool. Nobody but the test asks for a reload.
fn simple(backends: &[SocketAddr], pool: &str) -> String {
    format!("[reload]\nwatch = \"off\"\n{}", Forebay::simple(backends, pool))
}

/// Started so.
fn before(backends: &[SocketAddr], pool: &str) -> Forebay {
    Forebay::start(&simple(backends, pool))
}

fn served_by(forebay: &Forebay) -> Option<String> {
    Peer::try_connect(forebay.address("web")).ok()?.line()
}

/// A backend that says its name, on an address where one was before.
fn again(address: SocketAddr, name: &'static str) -> Backend {
    Backend::at(address, move |peer| peer.send(format!("{name}\n").as_bytes()))
}

#[test]
fn who_dies_is_left_out_and_who_comes_back_is_used_again() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let (address, of_b) = (a.address(), b.address());
    let forebay = before(&[address, of_b], QUICK);
    let both = ["a", "b"].map(|name| Some(name.to_owned()));
    let visits: Vec<_> = (0..4).map(|_| served_by(&forebay)).collect();
    assert!(both.iter().all(|name| visits.contains(name)), "{visits:?}");
    drop(a);
    forebay.expect_said("backend is unhealthy");
    forebay.expect_said("connection refused");
    let accepted = |name: &str| forebay.said().matches(name).count();
    for _ in 0..10 {
        assert_eq!(served_by(&forebay).as_deref(), Some("b"));
    }
    let a = again(address, "a");
    forebay.expect_said("backend is healthy");
    eventually(SOON, || served_by(&forebay).as_deref() == Some("a"));
    assert_eq!(accepted("backend is unhealthy"), 1, "told once");
    assert_eq!(accepted("backend is healthy"), 1, "told once");
    drop((a, b));
    forebay.expect_said("the last backend is unhealthy");
}

/// What was told with this message: each line's level, backend, reason, and whether it has how long
/// it was otherwise.
fn told(forebay: &Forebay, message: &str) -> Vec<(String, String, Option<String>, bool)> {
    let said = forebay.said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"] == message)
        .map(|line| {
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            let (level, backend) = (text("level").unwrap(), text("backend").unwrap());
            (level, backend, text("reason"), text("after").is_some())
        })
        .collect()
}

/// One line that [`told`] has.
fn line(
    level: &str,
    backend: SocketAddr,
    reason: Option<&str>,
    after: bool,
) -> (String, String, Option<String>, bool) {
    (level.to_owned(), backend.to_string(), reason.map(str::to_owned), after)
}

#[test]
fn changes_of_health_are_told_once_with_level_and_reason() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let (one, two) = (a.address(), b.address());
    let forebay = Start::new(simple(&[one, two], QUICK)).sessions().start();
    // At the start thousands may become known at once, and nothing has changed.
    eventually(SOON, || told(&forebay, "backend is healthy").len() == 2);
    drop(a);
    eventually(SOON, || !told(&forebay, "backend is unhealthy").is_empty());
    let refused = Some("connection refused");
    assert_eq!(told(&forebay, "backend is unhealthy"), [line("INFO", one, refused, true)]);
    let _a = again(one, "a");
    eventually(SOON, || told(&forebay, "backend is healthy").len() == 3);
    let healthy = told(&forebay, "backend is healthy");
    assert!(healthy[..2].iter().all(|(level, _, _, after)| level == "DEBUG" && !after));
    assert_eq!(healthy[2], line("INFO", one, None, true));
}

#[test]
fn the_last_one_to_fail_is_told_as_an_error() {
    let backend = Backend::naming("a");
    let address = backend.address();
    let forebay = Start::new(simple(&[address], QUICK)).sessions().start();
    eventually(SOON, || told(&forebay, "backend is healthy").len() == 1);
    drop(backend);
    let last = || told(&forebay, "the last backend is unhealthy");
    eventually(SOON, || !last().is_empty());
    assert_eq!(last(), [line("ERROR", address, Some("connection refused"), true)]);
}

#[test]
fn an_ejection_and_its_end_are_told_once() {
    let (probed, b) = (Backend::silent(), Backend::naming("b"));
    let by_probe = format!(
        "eject = {{ failures = 1, time = \"1h\", max_time = \"1h\" }}\n\
         probe = {{ interval = \"300ms\", port = {} }}",
        probed.address().port()
    );
    let in_time = "eject = { failures = 1, time = \"300ms\", max_time = \"300ms\" }";
    for (pool, reason) in [(in_time, "its time is over"), (&by_probe, "a probe succeeded")] {
        let (dead, held) = refusing_address();
        let config = simple(&[dead, b.address()], &format!("balance = \"first\"\n{pool}"));
        let forebay = Start::new(config).sessions().start();
        // One may come back before the log tells that it was left out.
        assert_eq!(served_by(&forebay).as_deref(), Some("b"));
        eventually(SOON, || !told(&forebay, "backend is used again").is_empty());
        let ejected = told(&forebay, "backend ejected");
        assert_eq!(ejected, [line("INFO", dead, Some("connection refused"), false)]);
        let again = line("INFO", dead, Some(reason), true);
        assert_eq!(told(&forebay, "backend is used again"), [again]);
        drop(held);
    }
}

#[test]
fn one_that_never_lived_is_left_out_from_the_first_probe_on() {
    let b = Backend::naming("b");
    let (dead, held) = refusing_address();
    let forebay = before(&[dead, b.address()], QUICK);
    forebay.expect_said("backend is unhealthy");
    for _ in 0..10 {
        assert_eq!(served_by(&forebay).as_deref(), Some("b"));
    }
    drop(held);
}

/// One backend, probed at another's port; what becomes of a session when that one is gone.
fn session_of_an_unhealthy(policy: &str) -> (Forebay, Peer, Backend) {
    let (backend, other, probed) = (Backend::echo(), Backend::echo(), Backend::silent());
    let pool = format!(
        "balance = \"first\"\non_unhealthy = {policy}\n\
         probe = {{ interval = \"50ms\", port = {}, fall = 2 }}",
        probed.address().port()
    );
    let forebay = before(&[backend.address(), other.address()], &pool);
    let mut client = Peer::connect(forebay.address("web"));
    client.ask(b"hello").expect("served");
    eventually(SOON, || probed.accepted() > 2);
    drop(probed);
    forebay.expect_said("the last backend is unhealthy");
    drop(other);
    (forebay, client, backend)
}

#[test]
fn sessions_of_an_unhealthy_backend_live_on_unasked() {
    let (forebay, mut client, _backend) = session_of_an_unhealthy("\"keep\"");
    client.ask(b"still here").expect("served");
    Peer::expect_rejection(forebay.address("web"));
    client.ask(b"still here").expect("served");
}

#[test]
fn sessions_of_an_unhealthy_backend_are_reset_if_the_pool_says_so() {
    let (_forebay, mut client, backend) = session_of_an_unhealthy("\"close\"");
    client.expect_reset();
    eventually(SOON, || backend.live() == 0);
}

#[test]
fn sessions_of_an_unhealthy_backend_may_finish_for_a_while() {
    let (_forebay, mut client, backend) =
        session_of_an_unhealthy("{ drain = { timeout = \"700ms\" } }");
    client.ask(b"still here").expect("served");
    client.expect_reset();
    eventually(SOON, || backend.live() == 0);
}

#[test]
fn a_backend_that_comes_back_in_time_keeps_its_sessions() {
    let (backend, probed) = (Backend::echo(), Backend::silent());
    let address = probed.address();
    let pool = format!(
        "on_unhealthy = {{ drain = {{ timeout = \"2s\" }} }}\n\
         probe = {{ interval = \"50ms\", port = {}, rise = 1 }}",
        address.port()
    );
    let forebay = before(&[backend.address()], &pool);
    let mut client = Peer::connect(forebay.address("web"));
    client.ask(b"hello").expect("served");
    eventually(SOON, || probed.accepted() > 2);
    drop(probed);
    forebay.expect_said("the last backend is unhealthy");
    let _probed = again(address, "probed");
    forebay.expect_said("backend is healthy");
    // Longer than the drain would have lasted.
    client.stream().set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    let silence = std::io::Read::read(&mut client.stream(), &mut [0]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
    client.ask(b"still here").expect("served");
}

#[test]
fn reloads_do_not_begin_a_count_anew() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let probe = "probe = { interval = \"200ms\", fast_interval = \"200ms\", fall = 5 }";
    let file = |cap: usize| {
        simple(&[a.address(), b.address()], &format!("{probe}\nmax_connections = {cap}"))
    };
    let forebay = Forebay::start(&file(100));
    let address = a.address();
    eventually(SOON, || a.accepted() > 1);
    let other = b.address();
    drop(a);
    let mut cap = 100;
    // Each takes less than the interval of the probes, which five in a row take a second to fail.
    while !forebay.said().contains("backend is unhealthy") {
        cap += 1;
        assert!(cap < 1000, "never found: {}", forebay.said());
        forebay.reload(&simple(&[address, other], &format!("{probe}\nmax_connections = {cap}")));
    }
    assert!(cap > 101, "{cap} reloads say nothing");
}

#[test]
fn reloads_do_not_disturb_whom_they_do_not_concern() {
    let backend = Backend::naming("a");
    let file = |cap: usize| {
        let lines = format!("probe = {{ interval = \"1h\" }}\nmax_connections = {cap}");
        simple(&[backend.address()], &lines)
    };
    let forebay = Forebay::start(&file(1));
    eventually(SOON, || backend.accepted() == 1);
    // A probe that begins anew is made within a second.
    for cap in 2..32 {
        forebay.reload(&file(cap)).expect_applied();
        pause(Duration::from_millis(100));
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn other_settings_of_a_probe_hold_after_a_reload() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let all = [a.address(), b.address()];
    let slow = "probe = { interval = \"1h\" }";
    let forebay = Start::new(simple(&all, slow)).sessions().start();
    eventually(SOON, || a.accepted() == 1 && b.accepted() == 1);
    drop(a);
    forebay.reload(&simple(&all, QUICK)).expect_applied();
    forebay.expect_said("backend is unhealthy");
    forebay.reload(&simple(&all, "")).expect_applied();
    // Nobody is probed, so nobody is known to be unhealthy: the connect fails and moves on.
    eventually(SOON, || {
        assert_eq!(served_by(&forebay).as_deref(), Some("b"));
        forebay.sessions().iter().any(|session| session.attempts == 2)
    });
}

#[test]
fn in_panic_all_are_used_and_no_session_is_cut() {
    let (a, b, probed) = (Backend::naming("a"), Backend::naming("b"), Backend::silent());
    let pool = format!(
        "panic_threshold = \"50%\"\non_unhealthy = \"close\"\n\
         probe = {{ interval = \"50ms\", port = {} }}",
        probed.address().port()
    );
    let forebay = before(&[a.address(), b.address()], &pool);
    let mut client = Peer::connect(forebay.address("web"));
    client.line().expect("served");
    eventually(SOON, || probed.accepted() > 2);
    drop(probed);
    forebay.expect_said("too few healthy backends: all are used");
    eventually(SOON, || forebay.said().contains("the last backend is unhealthy"));
    let visits: Vec<_> = (0..4).map(|_| served_by(&forebay)).collect();
    assert!(visits.iter().all(Option::is_some), "{visits:?}");
}

#[test]
fn panic_ends_when_nobody_is_probed_any_more() {
    let (b, probed) = (Backend::naming("b"), Backend::silent());
    let (dead, held) = refusing_address();
    let probe = format!("probe = {{ interval = \"50ms\", port = {} }}", probed.address().port());
    // It has nobody who listens from here on.
    drop(probed);
    let eject = "eject = { failures = 1, time = \"1h\", max_time = \"1h\" }";
    let file = |more: &str| {
        let pool = format!("balance = \"first\"\n{eject}\npanic_threshold = \"50%\"\n{more}");
        simple(&[dead, b.address()], &pool)
    };
    let forebay = Start::new(file(&probe)).sessions().start();
    forebay.expect_said("too few healthy backends: all are used");
    forebay.reload(&file("")).expect_applied();
    forebay.expect_said("enough backends are healthy");
    // Health counts again, and so does an ejection.
    let visits = 5;
    for _ in 0..visits {
        assert_eq!(served_by(&forebay).as_deref(), Some("b"));
    }
    eventually(SOON, || forebay.sessions().len() == visits);
    let attempts: u64 = forebay.sessions().iter().map(|it| it.attempts).sum();
    assert_eq!(attempts, 1 + u64::try_from(visits).unwrap(), "the dead one was tried once");
    drop(held);
}

#[test]
fn who_refuses_clients_is_left_out_without_any_probe() {
    let b = Backend::naming("b");
    let (dead, held) = refusing_address();
    let config =
        simple(&[dead, b.address()], "eject = { failures = 3, time = \"1h\", max_time = \"1h\" }");
    let forebay = Start::new(config).sessions().start();
    let mut visits = 0;
    let mut visit = || {
        visits += 1;
        assert_eq!(served_by(&forebay).as_deref(), Some("b"), "it moves on");
        visits
    };
    // Sessions end in any order, so all that were are waited for.
    let tried_twice = |visits| {
        eventually(SOON, || forebay.sessions().len() == visits);
        forebay.sessions().iter().filter(|it| it.attempts > 1).count()
    };
    eventually(SOON, || {
        visit();
        forebay.said().contains("backend ejected")
    });
    let before = tried_twice(visit());
    for _ in 0..10 {
        visit();
    }
    assert_eq!(tried_twice(visit()), before);
    drop(held);
}

#[test]
fn who_resets_clients_before_a_byte_is_left_out_too() {
    let (bad, good) = (Backend::resetting(), Backend::naming("good"));
    let forebay = before(
        &[bad.address(), good.address()],
        "eject = { failures = 3, time = \"1h\", max_time = \"1h\" }",
    );
    eventually(SOON, || {
        assert_eq!(served_by(&forebay).as_deref(), Some("good"), "it moves on");
        forebay.said().contains("backend ejected")
    });
    let before = bad.accepted();
    for _ in 0..10 {
        assert_eq!(served_by(&forebay).as_deref(), Some("good"));
    }
    assert_eq!(bad.accepted(), before);
}

/// Resets whoever asks with this byte first, and answers all others.
fn unsure() -> Backend {
    Backend::scripted(|peer| match peer.read_some(1) {
        Ok(byte) if byte == b"x" => peer.reset_when_closed(),
        Ok(byte) => {
            peer.send(&byte);
            let _ = peer.read_some(1);
        }
        Err(_) => {}
    })
}

#[test]
fn who_resets_clients_that_have_asked_is_left_out_too() {
    let (bad, good) = (unsure(), Backend::echo());
    let forebay = before(
        &[bad.address(), good.address()],
        "eject = { failures = 3, time = \"1h\", max_time = \"1h\" }",
    );
    let ask = || Peer::connect(forebay.address("web")).ask(b"x");
    eventually(SOON, || {
        let _ = ask();
        forebay.said().contains("backend ejected")
    });
    forebay.expect_said("reset before a byte came back");
    assert_eq!(bad.accepted(), 3, "asked once for each client");
    for _ in 0..10 {
        assert_eq!(ask(), Ok(()));
    }
    assert_eq!(bad.accepted(), 3);
}

#[test]
fn an_answer_breaks_a_row_of_resets_while_its_session_lasts() {
    let (first, second) = (unsure(), Backend::echo());
    let pool = "balance = \"first\"\neject = { failures = 3, time = \"1h\", max_time = \"1h\" }";
    let file = simple(&[first.address(), second.address()], pool);
    let forebay = Forebay::start(&format!("[runtime]\nworkers = 1\n{file}"));
    let ask = |byte| {
        let mut client = Peer::connect(forebay.address("web"));
        (client.ask(byte), client)
    };
    let mut open = Vec::new();
    for _ in 0..5 {
        (0..2).for_each(|_| assert_eq!(ask(b"x").0, Err(Some(End::Reset))));
        let (answer, client) = ask(b"y");
        assert_eq!(answer, Ok(()));
        open.push(client);
    }
    eventually(SOON, || first.live() == open.len());
    (0..3).for_each(|_| assert_eq!(ask(b"x").0, Err(Some(End::Reset))));
    assert_eq!(ask(b"x").0, Ok(()), "by the second one");
    assert_eq!(second.accepted(), 1);
}

#[test]
fn one_that_is_left_out_is_the_last_resort() {
    let b = Backend::naming("b");
    let (dead, held) = refusing_address();
    let forebay =
        before(&[dead, b.address()], "eject = { failures = 1, time = \"1h\", max_time = \"1h\" }");
    eventually(SOON, || {
        assert_eq!(served_by(&forebay).as_deref(), Some("b"));
        forebay.said().contains("backend ejected")
    });
    drop(held);
    let _a = again(dead, "a");
    drop(b);
    for _ in 0..5 {
        assert_eq!(served_by(&forebay).as_deref(), Some("a"), "rather than nobody");
    }
}

#[test]
fn the_only_backend_is_never_left_out() {
    let (dead, held) = refusing_address();
    let forebay = before(&[dead], "eject = { failures = 1 }");
    for _ in 0..10 {
        Peer::expect_rejection(forebay.address("web"));
    }
    drop(held);
    let _back = again(dead, "back");
    eventually(SOON, || served_by(&forebay).as_deref() == Some("back"));
    assert!(!forebay.said().contains("ejected"), "{}", forebay.said());
}

/// The listener's pool of one backend that is not there, and what it says while it is down.
fn down(when_down: &str, probe: &str) -> (Forebay, SocketAddr) {
    let (address, held) = refusing_address();
    let lines = format!("when_down = {when_down}\n{probe}");
    let start = Start::new(simple(&[address], &lines)).sessions();
    let forebay = start.start();
    drop(held);
    (forebay, address)
}

/// What is said of a client that is held.
fn waits(client: &Peer) -> String {
    format!("\"waits for a backend\",\"pool\":\"app\",\"client\":\"{}\"", client.local())
}

#[test]
fn clients_wait_for_a_backend_and_lose_nothing() {
    for probe in ["", QUICK] {
        let (forebay, address) = down("{ hold = \"1m\" }", probe);
        let mut clients: Vec<Peer> =
            (0..20).map(|_| Peer::connect(forebay.address("web"))).collect();
        clients.iter_mut().for_each(|client| client.send(b"sent while nobody was there"));
        clients.iter().for_each(|client| forebay.expect_said(&waits(client)));
        let backend = Backend::at(address, |peer| {
            let bytes = peer.read_some(64).unwrap();
            peer.send(&bytes);
        });
        for client in &mut clients {
            client.expect_then_eof(b"sent while nobody was there");
        }
        drop(backend);
    }
}

#[test]
fn who_waits_asks_a_dead_backend_no_more_often_than_retries_may() {
    const CLIENTS: usize = 50;
    let (forebay, _) = down("{ hold = \"2s\" }", "");
    let began = std::time::Instant::now();
    let mut clients: Vec<Peer> =
        (0..CLIENTS).map(|_| Peer::connect(forebay.address("web"))).collect();
    clients.iter_mut().for_each(Peer::expect_reset);
    let seconds = began.elapsed().as_secs_f64();
    eventually(SOON, || forebay.sessions().len() == CLIENTS);
    let attempts: u64 = forebay.sessions().iter().map(|it| it.attempts).sum();
    // Each client's own, 20 % of these, ten at once, and ten a second.
    let most = CLIENTS as f64 * 1.2 + 10.0 + 10.0 * seconds;
    assert!(attempts as f64 <= most, "{attempts} attempts in {seconds} s");
    assert!(attempts > CLIENTS as u64 + 10, "{attempts}: they do try again");
}

#[test]
fn those_who_wait_are_let_go_on_as_soon_as_one_of_them_is_served() {
    const CLIENTS: usize = 200;
    let (forebay, address) = down("{ hold = \"1m\" }", "");
    let clients: Vec<Peer> = (0..CLIENTS).map(|_| Peer::connect(forebay.address("web"))).collect();
    // Each has made its own attempt.
    eventually(SOON, || forebay.said().matches("connect failed").count() >= CLIENTS);
    let began = std::time::Instant::now();
    let _back = again(address, "back");
    for mut client in clients {
        assert_eq!(client.line().as_deref(), Some("back"));
    }
    // At ten a second it would take 15.
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn those_who_wait_go_on_with_who_is_back_though_another_is_still_dead() {
    const CLIENTS: usize = 200;
    let (one, held_one) = refusing_address();
    let (other, _held) = refusing_address();
    let config = simple(&[one, other], "when_down = { hold = \"1m\" }");
    let forebay = Start::new(config).sessions().start();
    let clients: Vec<Peer> = (0..CLIENTS).map(|_| Peer::connect(forebay.address("web"))).collect();
    eventually(SOON, || forebay.said().matches("connect failed").count() >= CLIENTS);
    drop(held_one);
    let began = std::time::Instant::now();
    let _back = again(one, "back");
    for mut client in clients {
        assert_eq!(client.line().as_deref(), Some("back"));
    }
    // At ten a second it would take 15.
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn who_has_waited_for_long_enough_is_refused() {
    let (forebay, _) = down("{ hold = \"700ms\" }", QUICK);
    let began = std::time::Instant::now();
    Peer::expect_rejection(forebay.address("web"));
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    let session = forebay.only_session();
    assert!(session.reason.contains("connect"), "{session:?}");
}

#[test]
fn no_more_wait_than_may_and_who_leaves_makes_room() {
    let (forebay, address) = down("{ hold = \"1m\", max = 2 }", "");
    let mut held: Vec<Peer> = (0..2).map(|_| Peer::connect(forebay.address("web"))).collect();
    held.iter().for_each(|client| forebay.expect_said(&waits(client)));
    Peer::expect_rejection(forebay.address("web"));
    held.remove(0).reset();
    eventually(SOON, || forebay.sessions().iter().any(|it| it.reason.contains("client_left")));
    held.push(Peer::connect(forebay.address("web")));
    let _back = again(address, "back");
    for mut client in held {
        assert_eq!(client.line().as_deref(), Some("back"));
    }
}

#[test]
fn they_go_on_one_after_the_other() {
    let (forebay, address) = down("{ hold = \"1m\", release_rate = \"2/s\" }", QUICK);
    let clients: Vec<Peer> = (0..6).map(|_| Peer::connect(forebay.address("web"))).collect();
    forebay.expect_said("the last backend is unhealthy");
    let began = std::time::Instant::now();
    let _back = again(address, "back");
    for mut client in clients {
        assert_eq!(client.line().as_deref(), Some("back"));
    }
    // Two at once, and the other four at two a second.
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
}
