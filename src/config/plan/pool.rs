//! Changes of pools.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::{Connect, Pool, Timeouts};
use super::backends;
use super::found::{Found, NEW_SESSIONS};
use super::show;
use super::{Change, Subject, Touches};

pub(super) fn all(old: &[Pool], new: &[Pool], changes: &mut Vec<Change>) {
    let before: HashMap<&str, &Pool> = old.iter().map(|it| (&*it.name, it)).collect();
    let after: HashSet<&str> = new.iter().map(|it| &*it.name).collect();
    for pool in new {
        let mut found = Found::of(subject(pool), changes);
        match before.get(&*pool.name) {
            Some(old) => compare(old, pool, &mut found),
            None => {
                let all: Vec<_> = pool.backends.iter().map(|it| &it.address).collect();
                let named = show::named("backend", "backends", &all);
                found.say(format!("added with {named} ({})", show::choice(&pool.balance)));
            }
        }
    }
    for pool in old.iter().filter(|it| !after.contains(&*it.name)) {
        Found::of(subject(pool), changes).touch("removed", Touches::Pool(pool.on_remove));
    }
}

fn subject(pool: &Pool) -> Subject {
    Subject::Pool(Arc::clone(&pool.name))
}

fn compare(old: &Pool, new: &Pool, found: &mut Found<'_>) {
    let Pool {
        name: _,
        balance,
        connect,
        timeout,
        max_connections,
        fallback,
        source,
        keepalive,
        congestion,
        socket_buffer,
        resolver,
        resolve_interval,
        on_remove,
        probe,
        eject,
        on_unhealthy,
        panic_threshold,
        slow_start,
        queue,
        when_down,
        backends,
    } = old;
    backends::compare(backends, new, found);
    let anew = "its positions start anew";
    found.field_noted("balance", (balance, &new.balance), show::choice, anew);
    compare_connect(connect, &new.connect, found);
    compare_timeouts(timeout, &new.timeout, found);
    found.cap("max_connections", *max_connections, new.max_connections);
    found.field_noted("fallback", (fallback, &new.fallback), show::or_none, NEW_SESSIONS);
    let address = |source: &Option<std::net::SocketAddr>| show::or_none(&source.map(|it| it.ip()));
    found.field_noted("source", (source, &new.source), address, NEW_SESSIONS);
    found.field_noted("keepalive", (keepalive, &new.keepalive), show::keepalive, NEW_SESSIONS);
    found.field_noted("congestion", (congestion, &new.congestion), show::or_auto, NEW_SESSIONS);
    let pair = (socket_buffer, &new.socket_buffer);
    found.field_noted("socket_buffer", pair, show::size_or_auto, NEW_SESSIONS);
    found.field("resolver", (resolver, &new.resolver), show::choice);
    let interval = (resolve_interval, &new.resolve_interval);
    found.field("resolve_interval", interval, show::length);
    found.field("on_remove", (on_remove, &new.on_remove), show::on_remove);
    found.field("probe", (probe, &new.probe), show::probe);
    found.field("eject", (eject, &new.eject), show::eject);
    found.field("on_unhealthy", (on_unhealthy, &new.on_unhealthy), show::on_remove);
    found.field("panic_threshold", (panic_threshold, &new.panic_threshold), show::percent);
    found.field("queue", (queue, &new.queue), show::queue);
    found.field("when_down", (when_down, &new.when_down), show::when_down);
    found.field("slow_start", (slow_start, &new.slow_start), show::length_or_off);
}

fn compare_connect(old: &Connect, new: &Connect, found: &mut Found<'_>) {
    let Connect { timeout, attempts, retry_budget, hedge, deadline } = old;
    let note = NEW_SESSIONS;
    found.field_noted("connect.timeout", (timeout, &new.timeout), show::length, note);
    found.field_noted("connect.attempts", (attempts, &new.attempts), show::plain, note);
    let budget = (retry_budget, &new.retry_budget);
    found.field("connect.retry_budget", budget, show::percent);
    found.field_noted("connect.hedge", (hedge, &new.hedge), show::length_or_off, note);
    found.field_noted("connect.deadline", (deadline, &new.deadline), show::length, note);
}

fn compare_timeouts(old: &Timeouts, new: &Timeouts, found: &mut Found<'_>) {
    let Timeouts { idle, half_closed, lifetime, lifetime_jitter, abort, dead_peer } = old;
    let jitter = (lifetime_jitter, &new.lifetime_jitter);
    let mut off = |name: &str, pair| {
        found.field_noted(name, pair, show::length_or_off, NEW_SESSIONS);
    };
    off("timeout.idle", (idle, &new.idle));
    off("timeout.half_closed", (half_closed, &new.half_closed));
    off("timeout.lifetime", (lifetime, &new.lifetime));
    off("timeout.dead_peer", (dead_peer, &new.dead_peer));
    found.field_noted("timeout.lifetime_jitter", jitter, show::percent, NEW_SESSIONS);
    found.field_noted("timeout.abort", (abort, &new.abort), show::length, NEW_SESSIONS);
}
