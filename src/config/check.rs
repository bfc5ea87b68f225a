//! Holds the values against each other: names that must exist, addresses that must not meet.

mod listening;
mod offsets;
mod references;

use std::collections::HashMap;

use ipnet::IpNet;

use super::notes::Notes;
use super::problem::Problem;
use super::raw::RawConfig;
use super::read_listener::RawListener;
use super::read_pool::{RESOLVER, RawPool};
use super::source::Place;
use super::suggest::quoted;
use super::{BackendAddress, BackendPort, Config, State};

/// Notes what does not fit together, and gives the configuration; it counts only without errors.
pub(super) fn check(raw: RawConfig, notes: &Notes) -> Config {
    let pools = references::Pools::new(&raw.pools);
    pools.check(&raw.listeners, notes);
    listening::check(&raw.listeners, notes);
    offsets::check(&raw.listeners, &pools, notes);
    raw.listeners.iter().for_each(|listener| check_networks(listener, notes));
    raw.pools.iter().for_each(|pool| check_backends(pool, notes));
    let listeners = raw.listeners.into_iter().map(|raw| raw.listener).collect();
    let pools = raw.pools.into_iter().map(|mut raw| {
        raw.pool.backends = raw.backends.into_iter().map(|raw| raw.backend).collect();
        raw.pool
    });
    Config {
        limits: raw.limits,
        shutdown: raw.shutdown,
        reload: raw.reload,
        runtime: raw.runtime,
        listeners,
        pools: pools.collect(),
    }
}

/// deny is judged before allow, so an allowed network within a denied one lets nothing in.
fn check_networks(raw: &RawListener, notes: &Notes) {
    let deny: HashMap<&IpNet, &Place> = raw.listener.deny.iter().zip(&raw.deny).collect();
    // A network lies in at most 129, of which each is looked up; lists of thousands are common.
    let around = |network: &IpNet| std::iter::successors(Some(*network), IpNet::supernet);
    let denied = |network: &IpNet| around(network).find_map(|it| deny.get(&it));
    for (network, place) in raw.listener.allow.iter().zip(&raw.allow) {
        if let Some(denied) = denied(network).filter(|_| !deny.is_empty()) {
            let message = format!("allowed network {} is denied", quoted(place.text_inside()));
            let problem = Problem::warning(place.clone(), message);
            notes.add(problem.related((*denied).clone(), "denied here, which is judged first"));
        }
    }
}

fn check_backends(raw: &RawPool, notes: &Notes) {
    let name = &raw.pool.name;
    let mut seen: HashMap<&BackendAddress, &Place> = HashMap::new();
    for backend in &raw.backends {
        let address = &backend.backend.address;
        if let Some(first) = seen.insert(address, &backend.place) {
            let message =
                format!("backend {} is twice in pool `{name}`", quoted(&address.to_string()));
            let problem = Problem::error(backend.place.clone(), message);
            let problem = problem.help("give one of them a higher `weight` instead");
            notes.add(problem.related(first.clone(), "first here"));
        }
        check_source(raw, address, &backend.place, notes);
        check_service(raw, address, &backend.place, notes);
        check_probe(raw, address, &backend.place, notes);
    }
    let useless = |state: State, weight: u32| state != State::Ready || weight == 0;
    let all = raw.backends.iter().map(|it| &it.backend);
    if !raw.backends.is_empty() && all.clone().all(|it| useless(it.state, it.weight)) {
        let message = format!("no backend of pool `{name}` takes new sessions");
        let help = "each is drained, in maintenance or of weight 0";
        notes.add(Problem::warning(raw.place.clone(), message).help(help));
    }
}

/// A probe has no client whose port it could follow.
fn check_probe(raw: &RawPool, address: &BackendAddress, place: &Place, notes: &Notes) {
    let follows = match address {
        BackendAddress::Ip(_, port) | BackendAddress::Name(_, port) => {
            matches!(port, BackendPort::Offset(_))
        }
        BackendAddress::Service(_) | BackendAddress::Unix(_) => false,
    };
    if follows && raw.pool.probe.as_ref().is_some_and(|probe| probe.port.is_none()) {
        let message = format!("{} has no port to probe", quoted(&address.to_string()));
        let problem = Problem::error(place.clone(), message);
        notes.add(problem.help("say it: probe = { port = 9000 }"));
    }
}

/// getaddrinfo(3) knows hosts alone.
fn check_service(raw: &RawPool, address: &BackendAddress, place: &Place, notes: &Notes) {
    if !matches!(address, BackendAddress::Service(_)) || raw.pool.resolver.name != RESOLVER {
        return;
    }
    let message = format!("{} cannot be looked up by the system", quoted(&address.to_string()));
    let help = "say who knows SRV records: resolver = \"dns\"";
    notes.add(Problem::error(place.clone(), message).help(help));
}

/// A connect from an IPv4 address to IPv6 fails always, and the other way round.
fn check_source(raw: &RawPool, address: &BackendAddress, place: &Place, notes: &Notes) {
    let (Some(source), BackendAddress::Ip(ip, _)) = (raw.pool.source, address) else { return };
    if source.is_ipv4() == ip.is_ipv4() {
        return;
    }
    let message = format!("{} cannot be reached from {}", quoted(&ip.to_string()), source.ip());
    let problem = Problem::error(place.clone(), message);
    notes.add(match &raw.source {
        Some(at) => problem.related(at.clone(), "connects are made from here"),
        None => problem,
    });
}
