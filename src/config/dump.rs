//! The effective configuration as TOML that loads back to the same [`Config`].

use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::node::{Node, Table, Value};
use super::units::{show_duration, show_rate, show_size};
use super::{Choice, Config, ListenAddress, Listener, Over, PerSource, Pool, Splice, State};

/// Everything that is in force, defaults and includes filled in; what has no value is left out.
pub fn dump(config: &Config) -> String {
    let mut out = Out::default();
    let limits = &config.limits;
    out.header("limits");
    out.optional("max_connections", limits.max_connections);
    out.optional("buffers", limits.buffers.map(|bytes| text(&show_size(bytes))));
    out.key("buffer", text(&show_size(u64::try_from(limits.buffer).unwrap_or(u64::MAX))));
    out.header("shutdown");
    out.key("timeout", duration(config.shutdown.timeout));
    out.key("delay", duration(config.shutdown.delay));
    out.header("runtime");
    out.optional("workers", config.runtime.workers);
    out.key("pin_cpus", config.runtime.pin_cpus);
    out.key("spread", config.runtime.spread);
    let splice = match config.runtime.splice {
        Splice::Auto => "auto",
        Splice::Always => "always",
        Splice::Never => "never",
    };
    out.key("splice", text(splice));
    config.listeners.iter().for_each(|listener| dump_listener(&mut out, listener));
    config.pools.iter().for_each(|pool| dump_pool(&mut out, pool));
    out.0
}

fn dump_listener(out: &mut Out, listener: &Listener) {
    out.header(&format!("listener.{}", key(&listener.name)));
    out.key("address", list(addresses(&listener.addresses).iter().map(|it| text(it))));
    out.key("pool", text(&listener.pool));
    out.optional("max_connections", listener.max_connections);
    out.key("over", text(over(listener.over)));
    out.optional("rate", listener.rate.map(|rate| text(&show_rate(rate))));
    out.optional("per_source", listener.per_source.as_ref().map(per_source));
    out.key("deny", list(listener.deny.iter().map(|network| text(&network.to_string()))));
    if !listener.allow.is_empty() {
        out.key("allow", list(listener.allow.iter().map(|network| text(&network.to_string()))));
    }
    out.key("guards", list(listener.guards.iter().map(choice)));
    out.key("backlog", listener.backlog);
    out.key("client_first", listener.client_first);
    match listener.tcp_fastopen {
        Some(queue) => out.key("tcp_fastopen", queue),
        None => out.key("tcp_fastopen", false),
    }
    out.optional("interface", listener.interface.as_deref().map(text));
    out.key("freebind", listener.freebind);
    out.optional("congestion", listener.congestion.as_deref().map(text));
    out.optional("mode", listener.mode.map(|mode| text(&format!("{mode:04o}"))));
}

fn dump_pool(out: &mut Out, pool: &Pool) {
    let name = key(&pool.name);
    out.header(&format!("pool.{name}"));
    out.key("balance", choice(&pool.balance));
    let connect = &pool.connect;
    let (timeout, deadline) = (duration(connect.timeout), duration(connect.deadline));
    let attempts = connect.attempts;
    out.key(
        "connect",
        format!("{{ timeout = {timeout}, attempts = {attempts}, deadline = {deadline} }}"),
    );
    out.key("timeout", timeouts(pool));
    out.optional("max_connections", pool.max_connections);
    out.optional("fallback", pool.fallback.as_deref().map(text));
    out.optional("source", pool.source.map(|source| text(&source.ip().to_string())));
    out.key("keepalive", keepalive(pool));
    out.optional("congestion", pool.congestion.as_deref().map(text));
    out.key("resolve_interval", duration(pool.resolve_interval));
    for backend in &pool.backends {
        out.line(&format!("\n[[pool.{name}.backends]]"));
        out.key("address", text(&backend.address.to_string()));
        out.key("weight", backend.weight);
        out.optional("max_connections", backend.max_connections);
        out.key("state", text(state(backend.state)));
    }
}

fn per_source(per_source: &PerSource) -> String {
    let mut parts = Vec::new();
    parts.extend(per_source.max_connections.map(|count| format!("max_connections = {count}")));
    parts.extend(per_source.rate.map(|rate| format!("rate = {}", text(&show_rate(rate)))));
    parts.push(format!("ipv6_prefix = {}", per_source.ipv6_prefix));
    format!("{{ {} }}", parts.join(", "))
}

fn timeouts(pool: &Pool) -> String {
    let off = |length: Option<Duration>| length.map_or_else(|| text("off"), duration);
    let it = &pool.timeout;
    format!(
        "{{ idle = {}, half_closed = {}, lifetime = {}, lifetime_jitter = \"{}%\", abort = {}, dead_peer = {} }}",
        off(it.idle),
        off(it.half_closed),
        off(it.lifetime),
        it.lifetime_jitter,
        duration(it.abort),
        off(it.dead_peer),
    )
}

fn keepalive(pool: &Pool) -> String {
    let Some(it) = pool.keepalive else { return "false".to_owned() };
    let (idle, interval) = (duration(it.idle), duration(it.interval));
    format!("{{ idle = {idle}, interval = {interval}, count = {} }}", it.count)
}

fn over(over: Over) -> &'static str {
    match over {
        Over::Wait => "wait",
        Over::Reject => "reject",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Drain => "drain",
        State::Maint => "maint",
    }
}

fn choice(choice: &Choice) -> String {
    match choice.options.is_empty() {
        true => text(&choice.name),
        false => format!("{{ {} = {} }}", key(&choice.name), inline(choice.options.table())),
    }
}

fn inline(table: &Table) -> String {
    let entry =
        |entry: &super::node::Entry| format!("{} = {}", key(&entry.key), value(&entry.node));
    format!("{{ {} }}", table.0.iter().map(entry).collect::<Vec<_>>().join(", "))
}

fn value(node: &Node) -> String {
    match &node.value {
        Value::String(value) => text(value),
        Value::Integer(_, shown) | Value::Float(_, shown) | Value::Beyond(shown) => shown.clone(),
        Value::Flag(flag) => flag.to_string(),
        Value::Datetime(moment) => moment.to_string(),
        Value::Array(items) => list(items.iter().map(value)),
        Value::Table(table) => inline(table),
    }
}

/// Runs of ports on one address as a range.
fn addresses(all: &[ListenAddress]) -> Vec<String> {
    let mut shown = Vec::new();
    let mut rest = all;
    while let Some((first, after)) = rest.split_first() {
        let run = match first {
            ListenAddress::Tcp(first) => run(*first, after),
            ListenAddress::Unix(_) => 0,
        };
        match (first, u16::try_from(run)) {
            (ListenAddress::Tcp(address), Ok(run)) if run > 0 => {
                shown.push(format!("{address}-{}", address.port().saturating_add(run)));
            }
            _ => shown.push(first.to_string()),
        }
        rest = after.get(run..).unwrap_or_default();
    }
    shown
}

/// How many of `after` continue `first` port by port.
fn run(first: SocketAddr, after: &[ListenAddress]) -> usize {
    if first.port() == 0 {
        return 0;
    }
    let mut last = first;
    let next = |address: &&ListenAddress| {
        let Some(port) = last.port().checked_add(1) else { return false };
        last.set_port(port);
        **address == ListenAddress::Tcp(last)
    };
    after.iter().take_while(next).count()
}

fn duration(length: Duration) -> String {
    text(&show_duration(length))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A key, quoted if TOML asks for it.
fn key(name: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => escaped(name),
    }
}

/// A string value. Loading expands variables, so a dollar sign is doubled.
fn text(value: &str) -> String {
    escaped(&value.replace('$', "$$"))
}

pub(super) fn escaped(value: &str) -> String {
    let mut out = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _infallible = write!(out, "\\u{:04X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[derive(Default)]
struct Out(String);

impl Out {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn header(&mut self, path: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.line(&format!("[{path}]"));
    }

    fn key(&mut self, key: &str, value: impl Display) {
        self.line(&format!("{key} = {value}"));
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }
}
