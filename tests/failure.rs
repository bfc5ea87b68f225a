//! What fails around the program: descriptors, backends, names, addresses, files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use support::{
    Backend, Exit, Forebay, Peer, SOON, Start, eventually, left_out, refusing_address,
    root_or_left_out,
};

#[test]
fn an_unresolvable_backend_is_out_and_the_others_serve() {
    let backend = Backend::naming("up");
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"nowhere.invalid:80\", \"{}\"]\n",
        backend.address()
    );
    let forebay = Forebay::start(&config);
    forebay.expect_said("nowhere.invalid");
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
fn that_the_only_backend_refuses_is_said_unasked_and_not_of_every_client() {
    const CLIENTS: usize = 300;
    let (dead, _held) = refusing_address();
    let forebay = Forebay::start(&Forebay::simple(&[dead], ""));
    let begun = Instant::now();
    (0..CLIENTS).for_each(|_| Peer::expect_rejection(forebay.address("web")));
    let complaint = |line: &&str| line.contains("no backend took a client");
    forebay.expect_said("no backend took a client");
    let said = forebay.said();
    let lines: Vec<&str> = said.lines().filter(complaint).collect();
    let parts = ["WARN", "pool=\"app\"", "attempts=1", "failure=connection refused"];
    for part in parts {
        assert!(lines[0].contains(part), "{part}: {lines:?}");
    }
    let most = 1 + begun.elapsed().as_secs();
    assert!(lines.len() as u64 <= most, "{} of {CLIENTS} in {most} s", lines.len());
}

/// Replaces what names hosts, in a mount namespace of its own, and becomes the program.
const WITH_HOSTS: &str = "mount --bind \"$1\" /etc/hosts && \
     mount --bind \"$2\" /etc/nsswitch.conf && shift 2 && exec \"$@\"";

#[test]
fn a_backend_whose_name_is_unknown_at_start_comes_into_use_once_it_is_known() {
    if root_or_left_out() || left_out(&["unshare", "mount"]) {
        return;
    }
    let (known, late) = (Backend::naming("known"), Backend::naming("late"));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let hosts = file("hosts", "127.0.0.1 localhost\n");
    let switch = file("nsswitch.conf", "hosts: files\n");
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"late.example:{}\", \"{}\"]\nresolve_interval = \"1s\"\n",
        late.address().port(),
        known.address()
    );
    let under = ["unshare", "--mount", "sh", "-c", WITH_HOSTS, "sh", &hosts, &switch];
    let forebay = Start::new(config).under(&under).start();
    let serving = || Peer::connect(forebay.address("web")).line().unwrap();
    let warned = |line: &str| line.contains("WARN") && line.contains("late.example");
    eventually(SOON, || forebay.said().lines().any(warned));
    for _ in 0..10 {
        assert_eq!(serving(), "known");
    }
    // The same file, so that it is this one that is seen where it is mounted.
    std::fs::write(&hosts, "127.0.0.1 localhost late.example\n").unwrap();
    eventually(SOON, || serving() == "late");
    let of_late = (0..10).filter(|_| serving() == "late").count();
    assert_eq!(of_late, 5, "each has its turn");
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
    let others = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
    let first = Forebay::start(&listening(&["127.0.0.1:0", "[::1]:0"].map(str::to_owned)));
    let mut taken = others.each_ref().map(|other| other.local_addr().unwrap().to_string()).to_vec();
    taken.extend(["l0", "l1"].map(|listener| first.address(listener).to_string()));
    let (exit, said) = Start::new(listening(&taken)).fail();
    assert_eq!(exit, Exit::Code(1), "{said}");
    for address in taken {
        let cause = format!("cannot listen on {address}: address in use");
        assert_eq!(said.matches(&cause).count(), 1, "{cause}; it said:\n{said}");
    }
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
