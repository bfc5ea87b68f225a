//! `run` and `proxy`: the ready file, the log, and how they end.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::program::*;

#[test]
fn ready_file_holds_real_addresses_and_sigterm_is_a_good_end() {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    std::fs::write(&ready, "web 127.0.0.1:1\n").unwrap();
    let file = File::new(SMALLEST);
    for line in [format!("-c {file}"), format!("run -c {file}")] {
        let mut run = Running::start(&format!("{line} --ready-file {}", ready.display()));
        let text = run.ready(&ready);
        let (name, address) = text.trim_end().split_once(' ').unwrap();
        assert_eq!(name, "web");
        TcpStream::connect(address).unwrap();
        run.signal("TERM");
        assert_eq!(run.end().0, 0);
        std::fs::remove_file(&ready).unwrap();
    }
}

#[test]
fn proxy_needs_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let backend = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = backend.local_addr().unwrap();
    let mut run = Running::start(&format!(
        "proxy --listen 127.0.0.1:0 --to {to} --ready-file {}",
        ready.display()
    ));
    let text = run.ready(&ready);
    let mut client = TcpStream::connect(text.trim_end().split_once(' ').unwrap().1).unwrap();
    client.write_all(b"ping").unwrap();
    let (mut upstream, _) = backend.accept().unwrap();
    let mut got = [0; 4];
    upstream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
    drop((client, upstream));
    run.signal("INT");
    assert_eq!(run.end().0, 0);
}

#[test]
fn proxy_balances_over_all_its_backends() {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let backends = [b"a", b"b"].map(|name| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for mut stream in listener.incoming().flatten() {
                stream.write_all(name).unwrap();
                held.push(stream);
            }
        });
        address
    });
    let mut run = Running::start(&format!(
        "proxy --listen 127.0.0.1:0 --to {} --to {} --ready-file {}",
        backends[0],
        backends[1],
        ready.display()
    ));
    let text = run.ready(&ready);
    let address = text.trim_end().split_once(' ').unwrap().1;
    let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut by = Vec::new();
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut name = [0];
        client.read_exact(&mut name).unwrap();
        by.extend(name);
    }
    assert_eq!(by.iter().filter(|&&name| name == b'a').count(), 5, "{by:?}");
}

#[test]
fn address_in_use_is_1_and_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = File::new(&SMALLEST.replace("127.0.0.1:0", &address));
    let out = forebay(&format!("run -c {file}"));
    assert_eq!(code(&out), 1, "{out:?}");
    let log = text(&out.stderr);
    assert!(log.contains(&address) && log.to_lowercase().contains("in use"), "{log}");
}

#[test]
fn unwritable_ready_file_is_1_and_named() {
    let file = File::new(SMALLEST);
    let out = forebay(&format!("run -c {file} --ready-file /nowhere/ready"));
    assert_eq!(code(&out), 1, "{out:?}");
    assert!(text(&out.stderr).contains("/nowhere/ready"));
}

#[test]
fn log_is_json_on_request() {
    let out = forebay("run -c /nowhere/f.toml --log-format json");
    assert_eq!(code(&out), 78);
    let log = text(&out.stderr);
    assert!(log.lines().count() > 0);
    for line in log.lines() {
        let line = json(line.as_bytes());
        assert_eq!(line["level"], "ERROR");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    let out = bare("run -c /nowhere/f.toml").env("FOREBAY_LOG_FORMAT", "json").output().unwrap();
    assert!(json(text(&out.stderr).lines().next().unwrap().as_bytes()).is_object());
}

#[test]
fn variables_set_to_nothing_count_as_not_set() {
    let mut command = bare("run -c /nowhere/f.toml");
    for variable in ["FOREBAY_CONFIG", "FOREBAY_LOG", "FOREBAY_LOG_FORMAT"] {
        command.env(variable, "");
    }
    let out = command.output().unwrap();
    assert_eq!(code(&out), 78, "{out:?}");
}
