//! `demo`: what it shows, that it ends, and that nobody notices a stopped backend.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::program::*;

#[test]
fn demo_drives_itself_and_nobody_notices_a_stopped_backend() {
    let out = bare("demo --drive").stdin(Stdio::null()).output().unwrap();
    let shown = text(&out.stdout);
    assert_eq!(code(&out), 0, "{shown}\n{}", text(&out.stderr));
    assert!(shown.contains("curl http://127.0.0.1:") && shown.contains("nc 127.0.0.1 "), "{shown}");
    for name in ["backend-1", "backend-2", "backend-3"] {
        assert!(shown.contains(&format!("→ {name}")), "{name} served nobody:\n{shown}");
    }
    assert!(shown.contains("30 times asked, 30 times answered"), "{shown}");
    assert!(!shown.contains('\x1b'), "no terminal, no drawing");
}

#[test]
fn demo_ends_after_its_time() {
    let start = Instant::now();
    let out = bare("demo --for 300ms").stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&out), 0, "{out:?}");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < PATIENCE);
    assert!(text(&out.stdout).contains("Sessions served: backend-1 0, backend-2 0, backend-3 0"));
}

#[test]
fn demo_that_cannot_finish_its_script_in_time_fails() {
    let out = bare("demo --drive --for 200ms").stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&out), 1, "{out:?}");
}

#[test]
fn demo_serves_clients_while_its_keys_stop_backends() {
    let mut run = Running::start("demo");
    let address = run.line_with("forebay  ").split_whitespace().nth(1).unwrap().to_owned();
    run.say("1\n2\n");
    run.line_with("backend-1 refuses");
    run.line_with("backend-2 refuses");
    for _ in 0..4 {
        assert!(get(&address).ends_with("served by backend-3\n"));
    }
    run.line_with("backend-3");
    run.say("1\n");
    run.line_with("backend-1 serves again");
    run.signal("INT");
    let (code, rest) = run.end();
    assert_eq!(code, 0, "Ctrl-C is a good end");
    assert!(rest.contains("backend-3 4"), "{rest}");
}
