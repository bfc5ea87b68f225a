//! The effective configuration as TOML that loads back to the same [`Config`].

use std::fmt::{Display, Write};
use std::time::Duration;

use super::address::ranges;
use super::node::{Entry, Node, Table, Value};
use super::units::{show_duration, show_rate, show_size};
use super::{
    BackendAddress, Choice, Config, Eject, Keepalive, Listener, OnRemove, PerSource, Pool,
    ProbeSettings, Queue, WhenDown,
};

/// Everything that is in force, defaults and includes filled in; what has no value is left out, and
/// a password is not shown.
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
    out.header("reload");
    out.key("watch", text(&config.reload.watch.to_string()));
    out.key("interval", duration(config.reload.interval));
    out.header("runtime");
    out.optional("workers", config.runtime.workers);
    out.key("pin_cpus", config.runtime.pin_cpus);
    out.key("spin", config.runtime.spin.map_or_else(|| text("off"), duration));
    out.key("spread", config.runtime.spread);
    out.key("splice", text(&config.runtime.splice.to_string()));
    config.listeners.iter().for_each(|listener| dump_listener(&mut out, listener));
    config.pools.iter().for_each(|pool| dump_pool(&mut out, pool));
    out.0
}

fn dump_listener(out: &mut Out, listener: &Listener) {
    out.header(&format!("listener.{}", key(&listener.name)));
    out.key("address", list(ranges(&listener.addresses).iter().map(|it| text(it))));
    out.key("pool", text(&listener.pool));
    out.optional("max_connections", listener.max_connections);
    out.key("over", text(&listener.over.to_string()));
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
    out.optional("socket_buffer", listener.socket_buffer.map(|bytes| text(&show_size(bytes))));
    out.optional("mode", listener.mode.map(|mode| text(&format!("{mode:04o}"))));
}

fn dump_pool(out: &mut Out, pool: &Pool) {
    let name = key(&pool.name);
    out.header(&format!("pool.{name}"));
    out.key("balance", choice(&pool.balance));
    let connect = &pool.connect;
    let (timeout, deadline) = (duration(connect.timeout), duration(connect.deadline));
    let hedge = connect.hedge.map_or_else(|| text("off"), duration);
    let (attempts, budget) = (connect.attempts, connect.retry_budget);
    out.key(
        "connect",
        format!(
            "{{ timeout = {timeout}, attempts = {attempts}, retry_budget = \"{budget}%\", hedge = {hedge}, deadline = {deadline} }}"
        ),
    );
    out.key("timeout", timeouts(pool));
    out.optional("max_connections", pool.max_connections);
    out.optional("fallback", pool.fallback.as_deref().map(text));
    out.optional("source", pool.source.map(|source| text(&source.ip().to_string())));
    out.key("keepalive", keepalive(pool.keepalive));
    out.optional("congestion", pool.congestion.as_deref().map(text));
    out.optional("socket_buffer", pool.socket_buffer.map(|bytes| text(&show_size(bytes))));
    out.key("resolver", choice(&pool.resolver));
    out.key("resolve_interval", duration(pool.resolve_interval));
    out.key("on_remove", on_remove(pool.on_remove));
    out.key("probe", pool.probe.as_ref().map_or_else(off, probe));
    out.key("eject", pool.eject.as_ref().map_or_else(off, eject));
    out.key("on_unhealthy", on_remove(pool.on_unhealthy));
    out.key("panic_threshold", text(&format!("{}%", pool.panic_threshold)));
    out.key("queue", pool.queue.as_ref().map_or_else(off, queue));
    out.key("when_down", pool.when_down.as_ref().map_or_else(off, when_down));
    out.key("slow_start", pool.slow_start.map_or_else(|| text("off"), duration));
    for backend in &pool.backends {
        out.line(&format!("\n[[pool.{name}.backends]]"));
        out.key("address", text(&backend.address.to_string()));
        // Of a service, its records say these; in a file they would be refused.
        if !matches!(backend.address, BackendAddress::Service(_)) {
            out.key("weight", backend.weight);
            out.key("priority", backend.priority);
        }
        out.optional("max_connections", backend.max_connections);
        out.key("state", text(&backend.state.to_string()));
    }
}

pub(super) fn per_source(per_source: &PerSource) -> String {
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

pub(super) fn keepalive(keepalive: Option<Keepalive>) -> String {
    let Some(it) = keepalive else { return off() };
    let (idle, interval) = (duration(it.idle), duration(it.interval));
    format!("{{ idle = {idle}, interval = {interval}, count = {} }}", it.count)
}

/// What is not on.
fn off() -> String {
    "false".to_owned()
}

pub(super) fn probe(it: &ProbeSettings) -> String {
    let mut parts = vec![
        format!("kind = {}", choice(&it.kind)),
        format!("interval = {}", duration(it.interval)),
        format!("fast_interval = {}", duration(it.fast_interval)),
        format!("timeout = {}", duration(it.timeout)),
        format!("rise = {}, fall = {}", it.rise, it.fall),
    ];
    parts.extend(it.port.map(|port| format!("port = {port}")));
    parts.extend(it.address.map(|address| format!("address = {}", text(&address.to_string()))));
    format!("{{ {} }}", parts.join(", "))
}

pub(super) fn eject(it: &Eject) -> String {
    format!(
        "{{ failures = {}, time = {}, max_time = {}, max_ejected = \"{}%\" }}",
        it.failures,
        duration(it.time),
        duration(it.max_time),
        it.max_ejected
    )
}

pub(super) fn queue(it: &Queue) -> String {
    format!("{{ max = {}, timeout = {} }}", it.max, duration(it.timeout))
}

pub(super) fn when_down(it: &WhenDown) -> String {
    let (hold, rate) = (duration(it.hold), text(&show_rate(it.release_rate)));
    format!("{{ hold = {hold}, max = {}, release_rate = {rate} }}", it.max)
}

fn on_remove(on_remove: OnRemove) -> String {
    match on_remove {
        OnRemove::Drain { timeout } => {
            format!("{{ drain = {{ timeout = {} }} }}", duration(timeout))
        }
        OnRemove::Keep => text("keep"),
        OnRemove::Close => text("close"),
    }
}

fn choice(choice: &Choice) -> String {
    match choice.options.is_empty() {
        true => text(&choice.name),
        false => format!("{{ {} = {} }}", key(&choice.name), inline(choice.options.table())),
    }
}

/// A key whose value is nobody's business, and what is shown for it.
const SECRET: &str = "password";
const HIDDEN: &str = "********";

/// A table on one line, without its secrets: it stands in logs.
pub(super) fn inline(table: &Table) -> String {
    let shown = |entry: &Entry| match entry.key == SECRET {
        true => text(HIDDEN),
        false => value(&entry.node),
    };
    let entry = |entry: &Entry| format!("{} = {}", key(&entry.key), shown(entry));
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
