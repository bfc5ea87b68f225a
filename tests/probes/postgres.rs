//! `postgres-primary` and `postgres-replica`, by a real pair and a promotion.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;

use super::*;
use crate::support::{Server, eventually, found, left_out, run};

/// Runs a program as somebody for whom PostgreSQL will run.
pub(super) fn words(all: &[&str]) -> Vec<String> {
    let user: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"],
        false => &["env"],
    };
    let program = found(all[0]).unwrap();
    let program = program.to_str().unwrap().to_owned();
    let words = user.iter().map(|&word| word.to_owned());
    words.chain([program]).chain(all[1..].iter().map(|&word| word.to_owned())).collect()
}

fn quiet(all: &[&str]) -> String {
    let words = words(all);
    run(&words.iter().map(String::as_str).collect::<Vec<_>>(), Stdio::null()).0
}

pub(super) fn start(data: &Path) -> (Server, SocketAddr) {
    let directory = data.parent().unwrap();
    let data = data.to_str().unwrap();
    let (server, address) = Server::on_port(directory, |port| {
        let port = port.to_string();
        words(&[
            "postgres",
            "-D",
            data,
            "-k",
            "/nowhere",
            "-c",
            "unix_socket_directories=",
            "-p",
            &port,
            "-F",
        ])
    });
    (server.ending_by(Signal::QUIT), address)
}

pub(super) fn query(address: SocketAddr, what: &str) -> String {
    let port = address.port().to_string();
    let to = format!("host=127.0.0.1 port={port} user=tester dbname=postgres");
    quiet(&["psql", "-tAq", "-d", &to, "-c", what]).trim().to_owned()
}

/// A primary with users of every login.
pub(super) fn primary(directory: &Path) -> PathBuf {
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory, everybody.clone()).unwrap();
    for name in ["one", "two"] {
        std::fs::create_dir(directory.join(name)).unwrap();
        std::fs::set_permissions(directory.join(name), everybody.clone()).unwrap();
    }
    let data = directory.join("one/data");
    let at = data.to_str().unwrap();
    quiet(&["initdb", "-D", at, "-U", "tester", "-A", "trust", "--no-sync"]);
    let rules = "host all tester 127.0.0.1/32 trust\nhost replication tester 127.0.0.1/32 trust\n\
                 host all scram 127.0.0.1/32 scram-sha-256\nhost all hashed 127.0.0.1/32 md5\n\
                 host all plain 127.0.0.1/32 password\n";
    std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
    data
}

/// A copy of a primary that follows it.
pub(super) fn replica(directory: &Path, primary: SocketAddr) -> PathBuf {
    let copy = directory.join("two/data");
    let port = primary.port().to_string();
    let from = ["-h", "127.0.0.1", "-p", &port, "-U", "tester", "-R", "-c", "fast", "-N", "-D"];
    quiet(&[&["pg_basebackup"], &from[..], &[copy.to_str().unwrap()]].concat());
    copy
}

#[test]
fn the_role_of_postgresql_decides_and_a_promotion_is_followed() {
    if left_out(&["postgres", "initdb", "pg_basebackup", "psql", "setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let data = primary(directory.path());
    let (primary, one) = start(&data);
    query(
        one,
        "create role scram login password 'se''cret'; set password_encryption = 'md5'; \
         create role hashed login password 'se''cret'; create role plain login password 'se''cret'",
    );
    let (_replica, two) = start(&replica(directory.path(), one));
    let both = [one, two];
    let options = |user: &str, password: &str| format!("{{ user = \"{user}\", {password} }}");
    let secret = "password = \"se'cret\"";
    let replicas =
        probing(&both, &format!("{{ postgres-replica = {} }}", options("scram", secret)));
    expect_healthy(&replicas, two);
    expect_unhealthy(&replicas, one, "it is a primary, not a replica");
    let primaries =
        probing(&both, &format!("{{ postgres-primary = {} }}", options("scram", secret)));
    expect_healthy(&primaries, one);
    expect_unhealthy(&primaries, two, "it is a replica, not a primary");
    for _ in 0..4 {
        assert_eq!(query(primaries.address("web"), "select pg_is_in_recovery()"), "f");
        assert_eq!(query(replicas.address("web"), "select pg_is_in_recovery()"), "t");
    }
    let log = std::fs::read_to_string(data.parent().unwrap().join("server.log")).unwrap();
    assert!(!log.contains("reset by peer") && !log.contains("unexpected EOF"), "{log}");
    for (user, password, said) in [
        ("scram", secret, None),
        ("hashed", secret, None),
        ("plain", secret, None),
        ("tester", "database = \"template1\"", None),
        (
            "scram",
            "password = \"wrong\"",
            Some("password authentication failed for user \"scram\""),
        ),
        ("scram", "database = \"postgres\"", Some("it asks for a password, and none is given")),
        ("tester", "database = \"nowhere\"", Some("database \"nowhere\" does not exist")),
    ] {
        let kind = format!("{{ postgres-primary = {} }}", options(user, password));
        let forebay = probing(&[one], &kind);
        match said {
            None => expect_healthy(&forebay, one),
            Some(said) => {
                let quoted = format!("\"{}\"", said.replace('"', "\\\""));
                let reason = if said.starts_with("it ") { said } else { &*quoted };
                expect_unhealthy(&forebay, one, reason);
            }
        }
    }
    drop(primary);
    // A probe may have met it while it was stopping, so the reason may be one of several.
    eventually(SOON, || matches!(verdict(&primaries, one), Some(Err(_))));
    assert_eq!(query(two, "select pg_promote()"), "t");
    expect_healthy(&primaries, two);
    expect_unhealthy(&replicas, two, "it is a primary, not a replica");
    assert_eq!(query(primaries.address("web"), "select pg_is_in_recovery()"), "f");
}
