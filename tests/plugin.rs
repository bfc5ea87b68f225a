//! Plug-ins of somebody else: the programs in examples/ with real clients and backends, and the library
//! in a program that is not Forebay's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

#[path = "plugin/probe.rs"]
mod probe;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::config::{self, Config};
use forebay::control::{Failure, Running};
use forebay::net::Address;
use forebay::plugin::{
    Cause, Connection, Decision, Guard, Observer, Options, Registry, SessionEvent, SessionFacts,
    SessionStart,
};
use forebay::{Builder, config::Choices};
use support::{Backend, Forebay, Peer, SOON, Start, eventually, refusing_address};

/// The program of examples/NAME.rs, built as it is now.
fn example(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", name]);
    cargo.args(["--message-format", "json"]).stderr(Stdio::inherit());
    if cfg!(feature = "schema") {
        // The features of this test, so that nothing is built twice.
        cargo.arg("--all-features");
    }
    let out = cargo.output().unwrap();
    assert!(out.status.success(), "cargo cannot build example {name}");
    let messages = String::from_utf8(out.stdout).unwrap();
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == name)
            .then(|| message["executable"].as_str())?
            .map(PathBuf::from)
    });
    executable.expect("cargo says where the example is")
}

/// A listener and a pool `app` with these backends, and more lines for both.
fn file(backends: &[&Backend], listener: &str, pool: &str) -> String {
    let backends: Vec<_> = backends.iter().map(|backend| backend.address().to_string()).collect();
    format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n{listener}\n\
         [pool.app]\nbackends = {backends:?}\n{pool}\n"
    )
}

fn naming_at(ip: &str, name: &'static str) -> Backend {
    Backend::at(format!("{ip}:0").parse().unwrap(), move |peer| {
        peer.send(format!("{name}\n").as_bytes());
        peer.expect_eof();
    })
}

fn served_by(forebay: &Forebay) -> String {
    Peer::connect(forebay.address("web")).line().unwrap()
}

/// `PROGRAM check -c FILE` for this text.
fn check(program: &Path, text: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f.toml"), text).unwrap();
    let mut command = Command::new(program);
    command.args(["check", "-c", "f.toml"]).current_dir(directory.path());
    command.output().unwrap()
}

#[test]
fn each_example_is_short() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        assert!(lines < 60, "{} has {lines} lines", file.display());
    }
    assert!(files.len() >= 3, "{files:?}");
}

#[test]
fn the_balancer_of_the_example_prefers_backends_nearby() {
    let (far, near) = (naming_at("127.0.0.1", "far"), naming_at("127.0.0.2", "near"));
    let balance = "balance = { nearby = { networks = [\"127.0.0.2/32\"] } }";
    let program = example("balancer");
    let forebay = Start::new(file(&[&far, &near], "", balance)).program(&program).start();
    for _ in 0..6 {
        assert_eq!(served_by(&forebay), "near");
    }
    drop(near);
    for _ in 0..6 {
        assert_eq!(served_by(&forebay), "far");
    }
}

#[test]
fn the_guard_of_the_example_sends_its_share_to_the_other_pool() {
    let (old, new) = (Backend::naming("old"), Backend::naming("new"));
    let guards = "guards = [{ canary = { percent = 30, pool = \"next\" } }]";
    let next = format!("[pool.next]\nbackends = [\"{}\"]", new.address());
    let program = example("guard");
    let forebay = Start::new(file(&[&old], guards, &next)).program(&program).start();
    let mut shares: HashMap<String, usize> = HashMap::new();
    for _ in 0..20 {
        *shares.entry(served_by(&forebay)).or_default() += 1;
    }
    assert_eq!(shares, HashMap::from([("old".to_owned(), 14), ("new".to_owned(), 6)]));
}

#[test]
fn what_is_wrong_with_an_examples_options_is_said_where_it_stands() {
    let program = example("guard");
    let text = |guard: &str| {
        format!(
            "[pool.app]\nbackends = [\"127.0.0.1:9\"]\n[listener.web]\naddress = \"127.0.0.1:0\"\n\
             guards = [{guard}]\npool = \"app\"\n"
        )
    };
    // The guard, the part of it that is pointed at, and what is said of that.
    for (guard, at, said) in [
        ("{ canary = { percent = 101, pool = \"app\" } }", "101", "`percent` is over 100"),
        ("{ canary = { percent = 1, pool = \"ap\" } }", "\"ap\"", "unknown pool `ap`"),
        ("{ canary = { per_cent = 1, pool = \"app\" } }", "per_cent", "did you mean `percent`?"),
        ("{ canary = { percent = 1 } }", "{ percent", "missing field `pool`"),
        ("\"canari\"", "\"canari", "known: `canary` or `source_route`"),
    ] {
        let column = "guards = [".len() + guard.find(at).unwrap() + 1;
        let place = format!("f.toml:5:{column}\n");
        let out = check(&program, &text(guard));
        let report = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(78), "{report}");
        assert!(report.contains(&place) && report.contains(said), "{report}");
    }
    let out = check(&program, &text("{ canary = { percent = 1, pool = \"app\" } }"));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

#[test]
fn the_observer_of_the_example_writes_a_line_for_each_session() {
    let backend = Backend::echo();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let program = example("observer");
    let start = Start::new(file(&[&backend], "", "")).program(&program).output(&log);
    let mut forebay = start.start();
    let mut client = Peer::connect(forebay.address("web"));
    client.send(b"ping");
    client.finish();
    client.expect_then_eof(b"ping");
    let lines = || std::fs::read_to_string(&log).unwrap();
    eventually(SOON, || lines().ends_with('\n'));
    let expected = format!(" {} web app {} up=4 down=4 ", client.local(), backend.address());
    assert!(lines().contains(&expected) && lines().ends_with(" finished/relay\n"), "{}", lines());
    // What ends because it stops is told, too, before the program ends.
    let mut held = Peer::connect(forebay.address("web"));
    held.send(b"x");
    held.expect(b"x");
    forebay.signal(rustix::process::Signal::TERM);
    forebay.signal(rustix::process::Signal::INT);
    forebay.wait_exit(SOON);
    assert!(lines().ends_with(" shutdown/relay\n"), "{}", lines());
}

/// Tells what it is told; panics at every session whose pool is called "panic".
struct Teller(Sender<SessionEvent>);

impl Observer for Teller {
    fn session_started(&mut self, start: &SessionStart) {
        assert_ne!(&*start.pool, "panic");
        let _ = self.0.send(SessionEvent::Started(start.clone()));
    }

    fn session_ended(&mut self, facts: &SessionFacts) {
        let _ = self.0.send(SessionEvent::Ended(facts.clone()));
    }
}

fn parse(text: &str) -> Config {
    config::parse(text, "f.toml", &|_| None).config.unwrap()
}

fn address(running: &Running) -> std::net::SocketAddr {
    match &running.bound()[0].address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{} is not TCP", path.display()),
    }
}

#[test]
fn observers_are_all_told_of_start_and_end_of_the_same_session() {
    let backend = Backend::echo();
    let (one, told_one) = channel();
    let (two, told_two) = channel();
    let builder = Builder::new().observer(Teller(one)).observer(Teller(two));
    let running = builder.start(parse(&file(&[&backend], "", ""))).unwrap();
    let mut client = Peer::connect(address(&running));
    client.send(b"12345");
    client.expect(b"12345");
    for told in [&told_one, &told_two] {
        let SessionEvent::Started(start) = told.recv_timeout(SOON).unwrap() else {
            panic!("an end before a start")
        };
        assert_eq!((&*start.listener, &*start.pool), ("web", "app"));
        assert_eq!(start.client.to_string(), client.local().to_string());
        assert!(told.try_recv().is_err(), "it has not ended");
    }
    client.finish();
    client.expect_eof();
    let mut second = Peer::connect(address(&running));
    second.finish();
    second.expect_eof();
    running.drain();
    running.wait().unwrap();
    for told in [&told_one, &told_two] {
        let events: Vec<SessionEvent> = told.iter().collect();
        let [SessionEvent::Ended(first), SessionEvent::Started(start), SessionEvent::Ended(end)] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((first.bytes_up, first.reason.cause), (5, Cause::Finished));
        assert_ne!(first.id, start.id);
        assert_eq!((start.id, end.bytes_up), (end.id, 0));
    }
}

#[test]
fn an_observer_that_panics_harms_neither_sessions_nor_the_next_observer() {
    let backend = Backend::echo();
    let text = file(&[&backend], "", "").replace("app", "panic");
    let (bad, told_bad) = channel();
    let count = Arc::new(AtomicUsize::new(0));
    let builder = Builder::new().observer(Teller(bad)).observer(Counting(Arc::clone(&count)));
    let running = builder.start(parse(&text)).unwrap();
    for _ in 0..3 {
        let mut client = Peer::connect(address(&running));
        client.finish();
        client.expect_eof();
    }
    eventually(SOON, || count.load(Ordering::SeqCst) == 3);
    running.drain();
    running.wait().unwrap();
    let told: Vec<SessionEvent> = told_bad.iter().collect();
    assert!(
        told.len() == 3 && told.iter().all(|e| matches!(e, SessionEvent::Ended(_))),
        "{told:?}"
    );
}

/// Counts starts.
struct Counting(Arc<AtomicUsize>);

impl Observer for Counting {
    fn session_started(&mut self, _: &SessionStart) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Needs a while for each end.
struct Slow(Arc<AtomicUsize>);

impl Observer for Slow {
    fn session_ended(&mut self, _: &SessionFacts) {
        support::pause(Duration::from_millis(200));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn observers_hear_the_rest_before_the_proxy_has_ended() {
    let backend = Backend::echo();
    let heard = Arc::new(AtomicUsize::new(0));
    let builder = Builder::new().observer(Slow(Arc::clone(&heard)));
    let running = builder.start(parse(&file(&[&backend], "", ""))).unwrap();
    let mut client = Peer::connect(address(&running));
    client.send(b"x");
    client.expect(b"x");
    running.drain();
    running.drain();
    running.wait().unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 1);
}

/// Keeps what it was asked.
struct Curious(Arc<Mutex<Vec<String>>>);

impl Guard for Curious {
    fn decide(&self, connection: &Connection<'_>) -> Decision<'_> {
        let Connection { listener, client, local, .. } = connection;
        self.0.lock().unwrap().push(format!("{listener} {client} {local:?}"));
        Decision::Allow
    }
}

#[test]
fn a_guard_is_asked_once_for_each_session_with_what_is_known_of_it() {
    // The first backend refuses, so that there are two attempts to connect.
    let (refusing, _refusing) = refusing_address();
    let backend = Backend::echo();
    let text = file(&[&backend], "guards = ['curious']", "balance = 'first'")
        .replace("backends = [", &format!("backends = [\"{refusing}\", "));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let builder = Builder::new().guard("curious", move |_| Ok(Curious(Arc::clone(&kept))));
    let running = builder.start(parse(&text)).unwrap();
    let web = address(&running);
    let expected: Vec<String> = (0..3)
        .map(|_| {
            let mut client = Peer::connect(web);
            client.send(b"x");
            client.expect(b"x");
            format!("web {} {:?}", client.local(), Some(web))
        })
        .collect();
    assert_eq!(*asked.lock().unwrap(), expected);
    running.drain();
    running.wait().unwrap();
}

#[test]
fn a_configuration_that_plug_ins_find_wrong_is_not_started() {
    let backend = Backend::echo();
    let config =
        parse(&file(&[&backend], "guards = ['nobody']", "balance = { first = { x = 1 } }"));
    let choices = Choices::of(&config);
    assert_eq!(Registry::with_builtins().check(&choices).len(), 2);
    let failure = Builder::new().start(config).map(|_| ()).unwrap_err();
    assert!(matches!(&failure, Failure::Plugin(problems) if problems.len() == 2), "{failure}");
    let said = failure.to_string();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("f.toml:7:23: unknown field `x`"), "{said}");
    assert!(lines[1].starts_with("f.toml:4:11: unknown guard `nobody`"), "{said}");
}

#[test]
fn an_address_in_use_fails_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = Backend::echo();
    let address = taken.local_addr().unwrap().to_string();
    let text = file(&[&backend], "", "").replacen("127.0.0.1:0", &address, 1);
    let failure = Builder::new().start(parse(&text)).map(|_| ()).unwrap_err();
    assert!(failure.to_string().contains(&address), "{failure}");
}

/// The options of a plug-in are its own type, which is factory enough.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    sources: Vec<std::net::IpAddr>,
}

impl Guard for Closed {
    fn decide(&self, connection: &Connection<'_>) -> Decision<'_> {
        match connection.client.ip() {
            Some(ip) if self.sources.contains(&ip) => Decision::Deny,
            _ => Decision::Allow,
        }
    }
}

#[test]
fn a_denied_client_is_reset_and_others_are_served() {
    let backend = Backend::naming("in");
    let guards = "guards = [{ closed = { sources = ['127.0.0.66'] } }]";
    let builder = Builder::new().guard("closed", Options::read::<Closed>);
    let running = builder.start(parse(&file(&[&backend], guards, ""))).unwrap();
    for _ in 0..3 {
        Peer::expect_rejection_from([127, 0, 0, 66].into(), address(&running));
        let mut client = Peer::connect_from([127, 0, 0, 65].into(), address(&running));
        assert_eq!(client.line().unwrap(), "in");
    }
    assert_eq!(backend.accepted(), 3);
    running.drain();
    running.drain();
    running.wait().unwrap();
}
