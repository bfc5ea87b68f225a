//! Just enough of the file to run: listeners with addresses, pools with plain backends.

use std::path::Path;
use std::time::Duration;

use crate::config::*;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Severity {
    Error,
    Warning,
}

pub(in crate::cli) struct Source(String);

pub(in crate::cli) struct Position {
    pub(in crate::cli) line: usize,
    pub(in crate::cli) column: usize,
}

pub(in crate::cli) struct Place(Source);

impl Source {
    pub(in crate::cli) fn name(&self) -> &str {
        &self.0
    }
    pub(in crate::cli) fn was_read(&self) -> bool {
        false
    }
}

impl Place {
    pub(in crate::cli) fn source(&self) -> &Source {
        &self.0
    }
    pub(in crate::cli) fn position(&self) -> Position {
        Position { line: 1, column: 1 }
    }
}

pub(in crate::cli) struct Problem {
    pub(in crate::cli) severity: Severity,
    pub(in crate::cli) place: Option<Place>,
    pub(in crate::cli) message: String,
    pub(in crate::cli) help: Vec<String>,
}

#[derive(Default)]
pub(in crate::cli) struct Problems(Vec<Problem>);

impl Problems {
    pub(in crate::cli) fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
    pub(in crate::cli) fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|problem| problem.severity == severity).count()
    }
    pub(in crate::cli) fn summary(&self) -> String {
        match self.0.len() {
            1 => "1 error".into(),
            count => format!("{count} errors"),
        }
    }
}

pub(in crate::cli) struct Loaded {
    pub(in crate::cli) config: Result<Config, Problems>,
    pub(in crate::cli) warnings: Problems,
}

fn failed(file: &str, message: String) -> Problems {
    let (severity, place) = (Severity::Error, Some(Place(Source(file.into()))));
    Problems(vec![Problem { severity, place, message, help: Vec::new() }])
}

pub(in crate::cli) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(in crate::cli) fn load(path: &Path, variables: Variables<'_>) -> Loaded {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &name, variables),
        Err(error) => {
            let config = Err(failed(&name, format!("cannot read {name}: {error}")));
            Loaded { config, warnings: Problems::default() }
        }
    }
}

pub(in crate::cli) fn parse(text: &str, name: &str, _: Variables<'_>) -> Loaded {
    let config = text.parse::<toml::Table>().map_err(|error| error.to_string()).and_then(read);
    let config = config.map_err(|message| failed(name, message));
    Loaded { config, warnings: Problems::default() }
}

impl Config {
    pub(in crate::cli) fn proxy(listen: &[String], to: &[String]) -> Result<Self, Problems> {
        let text = format!(
            "[listener.proxy]\naddress = {listen:?}\npool = \"proxy\"\n[pool.proxy]\nbackends = {to:?}\n"
        );
        parse(&text, "command line", &environment).config
    }
}

impl Choice {
    pub(in crate::cli) fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), options: Options::default() }
    }
}

pub(in crate::cli) fn render(problems: &Problems, _colour: bool) -> String {
    let place = |p: &Problem| p.place.as_ref().map_or("", |place| place.source().name()).to_owned();
    let list: String =
        problems.iter().map(|p| format!("error: {}: {}\n", place(p), p.message)).collect();
    format!("{list}{}\n", problems.summary())
}

pub(in crate::cli) fn dump(config: &Config) -> String {
    format!("{config:#?}")
}

#[cfg(feature = "schema")]
pub(in crate::cli) fn schema() -> String {
    "{}".into()
}

fn strings(value: Option<&toml::Value>) -> Vec<String> {
    match value {
        Some(toml::Value::String(one)) => vec![one.clone()],
        Some(toml::Value::Array(many)) => {
            many.iter().filter_map(|v| v.as_str().map(Into::into)).collect()
        }
        _ => Vec::new(),
    }
}

fn read(table: toml::Table) -> Result<Config, String> {
    let named = |key: &str| table.get(key).and_then(|v| v.as_table()).cloned().unwrap_or_default();
    let mut listeners = Vec::new();
    for (name, value) in named("listener") {
        listeners.push(listener(&name, &value)?);
    }
    let mut pools = Vec::new();
    for (name, value) in named("pool") {
        pools.push(pool(&name, &value)?);
    }
    if listeners.is_empty() {
        return Err("no listener".into());
    }
    Ok(Config {
        limits: Limits { max_connections: None, buffers: None, buffer: 65536 },
        shutdown: Shutdown { timeout: Duration::from_secs(1), delay: Duration::ZERO },
        runtime: Runtime { workers: None, pin_cpus: false, spread: false },
        listeners,
        pools,
    })
}

fn listener(name: &str, value: &toml::Value) -> Result<Listener, String> {
    let parse = |text: String| match text.strip_prefix("unix:") {
        Some(path) => Ok(ListenAddress::Unix(path.into())),
        None => text
            .parse()
            .map(ListenAddress::Tcp)
            .map_err(|error| format!("bad address `{text}`: {error}")),
    };
    let addresses: Result<_, String> =
        strings(value.get("address")).into_iter().map(parse).collect();
    Ok(Listener {
        name: name.into(),
        addresses: addresses?,
        pool: value.get("pool").and_then(|v| v.as_str()).ok_or("no pool")?.into(),
        max_connections: None,
        over: Over::Wait,
        rate: None,
        per_source: None,
        deny: Vec::new(),
        allow: Vec::new(),
        guards: Vec::new(),
        backlog: 1024,
        client_first: false,
        tcp_fastopen: None,
        interface: None,
        freebind: false,
        congestion: None,
        mode: None,
    })
}

fn pool(name: &str, value: &toml::Value) -> Result<Pool, String> {
    let second = Duration::from_secs(1);
    let backend = |text: String| {
        let address: std::net::SocketAddr =
            text.parse().map_err(|error| format!("bad backend `{text}`: {error}"))?;
        let address = BackendAddress::Ip(address.ip(), BackendPort::Fixed(address.port()));
        Ok(Backend { address, weight: 1, max_connections: None, state: State::Ready })
    };
    let backends: Result<_, String> =
        strings(value.get("backends")).into_iter().map(backend).collect();
    Ok(Pool {
        name: name.into(),
        balance: Choice { name: "round_robin".into(), options: Options::default() },
        connect: Connect { timeout: second, attempts: 3, deadline: second * 3 },
        timeout: Timeouts {
            idle: None,
            half_closed: None,
            lifetime: None,
            lifetime_jitter: 0,
            abort: second,
            dead_peer: None,
        },
        max_connections: None,
        fallback: None,
        source: None,
        keepalive: None,
        congestion: None,
        resolve_interval: second,
        backends: backends?,
    })
}
