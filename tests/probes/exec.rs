//! `exec`: what a program is told, what it says, and that nothing of it is left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::support::{Backend, Process, eventually, obtain};

/// A shell script in a directory.
fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn kind(program: &Path) -> String {
    format!("{{ exec = {{ program = {program:?}, arguments = [\"a b\", \"*\"] }} }}")
}

#[test]
fn a_program_is_told_the_address_and_its_status_decides() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (Backend::naming("one"), Backend::naming("two"));
    let text = format!(
        "[ \"$1|$2|$#\" = 'a b|*|2' ] || {{ echo arguments; exit 2; }}\n\
         [ \"$FOREBAY_HOST:$FOREBAY_PORT\" = \"$FOREBAY_ADDRESS\" ] || {{ echo host; exit 2; }}\n\
         [ -z \"$(cat)\" ] || {{ echo input; exit 2; }}\n\
         [ \"$FOREBAY_ADDRESS\" = {} ] && exit 0\n\
         echo >&2; printf 'not \\033[1mit\\nmore' >&2; exit 7",
        one.address()
    );
    let program = script(directory.path(), "probe", &text);
    let forebay = probing(&[one.address(), two.address()], &kind(&program));
    expect_healthy(&forebay, one.address());
    expect_unhealthy(&forebay, two.address(), "exit status 7: not \\u{1b}[1mit");
    for _ in 0..4 {
        let mut client = support::Peer::connect(forebay.address("web"));
        assert_eq!(client.line().as_deref(), Some("one"));
    }
    let killing = script(directory.path(), "other", "kill -9 $$");
    let forebay = probing(&[one.address()], &kind(&killing));
    expect_unhealthy(&forebay, one.address(), "killed by signal 9");
}

#[test]
fn a_program_that_goes_away_cannot_be_started() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    // No script: its interpreter may have been started when the script goes away.
    let program = directory.path().join("probe");
    std::fs::copy("/bin/true", &program).unwrap();
    let list = format!("{{ exec = {{ program = {program:?} }} }}");
    let forebay = probing(&[backend.address()], &list);
    expect_healthy(&forebay, backend.address());
    std::fs::remove_file(&program).unwrap();
    let gone = format!("cannot start {}: no such file or directory", program.display());
    expect_unhealthy(&forebay, backend.address(), &gone);
}

#[test]
fn a_reload_while_the_program_is_gone_does_not_end_its_probes() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    let program = directory.path().join("probe");
    std::fs::copy("/bin/true", &program).unwrap();
    let file = |more: &str| {
        let probe = format!(
            "probe = {{ kind = {{ exec = {{ program = {program:?} }} }}, interval = \"50ms\", \
             rise = 1, fall = 1 }}\n{more}"
        );
        format!("[reload]\nwatch = \"off\"\n{}", Forebay::simple(&[backend.address()], &probe))
    };
    let forebay = Start::new(file("")).sessions().start();
    expect_healthy(&forebay, backend.address());
    std::fs::remove_file(&program).unwrap();
    eventually(SOON, || matches!(verdict(&forebay, backend.address()), Some(Err(_))));
    let refused = forebay.reload(&file("balance = \"first\""));
    refused.expect_refused(&program.display().to_string());
    support::Peer::expect_rejection(forebay.address("web"));
    std::fs::copy("/bin/true", &program).unwrap();
    expect_healthy(&forebay, backend.address());
}

#[test]
fn a_program_is_found_in_path() {
    let backend = Backend::echo();
    let list = "{ exec = { program = \"ls\", arguments = [\"/nowhere\"] } }";
    let forebay = probing(&[backend.address()], list);
    let said = "ls: cannot access '/nowhere': No such file or directory";
    let found = || verdict(&forebay, backend.address());
    let right = || matches!(found(), Some(Err(reason)) if reason.ends_with(said));
    assert!(comes_true(SOON, right), "{:?}", found());
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    let notes = directory.path().join("pids");
    let text = format!(
        "sleep 1000 & sh -c 'sleep 1000; true' & echo $$ $! >> {}; echo waiting; wait",
        notes.display()
    );
    let program = script(directory.path(), "probe", &text);
    let forebay = probing_for(&[backend.address()], &kind(&program), "300ms");
    expect_unhealthy(&forebay, backend.address(), "timed out after 300ms at its exit: waiting");
    let pids = || -> Vec<u32> {
        let notes = std::fs::read_to_string(&notes).unwrap_or_default();
        notes.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let first = obtain(SOON, || pids().first_chunk::<2>().copied());
    let gone = |id: u32| !Path::new(&format!("/proc/{id}")).exists();
    eventually(SOON, || first.into_iter().all(gone));
    // What is under way when nobody probes any more is killed as well.
    eventually(SOON, || pids().len() >= 6);
    std::fs::write(forebay.config(), Forebay::simple(&[backend.address()], "")).unwrap();
    forebay.signal(rustix::process::Signal::HUP);
    forebay.expect_said("reloaded");
    eventually(SOON, || pids().into_iter().all(gone));
    assert_eq!(forebay.pipes(), before_pipes(&forebay));
}

/// Pipes that a Forebay without probes has.
fn before_pipes(forebay: &Process) -> usize {
    let backend = Backend::echo();
    let plain = Forebay::before(&[backend.address()]);
    let expected = plain.pipes();
    eventually(SOON, || forebay.pipes() <= expected);
    expected
}

#[test]
fn a_program_gets_no_descriptor_but_its_three_and_endless_output_is_not_held() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    // The directory that the shell lists is closed when it looks again.
    let text = "for fd in /proc/$$/fd/*; do [ -h $fd ] && printf '%s ' ${fd##*/}; done; exit 1";
    let list = script(directory.path(), "list", text);
    // What this test was given itself and passes on is not Forebay's.
    let given = std::process::Command::new(&list).stdin(std::process::Stdio::null()).output();
    let given = String::from_utf8(given.unwrap().stdout).unwrap();
    let forebay = probing(&[backend.address()], &kind(&list));
    expect_unhealthy(&forebay, backend.address(), &format!("exit status 1: {}", given.trim()));
    let blasting = script(directory.path(), "blast", "exec cat /dev/zero");
    let forebay = probing_for(&[backend.address()], &kind(&blasting), "500ms");
    let before = forebay.resident();
    let reason = format!("timed out after 500ms at its exit: {}…", "\\0".repeat(80));
    expect_unhealthy(&forebay, backend.address(), &reason);
    let grown = forebay.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn what_a_program_leaves_behind_holds_up_no_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    // The child holds the output open until the test is over.
    let done = directory.path().join("done");
    let text =
        format!("(while [ ! -e {} ]; do sleep 0.1; done) & echo ended; exit 1", done.display());
    let program = script(directory.path(), "probe", &text);
    let forebay = probing_for(&[backend.address()], &kind(&program), "5s");
    expect_unhealthy(&forebay, backend.address(), "exit status 1: ended");
    drop(forebay);
    std::fs::write(done, "").unwrap();
}

#[test]
fn in_the_sandbox_no_program_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    let program = script(directory.path(), "probe", "exit 0");
    let probe = format!("probe = {{ kind = {}, interval = \"50ms\" }}", kind(&program));
    let start = Start::new(Forebay::simple(&[backend.address()], &probe)).sessions();
    let forebay = start.argument("--sandbox").start();
    let reason = format!("cannot start {}: permission denied", program.display());
    expect_unhealthy(&forebay, backend.address(), &reason);
}
