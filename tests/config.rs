//! The file as its users meet it: reports word for word, the examples of conf/, files that include
//! files, and mutated files that must never panic.

#![cfg(feature = "cli")]
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
    BackendAddress, Config, ListenAddress, Loaded, Options, Problems, Severity, dump, load, parse,
    render,
};
use proptest::prelude::*;

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
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let files = toml_files(BAD);
    assert!(files.len() >= 26, "only {} fixtures", files.len());
    for path in files {
        let loaded = load(&path, &no_variables);
        let report = render(all_problems(&loaded), false);
        let taken = path.file_stem().is_some_and(|name| name == "warnings");
        assert_eq!(loaded.config.is_ok(), taken, "{}", path.display());
        assert_positions(all_problems(&loaded));
        let golden = path.with_extension("txt");
        if update {
            fs::write(&golden, &report).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(report, expected, "{}: UPDATE_GOLDEN=1 writes it anew", golden.display());
    }
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

#[test]
fn all_examples_load_without_a_warning() {
    let files = toml_files(CONF);
    assert!(files.len() >= 11, "only {} examples", files.len());
    for path in files {
        let loaded = load(&path, &no_variables);
        let config =
            loaded.config.unwrap_or_else(|problems| panic!("{}", render(&problems, false)));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert_dump_loads_back(&config);
    }
}

fn assert_dump_loads_back(config: &Config) {
    let text = dump(config);
    let again = parse(&text, "dump", &no_variables).config;
    let again = again.unwrap_or_else(|problems| panic!("{}\n{text}", render(&problems, false)));
    assert_eq!(&again, config, "{text}");
}

fn reference() -> String {
    fs::read_to_string("conf/reference.toml").unwrap()
}

/// Keys without a default are commented out as `#key = value`.
fn reference_with_examples() -> String {
    let comment = |line: &str| {
        let key = line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic));
        key.unwrap_or(line).to_owned()
    };
    reference().lines().map(comment).collect::<Vec<_>>().join("\n")
}

#[test]
fn reference_shows_the_defaults() {
    let smallest = "[listener.web]\naddress = \"0.0.0.0:8080\"\npool = \"app\"
        [pool.app]\nbackends = [\"10.0.0.11:9000\"]";
    assert_eq!(good(&reference()), good(smallest));
}

#[test]
fn reference_examples_load() {
    let text = reference_with_examples().replace("include = []", "")
        + "\n[pool.standby]\nbackends = [\"10.0.0.99:1\"]\n";
    let loaded = read(&text);
    let config = loaded.config.unwrap_or_else(|problems| panic!("{}", render(&problems, false)));
    assert_ne!(config.limits.max_connections, None);
    assert_dump_loads_back(&config);
}

/// A key is shown when a line begins with it, or when it stands in the one-line table of its parent.
#[test]
fn reference_names_every_key_once_with_a_comment() {
    let text = reference_with_examples();
    let keys = every_key();
    assert!(keys.len() > 60);
    for (path, key) in keys {
        if path.starts_with("defaults.listener.") || path.starts_with("defaults.pool.") {
            continue;
        }
        assert!(is_shown(&text, &path, key), "{path} is not in conf/reference.toml");
    }
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(lines[at - 1].starts_with("# "), "no comment above: {line}");
        }
    }
}

fn is_shown(text: &str, path: &str, key: &Key) -> bool {
    let mut section = String::new();
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    text.lines().any(|line| {
        if let Some(header) = line.strip_prefix('[').filter(|_| line.ends_with(']')) {
            section =
                header.trim_matches(['[', ']']).replace(".web", ".NAME").replace(".app", ".NAME");
            let named = matches!(key.kind, Kind::Named(_)).then(|| format!("{path}.NAME"));
            return section == path || named == Some(section.clone());
        }
        let inside = parent.strip_prefix(&format!("{section}."));
        let starts = |text: &str, name: &str| text.starts_with(&format!("{name} = "));
        (section == parent && starts(line, key.name))
            || (path == "defaults" && section.starts_with("defaults."))
            || inside.is_some_and(|table| {
                starts(line, table) && line.contains(&format!(" {} = ", key.name))
            })
    })
}

#[test]
fn everything_is_read() {
    let config = good(
        r#"
        limits = { max_connections = 1_000, buffers = "256MiB", buffer = "4KiB" }
        shutdown = { timeout = "0s", delay = "5s" }
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
        backends = ["a.b:1", { address = "10.0.0.5:+0", weight = 0, max_connections = 3, state = "maint" }]
        [pool.q]
        backends = ["10.0.0.6:1"]
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

#[test]
fn includes_are_read_in_order_and_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("conf.d")).unwrap();
    fs::write(at("main.toml"), "include = [\"conf.d/*.toml\"]\n").unwrap();
    let part = |name: &str, port: u16| {
        let text = format!(
            "[listener.{name}]\naddress = \"127.0.0.1:{port}\"\npool = \"{name}\"\n[pool.{name}]\nbackends = [\"x:1\"]\n"
        );
        fs::write(at(&format!("conf.d/{name}.toml")), text).unwrap();
    };
    part("b", 2);
    part("a", 1);
    fs::write(at("conf.d/.hidden.toml"), "broken").unwrap();
    fs::write(at("conf.d/note.txt"), "broken").unwrap();
    let one = load(&at("main.toml"), &no_variables);
    let config = one.config.unwrap();
    let names: Vec<&str> = config.listeners.iter().map(|listener| &*listener.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(one.files, [at("main.toml"), at("conf.d/a.toml"), at("conf.d/b.toml")]);
    assert_eq!(one.directories, [directory.path().to_owned(), at("conf.d")]);
    assert_eq!(load(&at("main.toml"), &no_variables).hash, one.hash);
    part("b", 3);
    assert_ne!(load(&at("main.toml"), &no_variables).hash, one.hash);
    assert!(parse("include = []", "text", &no_variables).config.is_err());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        let problems = load(path, &no_variables).config.unwrap_err();
        assert_eq!(problems.len(), 1, "{problems}");
        problems.to_string()
    };
    let missing = directory.path().join("missing.toml");
    let name = missing.display();
    assert_eq!(
        message(&missing),
        format!("{name}: cannot read `{name}`: no such file or directory\n")
    );
    assert!(message(directory.path()).contains("is a directory"));
    let large = directory.path().join("large.toml");
    fs::write(&large, vec![b'#'; (16 << 20) + 1]).unwrap();
    assert!(message(&large).contains("it is over 16 MiB"), "{}", message(&large));
    fs::write(&large, vec![b'\n'; 16 << 20]).unwrap();
    assert!(message(&large).contains("the file is empty"));
    let report = render(&load(&missing, &no_variables).config.unwrap_err(), false);
    assert!(report.contains(&format!("--> {name}")), "{report}");
}

#[test]
fn includes_are_bounded_in_depth() {
    let directory = tempfile::tempdir().unwrap();
    for depth in 0..20 {
        let text = format!("include = \"{}.toml\"\n", depth + 1);
        fs::write(directory.path().join(format!("{depth}.toml")), text).unwrap();
    }
    let loaded = load(&directory.path().join("0.toml"), &no_variables);
    assert!(loaded.config.unwrap_err().to_string().contains("files deep"));
    assert_eq!(loaded.files.len(), 9);
}

/// Tables without end, lists without end, errors without end: no overflow, no hour of waiting.
#[test]
fn huge_and_deep_files_are_bounded() {
    let dotted = vec!["a"; 79].join(".");
    let texts = [
        format!("x = {}", "[".repeat(1 << 20)),
        format!("x = {}", "{ a = ".repeat(1 << 18)),
        format!("x = {}1{}", format!("{{ {dotted} = ").repeat(79), "}".repeat(79)),
        format!("[{}]\n", vec!["a"; 1 << 18].join(".")),
        format!("x = [{}]", "1,".repeat(1 << 20)),
        format!("x = [{}]", "\"a\" ".repeat(1 << 16)),
        "a\n".repeat(1 << 17),
        "[a]\n".repeat(1 << 14),
        "a = 1\n".repeat(1 << 14),
        format!("[pool.a]\nbackends = [{}]", "\"x:1\",".repeat(1 << 14)),
        format!("[listener.a]\naddress = [{}]", "\"0.0.0.0:1-4096\",".repeat(1 << 12)),
        format!("[listener.a]\naddress = \"{}\"", "${A}".repeat(1 << 12)),
        "\"".repeat(1 << 20),
        "\u{feff}".repeat(1 << 16),
    ];
    for text in texts {
        let problems = bad(&text);
        let start: String = text.chars().take(40).collect();
        assert!(!problems.is_empty(), "{start}");
        assert!(render(&problems, false).len() < 1 << 20, "{start}");
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        let path = "conf/forebay.schema.json";
        let schema = forebay::config::schema();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(path, &schema).unwrap();
        }
        let committed = fs::read_to_string(path).unwrap_or_default();
        assert!(committed == schema, "{path} is old: UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn schema_and_keys_are_the_same_set() {
        let schema: serde_json::Value = serde_json::from_str(&forebay::config::schema()).unwrap();
        let mut found = Vec::new();
        gather(&schema, "", &mut found);
        found.sort();
        let mut known: Vec<String> = every_key().into_iter().map(|(path, _)| path).collect();
        known.sort();
        assert_eq!(found, known);
    }

    fn gather(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}{name}");
            found.push(path.clone());
            gather(inner, &format!("{path}."), found);
            gather(&inner["additionalProperties"], &format!("{path}.NAME."), found);
            let any = [&inner["anyOf"], &inner["items"]["anyOf"]];
            for one in any.into_iter().filter_map(serde_json::Value::as_array).flatten() {
                gather(one, &format!("{path}."), found);
            }
        }
    }
}

/// What files are made of, and what breaks them.
fn corpus() -> Vec<String> {
    let files = toml_files(BAD).into_iter().chain(toml_files(CONF));
    files.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
}

const BITS: [&str; 18] = [
    "\"", "'", "[", "]", "{", "}", "=", ".", ",", "\n", "\r\n", "\t", "#", "${", "ü", "\u{0}",
    "-1", "\\",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn mutated_files_never_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, any::<prop::sample::Index>()), 1..6),
    ) {
        let files = corpus();
        let mut letters: Vec<char> = which.get(&files).chars().collect();
        for (at, cut, bit) in edits {
            let start = at.index(letters.len() + 1);
            let end = (start + cut).min(letters.len());
            letters.splice(start..end, bit.get(&BITS).chars());
        }
        let text: String = letters.into_iter().collect();
        let loaded = read(&text);
        assert_positions(all_problems(&loaded));
        let _report = render(all_problems(&loaded), true);
        if let Ok(config) = &loaded.config {
            assert_dump_loads_back(config);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        assert_positions(all_problems(&read(&text)));
    }
}
