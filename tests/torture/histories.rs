//! docs/histories.md: what went wrong elsewhere, and what is tested elsewhere, has a test here that is there; and
//! the tests of what has none beside it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::support::{
    Backend, Exit, Forebay, Netns, Peer, Start, left_out, refusing_address, root_or_left_out,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn each_history_names_tests_that_are_there() {
    let document = std::fs::read_to_string(Path::new(ROOT).join("docs/histories.md")).unwrap();
    let mut functions = BTreeSet::new();
    ["src", "tests"].into_iter().for_each(|it| find(&Path::new(ROOT).join(it), &mut functions));
    let is_head = |line: &&str| [" test |", " here |"].iter().any(|it| line.ends_with(it));
    let is_row = |line: &&str| line.starts_with("| ") && !is_head(line);
    let rows: Vec<&str> = document.lines().filter(is_row).collect();
    assert!(rows.len() >= 70, "only {} histories and scenarios", rows.len());
    for row in rows {
        let tests = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2);
        let names: Vec<&str> = tests.filter(|it| it.contains('_') && !it.contains(' ')).collect();
        let missing = names.iter().find(|it| !functions.contains(**it));
        assert_eq!(missing, None, "{row}");
        let why = ["`cargo deny`", "| not built: ", "| not tested: "];
        assert!(!names.is_empty() || why.iter().any(|it| row.contains(it)), "no test: {row}");
    }
}

/// The names of all functions below this directory.
fn find(directory: &Path, functions: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, functions);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let name =
                |line: &str| Some(line.trim().strip_prefix("fn ")?.split_once('(')?.0.to_owned());
            functions.extend(text.lines().filter_map(name));
        }
    }
}

/// A network whose kernel has been told to do without IPv6.
fn without_ipv6() -> Netns {
    let netns = Netns::new();
    for which in ["all", "default", "lo"] {
        netns.run(&["sysctl", "-q", "-w", &format!("net.ipv6.conf.{which}.disable_ipv6=1")]);
    }
    netns
}

#[test]
fn without_ipv6_it_starts_and_moves_on_to_who_can_be_reached() {
    if root_or_left_out() || left_out(&["ip", "sysctl"]) {
        return;
    }
    let netns = without_ipv6();
    let backend = netns.enter(Backend::echo);
    let (gone, _held) = netns.enter(refusing_address);
    let unreachable = SocketAddr::new("::1".parse().unwrap(), gone.port());
    let config = Forebay::simple(&[unreachable, backend.address()], "eject = false\n");
    let forebay = Start::new(config).sessions().under(&netns.prefix()).start();
    netns.enter(|| {
        for _ in 0..6 {
            let mut client = Peer::connect(forebay.address("web"));
            assert_eq!(client.ask(b"hello"), Ok(()));
            client.reset();
        }
    });
    crate::support::eventually(crate::support::SOON, || forebay.sessions().len() == 6);
    // Each worker begins with the first, so somebody met it.
    assert!(forebay.sessions().iter().any(|session| session.attempts == 2));
}

#[test]
fn without_ipv6_an_address_of_it_is_named_with_its_cause() {
    if root_or_left_out() || left_out(&["ip", "sysctl"]) {
        return;
    }
    let netns = without_ipv6();
    let (gone, _held) = netns.enter(refusing_address);
    let config = Forebay::simple(&[gone], "").replace("127.0.0.1:0", "[::1]:0");
    let (exit, said) = Start::new(config).under(&netns.prefix()).fail();
    assert_eq!(exit, Exit::Code(1), "{said}");
    assert!(said.contains("cannot listen on [::1]:0"), "{said}");
}
