//! The files of conf/: each loads, and the reference shows every key at its default.

use super::*;

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

fn reference() -> String {
    fs::read_to_string("conf/reference.toml").unwrap()
}

/// Keys without a default are commented out as `#key = value`.
pub(super) fn reference_with_examples() -> String {
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
    for (path, key) in &keys {
        let same = path.starts_with("defaults.listener.") || path.starts_with("defaults.pool.");
        if same || (is_kind(path, &keys) && text.contains(&format!("\"{}\": ", key.name))) {
            continue;
        }
        assert!(is_shown(&text, path, key), "{path} is not in conf/reference.toml");
    }
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(lines[at - 1].starts_with("# "), "no comment above: {line}");
        }
    }
}

/// One of several names that a key takes; the line above its key says what it means.
fn is_kind(path: &str, keys: &[(String, &Key)]) -> bool {
    let kinds = keys.iter().filter(|(_, key)| matches!(key.kind, Kind::OneKind(_)));
    kinds.into_iter().any(|(parent, _)| path.rsplit_once('.').is_some_and(|(of, _)| of == parent))
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
        let inside = inside.and_then(|tables| tables.split('.').next());
        let starts = |text: &str, name: &str| text.starts_with(&format!("{name} = "));
        (section == parent && starts(line, key.name))
            || (path == "defaults" && section.starts_with("defaults."))
            || inside.is_some_and(|table| {
                starts(line, table) && line.contains(&format!(" {} = ", key.name))
            })
    })
}

#[test]
fn compose_waits_longer_than_the_shutdown_of_its_file() {
    let compose = fs::read_to_string("docker/compose.yaml").unwrap();
    let grace = compose.lines().find_map(|line| line.trim().strip_prefix("stop_grace_period:"));
    let grace: u64 = grace.unwrap().trim().strip_suffix('s').unwrap().parse().unwrap();
    let config = load(Path::new("docker/conf/forebay.toml"), &no_variables).config.unwrap();
    assert!(Duration::from_secs(grace) > config.shutdown.timeout + config.shutdown.delay);
}
