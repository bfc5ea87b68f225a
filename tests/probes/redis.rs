//! `redis-master` and `redis-replica`, by a real pair.

use std::path::Path;

use super::*;
use crate::support::{Backend, Server, left_out, run};

fn redis(directory: &Path, name: &str, more: &[&str]) -> (Server, SocketAddr) {
    let home = directory.join(name);
    std::fs::create_dir(&home).unwrap();
    Server::on_port(&home, |port| {
        let port = port.to_string();
        let fixed = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--port", &port];
        let login = ["--requirepass", "secret", "--masterauth", "secret"];
        [&fixed[..], &login, more].concat().into_iter().map(str::to_owned).collect()
    })
}

fn cli(address: SocketAddr, words: &[&str]) -> String {
    let port = address.port().to_string();
    let fixed = ["redis-cli", "-p", &port, "-a", "secret", "--no-auth-warning"];
    run(&[&fixed[..], words].concat(), std::process::Stdio::null()).0
}

#[test]
fn the_role_of_redis_decides_and_a_failover_is_followed() {
    if left_out(&["redis-server", "redis-cli"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_one, one) = redis(directory.path(), "one", &[]);
    let of_one = format!("127.0.0.1 {}", one.port());
    let (_two, two) = redis(directory.path(), "two", &["--replicaof", &of_one]);
    cli(one, &["ACL", "SETUSER", "probe", "on", ">hush", "-@all", "+role"]);
    cli(two, &["ACL", "SETUSER", "probe", "on", ">hush", "-@all", "+role"]);
    let both = [one, two];
    let masters = probing(&both, r#"{ redis-master = { password = "secret" } }"#);
    let login = r#"{ redis-replica = { user = "probe", password = "hush" } }"#;
    let replicas = probing(&both, login);
    let check = |master: SocketAddr, replica: SocketAddr| {
        expect_healthy(&masters, master);
        expect_unhealthy(&masters, replica, "it is a replica, not a master");
        expect_healthy(&replicas, replica);
        expect_unhealthy(&replicas, master, "it is a master, not a replica");
        for _ in 0..4 {
            assert!(cli(masters.address("web"), &["ROLE"]).starts_with("master\n"));
            assert!(cli(replicas.address("web"), &["ROLE"]).starts_with("slave\n"));
        }
    };
    check(one, two);
    cli(two, &["REPLICAOF", "NO", "ONE"]);
    cli(one, &["REPLICAOF", "127.0.0.1", &two.port().to_string()]);
    check(two, one);
}

/// A session that redis has answered.
fn session(web: SocketAddr) -> Peer {
    let mut client = Peer::connect(web);
    client.send(b"AUTH secret\r\nPING\r\n");
    client.expect(b"+OK\r\n+PONG\r\n");
    client
}

#[test]
fn sessions_are_reset_once_within_a_second_when_a_master_loses_its_role() {
    if left_out(&["redis-server", "redis-cli"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_one, one) = redis(directory.path(), "one", &[]);
    let (_two, two) = redis(directory.path(), "two", &[]);
    let port = two.port().to_string();
    let pool = format!(
        "balance = \"first\"\non_unhealthy = \"close\"\n\
         probe = {{ kind = {{ redis-master = {{ password = \"secret\" }} }}, {SOON_TOLD} }}"
    );
    within_a_second(|| {
        cli(one, &["REPLICAOF", "NO", "ONE"]);
        let forebay = Start::new(Forebay::simple(&[one, two], &pool)).sessions().start();
        expect_healthy(&forebay, one);
        expect_healthy(&forebay, two);
        let mut open: Vec<Peer> = (0..5).map(|_| session(forebay.address("web"))).collect();
        let lost_at = Instant::now();
        cli(one, &["REPLICAOF", "127.0.0.1", &port]);
        open.iter_mut().for_each(Peer::expect_reset);
        let time = lost_at.elapsed();
        let found = Some(Err("it is a replica, not a master".to_owned()));
        let told = comes_true(SOON, || verdict(&forebay, one) == found);
        if !told || times_found_unhealthy(&forebay, one) != 1 {
            return None;
        }
        expect_ended_once(&forebay, &open);
        // The other one is a master still, and serves.
        drop(session(forebay.address("web")));
        Some(time)
    });
}

#[test]
fn a_login_that_redis_refuses_is_the_reason() {
    if left_out(&["redis-server"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_redis, address) = redis(directory.path(), "one", &[]);
    let reason = "AUTH was answered with \"WRONGPASS invalid username-password pair or user is \
                  disabled.\"";
    let forebay = probing(&[address], r#"{ redis-master = { password = "wrong" } }"#);
    expect_unhealthy(&forebay, address, reason);
    let forebay = probing(&[address], "\"redis-master\"");
    let reason = "ROLE was answered with \"NOAUTH Authentication required.\"";
    expect_unhealthy(&forebay, address, reason);
    let sentinel = Backend::scripted(|peer| {
        peer.expect(b"*1\r\n$4\r\nROLE\r\n");
        peer.send(b"*2\r\n$8\r\nsentinel\r\n*0\r\n");
    });
    let forebay = probing(&[sentinel.address()], "\"redis-master\"");
    expect_unhealthy(&forebay, sentinel.address(), "its role is \"sentinel\", not master");
}

#[test]
fn a_password_of_the_environment_is_used_and_not_told() {
    if left_out(&["redis-server"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_redis, address) = redis(directory.path(), "one", &[]);
    let probe = "probe = { kind = { redis-master = { user = \"${REDIS_USER:-default}\", \
                 password = \"${REDIS_PASSWORD}\" } }, interval = \"50ms\", rise = 1, fall = 1 }";
    let with = |password: &str| {
        let start = Start::new(Forebay::simple(&[address], probe)).sessions();
        start.variable("REDIS_PASSWORD", password).start()
    };
    let forebay = with("secret");
    expect_healthy(&forebay, address);
    assert!(!forebay.said().contains("secret"), "{}", forebay.said());
    let forebay = with("another");
    let found = || verdict(&forebay, address);
    let right = || matches!(found(), Some(Err(why)) if why.contains("WRONGPASS"));
    assert!(comes_true(SOON, right), "{:?}", found());
    assert!(!forebay.said().contains("another"), "{}", forebay.said());
}
