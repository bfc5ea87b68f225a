//! The file as its users meet it: reports word for word, the examples of conf/, files that include
//! files, and mutated files that must never panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here fails a test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay::config::keys::{Key, Kind, every_key};
use forebay::config::{
    BackendAddress, Choices, Config, ListenAddress, Loaded, OnRemove, Options, Problems, Reload,
    Severity, Watch, dump, load, parse, render,
};
use forebay::plugin::Registry;
use proptest::prelude::*;

#[path = "config/examples.rs"]
mod examples;
#[path = "config/files.rs"]
mod files;
#[path = "config/hostile.rs"]
mod hostile;
#[path = "config/mutations.rs"]
mod mutations;
#[cfg(feature = "schema")]
#[path = "config/schema.rs"]
mod schema;

const BAD: &str = "tests/config/bad";
const CONF: &str = "conf";

fn no_variables(_: &str) -> Option<String> {
    None
}

fn read(text: &str) -> Loaded {
    parse(text, "test.toml", &no_variables)
}

fn good(text: &str) -> Config {
    read(text).config.unwrap_or_else(|problems| panic!("{}", render(&problems, false)))
}

fn bad(text: &str) -> Problems {
    read(text).config.expect_err("this text should be refused")
}

/// Errors and warnings, whether the text was taken or not.
fn all_problems(loaded: &Loaded) -> &Problems {
    loaded.config.as_ref().err().unwrap_or(&loaded.warnings)
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    files
}

/// Reports are compared word for word; UPDATE_GOLDEN=1 writes them anew.
#[test]
fn reports_are_as_expected() {
    let files = toml_files(BAD);
    assert!(files.len() >= 26, "only {} fixtures", files.len());
    for path in files {
        let loaded = load(&path, &no_variables);
        let taken = path.file_stem().is_some_and(|name| name == "warnings");
        assert_eq!(loaded.config.is_ok(), taken, "{}", path.display());
        assert_report(&path, all_problems(&loaded));
    }
}

/// What only the kinds of probes and resolvers find wrong.
#[test]
fn reports_of_impossible_probes_and_resolvers_are_as_expected() {
    let mut registry = Registry::with_builtins();
    forebay::health::register(&mut registry);
    forebay::discovery::register(&mut registry);
    let probes = toml_files(&format!("{BAD}/probes"));
    assert!(probes.len() >= 4, "only {} fixtures", probes.len());
    let resolvers = toml_files(&format!("{BAD}/resolvers"));
    assert!(!resolvers.is_empty(), "no fixture");
    for path in probes.into_iter().chain(resolvers) {
        let config = load(&path, &no_variables).config.unwrap();
        let problems = registry.check(&Choices::of(&config)).into_iter().collect();
        assert_report(&path, &problems);
    }
}

/// The examples are whole, but for a program that is not there.
#[test]
fn the_examples_of_probes_can_be_used() {
    let text = fs::read_to_string("docs/probes.md").unwrap();
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut registry = Registry::with_builtins();
    forebay::health::register(&mut registry);
    let mut count = 0;
    for block in blocks {
        let pool = "[pool.app]\nbackends = [\"10.0.0.1:80\"]\n";
        let pool = if block.starts_with('[') { "" } else { pool };
        let listener = "[listener.web]\naddress = \"0.0.0.0:80\"\npool = \"app\"\n";
        let text = format!("{listener}{pool}{block}");
        let loaded = parse(&text, "docs/probes.md", &|_| Some("secret".to_owned()));
        let config = loaded.config.unwrap_or_else(|problems| panic!("{block}\n{problems}"));
        assert!(config.pools[0].probe.is_some(), "{block}");
        for problem in registry.check(&Choices::of(&config)) {
            assert_eq!(problem.message, "there is no program `/usr/local/bin/is-fresh`", "{block}");
        }
        count += 1;
    }
    assert_eq!(count, 9);
}

fn assert_report(path: &Path, problems: &Problems) {
    let report = render(problems, false);
    assert_positions(problems);
    let golden = path.with_extension("txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &report).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(report, expected, "{}: UPDATE_GOLDEN=1 writes it anew", golden.display());
}

/// Every place is within its text, and says what a count by hand says.
fn assert_positions(problems: &Problems) {
    let related = |problem: &forebay::config::Problem| {
        problem.related.iter().map(|related| related.place.clone()).collect::<Vec<_>>()
    };
    for problem in problems {
        for place in problem.place.iter().cloned().chain(related(problem)) {
            let text = place.source().text();
            let before = &text[..place.span().start];
            assert!(place.span().end <= text.len(), "{problem}");
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let position = place.position();
            assert_eq!((position.line, position.column), (line, column), "{problem}");
        }
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
}

#[test]
fn many_faults_are_reported_at_once_each_at_its_place() {
    let problems = bad(concat!(
        "[limits]\n",
        "max_connection = 5\n",
        "[listener.web]\n",
        "  address = \"localhost:80\"\n",
        "  pool = \"ap\"\n",
        "  rate = \"100\"\n",
        "[pool.app]\n",
        "timeout = { idle = 5, abort = \"-1s\" }\n",
        "backends = [\"10.0.0.1:80\", \"10.0.0.1\", { address = \"10.0.0.1:80\" }]\n",
        "balance = {}\n",
    ));
    let found: Vec<(usize, usize)> = problems
        .iter()
        .filter_map(|problem| problem.place.as_ref())
        .map(|place| (place.position().line, place.position().column))
        .collect();
    let expected =
        [(2, 1), (4, 13), (5, 10), (6, 10), (8, 20), (8, 31), (9, 28), (9, 52), (10, 11)];
    assert_eq!(found, expected, "{}", render(&problems, false));
    assert!(problems.iter().all(|problem| problem.severity == Severity::Error));
}

fn assert_dump_loads_back(config: &Config) {
    let text = dump(config);
    let again = parse(&text, "dump", &no_variables).config;
    let again = again.unwrap_or_else(|problems| panic!("{}\n{text}", render(&problems, false)));
    assert_eq!(&again, config, "{text}");
}

#[test]
fn everything_is_read() {
    let config = good(
        r#"
        limits = { max_connections = 1_000, buffers = "256MiB", buffer = "4KiB" }
        shutdown = { timeout = "0s", delay = "5s" }
        reload = { watch = "poll", interval = "1m" }
        runtime = { workers = 2, pin_cpus = true, spread = false }
        [listener.a]
        address = ["0.0.0.0:10-12", "[::]:0", "unix:/run/$$x", "[fe80::1%3]:5"]
        pool = "p"
        max_connections = 5
        over = "reject"
        rate = "5/10s"
        per_source = { max_connections = 1, rate = "20/m", ipv6_prefix = 56 }
        deny = "10.0.66.5"
        allow = ["10.0.0.0/8", "::/0"]
        guards = ["one", { two = { x = [1, "$$", 1.5, true, { y = 1979-05-27 }] } }]
        backlog = 1
        client_first = true
        tcp_fastopen = 5
        interface = "eth0"
        freebind = true
        congestion = "bbr"
        mode = "600"
        [pool."p"]
        balance = { source_hash = { seed = 7 } }
        connect = { timeout = "1s", attempts = 2 }
        timeout = { idle = "off", half_closed = "0s", lifetime = "1d", lifetime_jitter = "10%", abort = "1s", dead_peer = "off" }
        max_connections = 7
        fallback = "q"
        source = "10.0.0.1"
        keepalive = false
        congestion = "reno"
        resolve_interval = "1m"
        on_remove = { drain = { timeout = "90s" } }
        backends = ["a.b:1", { address = "10.0.0.5:+0", weight = 0, max_connections = 3, state = "maint" }]
        [pool.q]
        on_remove = "close"
        resolver = "dns"
        backends = ["10.0.0.6:1", { address = "srv:_app._tcp.q", max_connections = 2 }]
        "#
        .replace("\"[::]:0\", \"unix:/run/$$x\",", "\"[::]:0\",")
        .as_str(),
    );
    let listener = &config.listeners[0];
    assert_eq!(listener.addresses.len(), 5);
    assert_eq!(listener.tcp_fastopen, Some(5));
    assert_eq!(listener.mode, Some(0o600));
    assert_eq!(listener.guards[1].name, "two");
    let pool = &config.pools[0];
    assert_eq!(pool.connect.deadline, Duration::from_secs(2));
    assert_eq!((pool.timeout.idle, pool.timeout.half_closed, pool.keepalive), (None, None, None));
    assert_eq!(pool.timeout.lifetime, Some(Duration::from_secs(86_400)));
    let reload = Reload { watch: Watch::Poll, interval: Duration::from_secs(60) };
    assert_eq!(config.reload, reload);
    assert_eq!(pool.on_remove, OnRemove::Drain { timeout: Duration::from_secs(90) });
    assert_eq!(config.pools[1].on_remove, OnRemove::Close);
    assert_dump_loads_back(&config);
}

#[test]
fn order_is_that_of_the_file() {
    let text =
        "[listener.z]\naddress = \"0.0.0.0:1\"\npool = \"z\"\n[listener.a]\naddress = \"0.0.0.0:2\"
        pool = \"a\"\n[pool.z]\nbackends = [\"z:1\", \"a:1\"]\n[pool.a]\nbackends = [\"a:1\"]\n";
    let config = good(text);
    let names = |list: Vec<&str>| list.join(" ");
    assert_eq!(names(config.listeners.iter().map(|it| &*it.name).collect()), "z a");
    assert_eq!(names(config.pools.iter().map(|it| &*it.name).collect()), "z a");
    assert!(
        matches!(&config.pools[0].backends[0].address, BackendAddress::Name(name, _) if &**name == "z")
    );
}

#[test]
fn defaults_are_merged_key_by_key() {
    let config = good(
        "[defaults.pool]
        timeout = { idle = \"5m\", half_closed = \"5s\" }
        keepalive = { idle = \"9s\" }
        max_connections = 3
        [defaults.listener]
        pool = \"b\"
        per_source = { max_connections = 5, ipv6_prefix = 48 }
        [listener.a]
        address = \"0.0.0.0:1\"
        pool = \"a\"
        per_source = { max_connections = 6 }
        [listener.b]
        address = \"0.0.0.0:2\"
        [pool.a]
        backends = [\"x:1\"]
        timeout = { idle = \"1m\" }
        keepalive = { count = 2 }
        [pool.b]
        backends = [\"x:1\"]
        keepalive = false",
    );
    let (a, b) = (&config.pools[0], &config.pools[1]);
    assert_eq!(a.timeout.idle, Some(Duration::from_secs(60)));
    assert_eq!(a.timeout.half_closed, Some(Duration::from_secs(5)));
    assert_eq!(b.timeout.idle, Some(Duration::from_secs(300)));
    let keepalive = a.keepalive.unwrap();
    assert_eq!((keepalive.idle, keepalive.count), (Duration::from_secs(9), 2));
    assert_eq!((a.max_connections, b.keepalive), (Some(3), None));
    assert_eq!(&*config.listeners[1].pool, "b");
    let per_source = config.listeners[0].per_source.as_ref().unwrap();
    assert_eq!((per_source.max_connections, per_source.ipv6_prefix), (Some(6), 48));
}

#[test]
fn sessions_of_what_is_removed_drain_unless_told_otherwise() {
    let on_remove = |line: &str| {
        let pool = format!("[pool.p]\n{line}\nbackends = [\"x:1\"]");
        good(&format!("[listener.a]\naddress = \"0.0.0.0:1\"\npool = \"p\"\n{pool}")).pools[0]
            .on_remove
    };
    let hour = OnRemove::Drain { timeout: Duration::from_secs(3600) };
    assert_eq!((on_remove(""), on_remove("on_remove = \"drain\"")), (hour, hour));
    assert_eq!(on_remove("on_remove = { drain = {} }"), hour);
    assert_eq!(on_remove("on_remove.drain.timeout = \"1h\""), hour);
    assert_eq!(on_remove("on_remove = \"keep\""), OnRemove::Keep);
    assert_eq!(on_remove("on_remove = { close = {} }"), OnRemove::Close);
    let text = "[defaults.pool]\non_remove = \"keep\"\n[listener.a]\naddress = \"0.0.0.0:1\"
        pool = \"p\"\n[pool.p]\nbackends = [\"x:1\"]";
    assert_eq!(good(text).pools[0].on_remove, OnRemove::Keep);
}

#[test]
fn variables_come_from_the_environment_that_is_given() {
    let text =
        "[listener.a]\naddress = \"${A}:${P:-1}\"\npool = \"p\"\n[pool.p]\nbackends = [\"x:1\"]";
    let loaded = parse(text, "f", &|name| (name == "A").then(|| "127.0.0.1".to_owned()));
    let config = loaded.config.unwrap();
    assert_eq!(config.listeners[0].addresses, [ListenAddress::Tcp(([127, 0, 0, 1], 1).into())]);
    let injected = parse(text, "f", &|_| Some("1\"\npool = \"q".to_owned()));
    assert_eq!(injected.config.unwrap_err().len(), 1);
}

#[test]
fn a_choice_survives_a_reload_while_name_and_options_are_equal() {
    let text = |balance: &str| {
        format!(
            "[listener.a]\naddress = \"0.0.0.0:1\"\npool = \"p\"\n[pool.p]\n{balance}\nbackends = [\"x:1\"]"
        )
    };
    let balance = |line: &str| good(&text(line)).pools[0].balance.clone();
    let one = balance("balance = { source_hash = { seed = 7, ipv6_prefix = 64 } }");
    let moved = balance("\n# moved\nbalance = { source_hash = { ipv6_prefix = 64, seed = 0x7 } }");
    assert_eq!(one, moved);
    assert_ne!(one, balance("balance = { source_hash = { seed = 8, ipv6_prefix = 64 } }"));
    assert_eq!(balance("balance = { random = {} }"), balance("balance = \"random\""));
    assert_eq!(balance("").options, Options::default());
    let problem = balance("balance = \"rund_robin\"").unknown("balancer", &["round_robin"]);
    assert_eq!(problem.place.unwrap().to_string(), "test.toml:5:11");
}
