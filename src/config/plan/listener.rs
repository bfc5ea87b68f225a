//! Changes of listeners: the addresses they listen on, and whom they let in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::super::address::ranges;
use super::super::{ListenAddress, Listener, PerSource};
use super::found::{Found, NEW_SESSIONS};
use super::show;
use super::{Change, Subject, Touches};

/// Notes the changes of all listeners, and returns those of which every socket must be made anew.
pub(super) fn all(old: &[Listener], new: &[Listener], changes: &mut Vec<Change>) -> Vec<Arc<str>> {
    let before: HashMap<&str, &Listener> = old.iter().map(|it| (&*it.name, it)).collect();
    let after: HashSet<&str> = new.iter().map(|it| &*it.name).collect();
    let owners = Owners::of(old);
    let mut remade = Vec::new();
    for listener in new {
        let mut found = Found::of(subject(listener), changes);
        let moved = owners.moved_to(listener);
        match before.get(&*listener.name) {
            Some(old) => {
                compare(old, listener, &mut found);
                if old.interface != listener.interface {
                    remade.push(Arc::clone(&listener.name));
                }
            }
            None => {
                let addresses = show::few(&ranges(&listener.addresses));
                found.say(format!("added on {addresses} (pool {})", listener.pool));
            }
        }
        for (owner, addresses) in moved {
            let addresses = named(&addresses);
            found.say(format!("{addresses} taken over from listener {owner}"));
        }
    }
    for listener in old.iter().filter(|it| !after.contains(&*it.name)) {
        Found::of(subject(listener), changes).touch("removed", Touches::Listener);
    }
    remade
}

fn subject(listener: &Listener) -> Subject {
    Subject::Listener(Arc::clone(&listener.name))
}

/// What makes a listening socket another one.
type Socket<'a> = (&'a ListenAddress, Option<&'a str>);

/// Who listened where.
struct Owners<'a>(HashMap<Socket<'a>, &'a str>);

impl<'a> Owners<'a> {
    fn of(listeners: &'a [Listener]) -> Self {
        let sockets = |listener: &'a Listener| {
            // With port 0 the kernel chooses another for each.
            let fixed = |address: &&ListenAddress| match address {
                ListenAddress::Tcp(address) => address.port() != 0,
                ListenAddress::Unix(_) => true,
            };
            let interface = listener.interface.as_deref();
            let all = listener.addresses.iter().filter(fixed);
            all.map(move |address| ((address, interface), &*listener.name))
        };
        Self(listeners.iter().flat_map(sockets).collect())
    }

    /// The addresses of `listener` that were those of others, by their names.
    fn moved_to(&self, listener: &Listener) -> BTreeMap<&'a str, Vec<ListenAddress>> {
        let mut moved: BTreeMap<&str, Vec<ListenAddress>> = BTreeMap::new();
        for address in &listener.addresses {
            let owner = self.0.get(&(address, listener.interface.as_deref()));
            if let Some(owner) = owner.filter(|owner| ***owner != *listener.name) {
                moved.entry(owner).or_default().push(address.clone());
            }
        }
        moved
    }
}

fn compare(old: &Listener, new: &Listener, found: &mut Found<'_>) {
    let Listener {
        name: _,
        addresses,
        pool,
        max_connections,
        over,
        rate,
        per_source,
        deny,
        allow,
        guards,
        backlog,
        client_first,
        tcp_fastopen,
        interface,
        freebind,
        congestion,
        socket_buffer,
        mode,
    } = old;
    compare_addresses(addresses, new, found);
    if *interface != new.interface {
        let shown = |name: &Option<String>| show::or_none(name);
        let change = format!("interface {} → {}", shown(interface), shown(&new.interface));
        found.say(format!("{change}, a new socket is made beside the old one"));
    }
    found.field_noted("pool", (pool, &new.pool), show::plain, NEW_SESSIONS);
    found.cap("max_connections", *max_connections, new.max_connections);
    found.field("over", (over, &new.over), show::plain);
    found.field("rate", (rate, &new.rate), show::rate);
    match (per_source, &new.per_source) {
        (Some(old), Some(new)) => compare_per_source(old, new, found),
        (old, new) => found.field("per_source", (old, new), show::per_source),
    }
    compare_networks("deny", deny, &new.deny, found);
    compare_networks("allow", allow, &new.allow, found);
    found.field_noted("guards", (guards, &new.guards), |all| show::choices(all), NEW_SESSIONS);
    found.field("backlog", (backlog, &new.backlog), show::plain);
    found.field_noted("client_first", (client_first, &new.client_first), show::plain, NEW_SESSIONS);
    found.field("tcp_fastopen", (tcp_fastopen, &new.tcp_fastopen), show::count_or_off);
    let next = "when an address is bound next";
    found.field_noted("freebind", (freebind, &new.freebind), show::plain, next);
    let pair = (congestion, &new.congestion);
    found.field_noted("congestion", pair, show::or_auto, NEW_SESSIONS);
    let pair = (socket_buffer, &new.socket_buffer);
    found.field_noted("socket_buffer", pair, show::size_or_auto, NEW_SESSIONS);
    found.field("mode", (mode, &new.mode), show::mode);
}

fn compare_addresses(old: &[ListenAddress], new: &Listener, found: &mut Found<'_>) {
    let added = without(&new.addresses, old);
    let removed = without(old, &new.addresses);
    if !added.is_empty() {
        found.say(format!("{} added", named(&added)));
    }
    if !removed.is_empty() {
        found.say(format!("{} removed", named(&removed)));
    }
}

/// `address 0.0.0.0:80`, or `addresses 0.0.0.0:30000-30009`.
fn named(addresses: &[ListenAddress]) -> String {
    let what = if addresses.len() == 1 { "address" } else { "addresses" };
    format!("{what} {}", show::few(&ranges(addresses)))
}

/// What of `all` is not in `taken`. Port 0 may stand in a list several times.
fn without(all: &[ListenAddress], taken: &[ListenAddress]) -> Vec<ListenAddress> {
    let mut left: HashMap<&ListenAddress, usize> = HashMap::new();
    for address in taken {
        *left.entry(address).or_default() += 1;
    }
    let is_new = |address: &&ListenAddress| match left.get_mut(*address).filter(|left| **left > 0) {
        Some(left) => {
            *left -= 1;
            false
        }
        None => true,
    };
    all.iter().filter(is_new).cloned().collect()
}

fn compare_per_source(old: &PerSource, new: &PerSource, found: &mut Found<'_>) {
    let PerSource { max_connections, rate, ipv6_prefix } = old;
    found.cap("per_source.max_connections", *max_connections, new.max_connections);
    found.field("per_source.rate", (rate, &new.rate), show::rate);
    let prefix = (ipv6_prefix, &new.ipv6_prefix);
    found.field("per_source.ipv6_prefix", prefix, show::plain);
}

/// Notes the networks that come and go; their order means nothing.
fn compare_networks(name: &str, old: &[IpNet], new: &[IpNet], found: &mut Found<'_>) {
    let (before, after): (HashSet<&IpNet>, HashSet<&IpNet>) =
        (old.iter().collect(), new.iter().collect());
    let added = new.iter().filter(|network| !before.contains(network));
    let removed = old.iter().filter(|network| !after.contains(network));
    let signed: Vec<String> = added
        .map(|network| format!("+{network}"))
        .chain(removed.map(|network| format!("-{network}")))
        .collect();
    if signed.is_empty() {
        return;
    }
    let note = match (name, old.is_empty(), new.is_empty()) {
        ("allow", true, false) => " (all other sources are refused now)",
        ("allow", false, true) => " (all sources are let in now)",
        _ => "",
    };
    found.say(format!("{name} {}{note}", show::few(&signed)));
}
