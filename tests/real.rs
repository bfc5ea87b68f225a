//! Real clients through the real binary to real servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use fastrand::Rng;
use rustix::process::Signal;
use support::{Forebay, SOON, Server, Start, eventually, left_out, run};
use tempfile::TempDir;

/// Bytes of a large body.
const LARGE: usize = 256 << 20;

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

fn quiet(all: &[&str]) -> String {
    run(all, Stdio::null()).0
}

#[test]
fn redis_over_tcp() {
    if left_out(&["redis-server", "redis-cli", "redis-benchmark"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_redis, backend) = Server::on_port(directory.path(), |port| {
        words(&["redis-server", "--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
    });
    let forebay = Forebay::before(&[backend]);
    use_redis(&forebay);
}

#[test]
fn redis_over_a_unix_socket() {
    if left_out(&["redis-server", "redis-cli", "redis-benchmark"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let command =
        ["redis-server", "--port", "0", "--save", "", "--unixsocket", socket.to_str().unwrap()];
    let _redis = Server::start(&command, directory.path(), || socket.exists()).unwrap();
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"unix:{}\"]\n",
        socket.display()
    ));
    use_redis(&forebay);
}

fn use_redis(forebay: &Forebay) {
    let port = forebay.address("web").port().to_string();
    let value = "forebay".repeat(100_000);
    let file = forebay.directory().join("value");
    std::fs::write(&file, &value).unwrap();
    let set = ["redis-cli", "-p", &port, "-x", "set", "key"];
    assert_eq!(run(&set, File::open(&file).unwrap().into()).0.trim(), "OK");
    assert_eq!(quiet(&["redis-cli", "-p", &port, "get", "key"]).trim_end(), value);
    let said = quiet(&[
        "redis-benchmark",
        "-p",
        &port,
        "-q",
        "-n",
        "20000",
        "-c",
        "50",
        "-t",
        "ping,set,get",
    ]);
    assert_eq!(said.matches("requests per second").count(), 4, "{said}");
    let said = quiet(&["redis-benchmark", "-p", &port, "-q", "-n", "2000", "-k", "0", "-t", "get"]);
    assert_eq!(said.matches("requests per second").count(), 1, "{said}");
}

#[test]
fn postgresql() {
    if left_out(&["postgres", "initdb", "pgbench", "psql", "setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let user = unprivileged(&directory);
    let user: Vec<&str> = user.iter().map(String::as_str).collect();
    let initdb = support::found("initdb").unwrap();
    let init = [initdb.to_str().unwrap(), "-D", data, "-U", "tester", "-A", "trust", "--no-sync"];
    quiet(&[&user, &init[..]].concat());
    let postgres = support::found("postgres").unwrap();
    let (postgres, backend) = Server::on_port(directory.path(), |port| {
        let port = port.to_string();
        let home = directory.path().to_str().unwrap();
        let command = [postgres.to_str().unwrap(), "-D", data, "-k", home, "-p", &port, "-F"];
        words(&[&user, &command[..]].concat())
    });
    let _postgres = postgres.ending_by(Signal::QUIT);
    let forebay = Forebay::before(&[backend]);
    let port = forebay.address("web").port().to_string();
    let to = ["-h", "127.0.0.1", "-p", &port, "-U", "tester"];
    let with = |command: &[&str], rest: &[&str]| quiet(&[command, &to[..], rest].concat());
    eventually(support::SOON, || Path::new(data).join("postmaster.pid").exists());
    assert_eq!(with(&["psql", "-tAc", "select 6 * 7"], &["postgres"]).trim(), "42");
    let large = with(&["psql", "-tAc", "select repeat('x', 20000000)"], &["postgres"]);
    assert_eq!(large.trim().len(), 20_000_000);
    with(&["pgbench", "-i", "-q", "-s", "2"], &["postgres"]);
    for mode in [&["-c", "8", "-j", "2"][..], &["-c", "4", "-C"]] {
        let said = with(&[&["pgbench", "-n", "-T", "2"], mode].concat(), &["postgres"]);
        assert!(said.contains("number of failed transactions: 0 "), "{said}");
    }
}

/// What starts a program as somebody for whom PostgreSQL will run, who may use the directory.
fn unprivileged(directory: &TempDir) -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return words(&["env"]);
    }
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybody).unwrap();
    words(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
}

/// nginx with a small page and a large file.
fn nginx(directory: &Path) -> (Server, std::net::SocketAddr, Vec<u8>) {
    let mut large = vec![0; LARGE];
    Rng::with_seed(8).fill(&mut large);
    let root = directory.join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("small"), "small\n").unwrap();
    File::create(root.join("large")).unwrap().write_all(&large).unwrap();
    let home = directory.display();
    let (server, address) = Server::on_port(directory, |port| {
        let config = directory.join("nginx.conf");
        // With master_process off there is no second process to look after.
        let text = format!(
            "daemon off; master_process off; pid {home}/pid; error_log {home}/errors;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 1000000; sendfile on;\n\
             client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};\n\
             uwsgi_temp_path {home}; scgi_temp_path {home};\n\
             server {{ listen 127.0.0.1:{port}; root {home}/root; }} }}\n"
        );
        std::fs::write(&config, text).unwrap();
        words(&["nginx", "-p", directory.to_str().unwrap(), "-c", config.to_str().unwrap()])
    });
    (server, address, large)
}

#[test]
fn nginx_with_curl_and_wrk() {
    if left_out(&["nginx", "curl", "wrk"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_nginx, backend, large) = nginx(directory.path());
    for splice in ["auto", "never", "always"] {
        let config = Forebay::simple(&[backend], "");
        let forebay = Start::new(config).splice(splice).start();
        let url = |file: &str| format!("http://{}/{file}", forebay.address("web"));
        let (small, body) = (url("small"), directory.path().join("body"));
        let body = body.to_str().unwrap();
        quiet(&["curl", "-sSf", "-o", body, &url("large")]);
        assert!(std::fs::read(body).unwrap() == large, "the large body differs, splice {splice}");
        let said = quiet(&["curl", "-sSf", "-w", "%{num_connects} ", &small, &small, &small]);
        assert_eq!(said, "small\n1 small\n0 small\n0 ", "keep-alive");
        let said = quiet(&["wrk", "-t2", "-c50", "-d2s", &small]);
        assert!(said.contains("Requests/sec") && !said.contains("Socket errors"), "{said}");
        let said = quiet(&["wrk", "-t2", "-c20", "-d1s", "-H", "Connection: close", &small]);
        assert!(said.contains("Requests/sec") && !said.contains("Non-2xx"), "{said}");
    }
}

#[test]
fn iperf3_both_ways() {
    if left_out(&["iperf3"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_iperf, backend) = Server::on_port(directory.path(), |port| {
        words(&["iperf3", "-s", "--forceflush", "-B", "127.0.0.1", "-p", &port.to_string()])
    });
    // It turns away who comes before it is done with the one before, and says when it is.
    let listens = || {
        let said = std::fs::read_to_string(directory.path().join("server.log")).unwrap();
        said.rsplit('\n').find(|line| line.contains(' ')).is_some_and(|it| it.contains("listening"))
    };
    // iperf3 tells the two connections of --bidir apart by the order in which they come, which only
    // one worker keeps: two accept and connect at the same time.
    let one = format!("[runtime]\nworkers = 1\n{}", Forebay::simple(&[backend], ""));
    let (one, all) = (Forebay::start(&one), Forebay::before(&[backend]));
    let ways =
        [(&all, &["-P", "1"][..]), (&all, &["-R"]), (&one, &["--bidir"]), (&all, &["-P", "4"])];
    for (forebay, way) in ways {
        eventually(SOON, listens);
        let port = forebay.address("web").port().to_string();
        let fixed = ["iperf3", "-c", "127.0.0.1", "-p", &port, "-n", "200M"];
        let said = quiet(&[&fixed[..], way].concat());
        assert!(said.contains("iperf Done"), "{way:?}: {said}");
    }
}

#[test]
fn socat_over_unix_sockets_on_both_sides() {
    if left_out(&["socat"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (behind, front) = (path("behind.sock"), path("front.sock"));
    let command = ["socat", &format!("UNIX-LISTEN:{behind},fork"), "EXEC:sort"];
    let ready = || Path::new(&behind).exists();
    let _socat = Server::start(&command, directory.path(), ready).unwrap();
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"unix:{front}\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"unix:{behind}\"]\n"
    ));
    assert_eq!(forebay.addresses("web"), [format!("unix:{front}")]);
    // sort(1) answers only after its input has ended: the half-close must come through.
    let mut lines: Vec<String> =
        (0..100_000).map(|n| format!("{:06}\n", n * 7 % 100_000)).collect();
    let input = path("input");
    std::fs::write(&input, lines.concat()).unwrap();
    let to = format!("UNIX-CONNECT:{front}");
    let said = run(&["socat", "-t30", "-", &to], File::open(&input).unwrap().into()).0;
    lines.sort();
    assert!(said == lines.concat(), "not what sort(1) makes of it");
}
