//! What fails around the program: descriptors, backends, names, addresses, files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{
    Backend, Child, Exit, Forebay, Peer, SOON, Start, eventually, left_out, obtain, pause,
    root_or_left_out,
};

/// Started again by `Child`, this test is a backend in a process of its own.
#[test]
fn backend_process() {
    support::serve_if_asked();
}

#[test]
fn without_descriptors_sessions_go_on_and_accepting_resumes_by_itself() {
    if left_out(&["prlimit"]) {
        return;
    }
    // The middle one of three: a busy machine may delay a single one.
    let mut times = [(); 3].map(|()| run_out_of_descriptors());
    times.sort();
    assert!(times[1] <= Duration::from_millis(150), "accepting resumed after {times:?}");
}

/// Takes the descriptors away from a process with sessions; how long after some are free again it
/// serves a client that was waiting all the time.
fn run_out_of_descriptors() -> Duration {
    let backend = Backend::echo();
    let config = Forebay::simple(&[backend.address()], "");
    let forebay = Forebay::start(&format!("[runtime]\nworkers = 2\n{config}"));
    let address = forebay.address("web");
    let mut old: Vec<Peer> = (0..20).map(|_| Peer::connect(address)).collect();
    old.iter_mut().for_each(say);
    let limit = forebay.descriptors() + 4;
    let status = Command::new(support::found("prlimit").unwrap())
        .args(["--pid", &forebay.id().to_string(), &format!("--nofile={limit}:{limit}")])
        .status();
    assert!(status.unwrap().success());
    let mut new: Vec<Peer> = (0..60).map(|_| Peer::connect(address)).collect();
    new.iter_mut().for_each(|client| client.send(b"hello"));
    pause(Duration::from_millis(300));

    let (cpu, lines) = (forebay.cpu(), forebay.lines());
    pause(Duration::from_secs(2));
    let (cpu, lines) = (forebay.cpu() - cpu, forebay.lines() - lines);
    assert!(cpu < Duration::from_millis(100), "{cpu:?} of 2 s while it is full");
    assert!(lines <= 3, "{lines} lines in 2 s:\n{}", forebay.said());
    old.iter_mut().for_each(say);

    let mut waiting: Vec<Peer> = new.into_iter().filter(is_waiting).collect();
    assert!(waiting.len() > 20, "only {} of 60 clients still wait", waiting.len());
    let began = Instant::now();
    drop(old);
    let served =
        obtain(SOON, || waiting.iter().position(|client| support::unread(client.stream()) > 0));
    let time = began.elapsed();
    waiting.swap_remove(served).expect(b"hello");
    time
}

/// True exactly when the client has neither been served nor told that it will not be.
fn is_waiting(client: &Peer) -> bool {
    use std::io::ErrorKind::WouldBlock;
    client.stream().set_nonblocking(true).unwrap();
    let peeked = client.stream().peek(&mut [0]);
    client.stream().set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == WouldBlock)
}

#[track_caller]
fn say(client: &mut Peer) {
    client.send(b"hello");
    client.expect(b"hello");
}

#[test]
fn no_client_sees_the_death_of_one_of_three_backends() {
    let mut backends: Vec<Child> = (0..3).map(|_| Child::start("backend_process")).collect();
    let addresses: Vec<SocketAddr> = backends.iter().map(Child::address).collect();
    let forebay = Start::new(Forebay::simple(&addresses, "")).sessions().start();
    let address = forebay.address("web");
    let (stop, failed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let served = std::thread::scope(|scope| {
        let load: Vec<_> = (0..4).map(|_| scope.spawn(|| load(address, &stop, &failed))).collect();
        pause(Duration::from_secs(1));
        backends.remove(0).kill();
        pause(Duration::from_secs(1));
        stop.store(true, Ordering::SeqCst);
        load.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    // Sessions that the dead backend's kernel had accepted: at most one of each thread.
    let failed = failed.into_inner().unwrap();
    assert!(served > 200 && failed.len() <= 4, "{served} served, failed: {failed:?}");
    let reasons: Vec<String> =
        forebay.sessions().into_iter().map(|session| session.reason).collect();
    assert!(!reasons.iter().any(|reason| reason.starts_with("connect")), "{reasons:?}");
}

/// Sessions one after the other; how many were served, and how the others failed.
fn load(address: SocketAddr, stop: &AtomicBool, failed: &Mutex<Vec<String>>) -> usize {
    let mut served = 0;
    while !stop.load(Ordering::SeqCst) {
        match Peer::try_connect(address) {
            Ok(mut client) => match client.ask(b"hello") {
                Ok(()) => served += 1,
                Err(end) => failed.lock().unwrap().push(format!("{end:?}")),
            },
            Err(error) => failed.lock().unwrap().push(format!("not connected: {error}")),
        }
    }
    served
}

#[test]
fn an_unresolvable_backend_is_out_and_the_others_serve() {
    let backend = Backend::naming("up");
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"nowhere.invalid:80\", \"{}\"]\n",
        backend.address()
    );
    let forebay = Forebay::start(&config);
    eventually(SOON, || forebay.said().contains("nowhere.invalid"));
    for _ in 0..5 {
        assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "up");
    }
}

#[test]
fn only_unresolvable_backends_start_too_and_clients_are_reset() {
    let forebay = Forebay::start(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"nowhere.invalid:80\"]\n",
    );
    Peer::expect_rejection(forebay.address("web"));
}

#[test]
fn a_log_that_nobody_reads_stops_no_session() {
    let backend = Backend::echo();
    let config = Forebay::simple(&[backend.address()], "");
    let forebay = Start::new(config).sessions().unread_log().start();
    let address = forebay.address("web");
    let mut old = Peer::connect(address);
    // A pipe holds 64 KiB; these lines are ten times that.
    for _ in 0..2000 {
        let mut client = Peer::connect(address);
        say(&mut client);
        client.reset();
    }
    say(&mut old);
}

/// A configuration that listens on these addresses.
fn listening(addresses: &[String]) -> String {
    let mut config = "[pool.app]\nbackends = [\"127.0.0.1:9\"]\n".to_owned();
    for (number, address) in addresses.iter().enumerate() {
        config += &format!("[listener.l{number}]\naddress = \"{address}\"\npool = \"app\"\n");
    }
    config
}

#[test]
fn every_address_in_use_is_named_with_its_cause() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = Forebay::start(&listening(&["127.0.0.1:0".to_owned()]));
    let taken = [other.local_addr().unwrap().to_string(), first.address("l0").to_string()];
    let (exit, said) = Start::new(listening(&taken)).fail();
    assert_eq!(exit, Exit::Code(1), "{said}");
    for address in taken {
        assert!(said.contains(&address), "{address} is not in:\n{said}");
    }
    assert!(
        said.to_lowercase().contains("address already in use") || said.contains("in use"),
        "{said}"
    );
}

#[test]
fn an_address_that_is_not_permitted_is_named_with_its_cause() {
    if root_or_left_out() || left_out(&["setpriv"]) {
        return;
    }
    let (exit, said) = Start::new(listening(&["127.0.0.1:1".to_owned()]))
        .under(&["setpriv", "--bounding-set", "-net_bind_service", "--"])
        .fail();
    assert_eq!(exit, Exit::Code(1), "{said}");
    assert!(
        said.contains("127.0.0.1:1") && said.to_lowercase().contains("permission denied"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_no_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = listening(&["127.0.0.1:0".to_owned()]);
    let huge = directory.path().join("huge.toml");
    std::fs::File::create(&huge).unwrap().set_len((16 << 20) + 1).unwrap();
    let bad = [
        directory.path().join("missing.toml"),
        directory.path().to_owned(),
        file("empty.toml", b""),
        file("bytes.toml", b"[listener.web]\naddress = \"\xff\xfe\"\n"),
        file("half.toml", &whole.as_bytes()[..whole.len() - 9]),
        huge,
    ];
    for path in bad {
        for command in ["run", "check"] {
            expect_refused(command, &path);
        }
    }
}

#[track_caller]
fn expect_refused(command: &str, path: &Path) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_forebay"));
    let child = Command::new(program)
        .args([command, "-c"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = support::output_within(SOON, child);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(78), "{command} {path:?}: {said}");
    assert!(said.contains(path.to_str().unwrap()), "{command} does not name {path:?}: {said}");
}
