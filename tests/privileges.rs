//! Without any right, on a root that cannot be written: it starts, serves, reloads and drains.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

use std::path::PathBuf;

use rustix::process::Signal;
use support::{Backend, Exit, Forebay, Peer, SOON, Start, eventually, left_out, root_or_left_out};

/// Runs the program `$1` in a mount namespace in which nothing but its directory can be written, as
/// a user without a name and without capabilities. Where the program lies that user may not look.
/// Nothing here asks for no_new_privs: that is left to the program.
const CONFINED: &str = r#"
    set -e
    chown 65534:65534 .
    touch program
    mount --bind . "$PWD"
    cd "$PWD"
    mount --bind "$1" program
    mount -o remount,bind,ro /
    shift
    exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all \
        ./program "$@"
"#;

const UNDER: [&str; 7] =
    ["unshare", "--mount", "--propagation=private", "sh", "-c", CONFINED, "confined"];

/// What /proc says of a thread (proc_pid_status(5)).
struct Facts(String);

impl Facts {
    fn of_each_thread(forebay: &Forebay) -> Vec<Self> {
        let file = |(thread, _)| format!("/proc/{}/task/{thread}/status", forebay.id());
        let threads = forebay.threads().into_iter().map(file);
        threads.map(|file| Self(std::fs::read_to_string(file).unwrap())).collect()
    }

    #[track_caller]
    fn expect(&self, name: &str, value: &str) {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        assert!(!words.is_empty() && words.iter().all(|word| *word == value), "{name}: {words:?}");
    }
}

/// A file whose changes are noticed by SIGHUP alone, so that one reload is one.
fn before(backend: &Backend) -> String {
    format!("[reload]\nwatch = \"off\"\n{}", Forebay::simple(&[backend.address()], ""))
}

#[track_caller]
fn expect_read_only_root(forebay: &Forebay) {
    let file = PathBuf::from(format!("/proc/{}/mountinfo", forebay.id()));
    let mounts = std::fs::read_to_string(file).unwrap();
    // proc_pid_mountinfo(5): the fifth field is where, the sixth how.
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root: Vec<_> = mounts.filter(|fields| fields[4] == "/").collect();
    let options = root.last().expect("a root")[5];
    assert!(options.split(',').any(|option| option == "ro"), "{options}");
}

#[test]
fn without_rights_on_a_root_that_cannot_be_written_it_serves_reloads_and_drains() {
    if root_or_left_out() || left_out(&["unshare", "setpriv", "mount"]) {
        return;
    }
    let backend = Backend::echo();
    let config = before(&backend);
    let mut forebay = Start::new(&*config).under(&UNDER).start();
    let facts = Facts::of_each_thread(&forebay);
    assert!(facts.len() > 2, "{} threads: the first, control, a worker, the log", facts.len());
    for facts in facts {
        facts.expect("Uid", "65534");
        facts.expect("Gid", "65534");
        facts.expect("NoNewPrivs", "1");
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            facts.expect(capabilities, "0000000000000000");
        }
    }
    expect_read_only_root(&forebay);

    let mut held = Peer::connect(forebay.address("web"));
    held.ask(b"hello").expect("served");
    let second = "[listener.second]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n";
    let status = forebay.reload(&format!("{second}{config}")).expect_applied();
    let added = status.address("second").expect("it listens");
    Peer::connect(added).ask(b"hello").expect("served at the new address");
    held.ask(b"hello").expect("served all through the reload");

    forebay.signal(Signal::TERM);
    eventually(SOON, || std::net::TcpStream::connect(added).is_err());
    held.ask(b"hello").expect("served while it drains");
    held.finish();
    held.expect_eof();
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
    assert!(!forebay.said().contains("ERROR"), "{}", forebay.said());
}

#[test]
fn whoever_starts_it_it_renounces_new_privileges() {
    let backend = Backend::echo();
    let forebay = Forebay::before(&[backend.address()]);
    Facts::of_each_thread(&forebay).iter().for_each(|facts| facts.expect("NoNewPrivs", "1"));
}

#[test]
fn in_the_sandbox_it_serves_and_reloads_and_reads_nothing_else() {
    let (backend, elsewhere) = (Backend::echo(), tempfile::tempdir().unwrap());
    let secret = elsewhere.path().join("secret.toml");
    std::fs::write(&secret, "[listener.more]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n")
        .unwrap();
    let config = before(&backend);
    let mut forebay = Start::new(&*config).argument("--sandbox").start();
    Peer::connect(forebay.address("web")).ask(b"hello").expect("served");

    let second = "[listener.second]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n";
    let status = forebay.reload(&format!("{second}{config}")).expect_applied();
    let added = status.address("second").expect("it listens");
    Peer::connect(added).ask(b"hello").expect("served at the new address");

    let outside = format!("include = [{:?}]\n{config}", secret.to_str().unwrap());
    forebay.reload(&outside).expect_refused("secret.toml");
    forebay.expect_said("permission denied");
    let status = forebay.reload(&config).expect_applied();
    assert_eq!(status.address("more"), None);

    forebay.signal(Signal::TERM);
    assert_eq!(forebay.wait_exit(SOON), Exit::Code(0));
    // Outside of it the same file is good.
    let free = Start::new(outside).start();
    Peer::connect(free.address("more")).ask(b"hello").expect("served");
}
