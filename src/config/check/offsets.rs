//! Backends at the client's port plus an offset: there is a client's port, and the sum is a port.

use std::collections::HashMap;

use super::super::notes::Notes;
use super::super::problem::Problem;
use super::super::read_backends::RawBackend;
use super::super::read_listener::RawListener;
use super::super::read_pool::RawPool;
use super::super::source::Place;
use super::super::suggest::quoted;
use super::super::{BackendAddress, BackendPort, ListenAddress};
use super::references::Pools;

pub(super) fn check(listeners: &[RawListener], pools: &Pools<'_>, notes: &Notes) {
    let following: HashMap<&str, Following<'_>> =
        pools.all().iter().map(|pool| (&*pool.pool.name, Following::of(pool))).collect();
    for raw in listeners {
        let extremes = extremes(raw);
        let chain = pools.chain(&raw.listener.pool);
        for pool in chain.iter().filter_map(|pool| following.get(&*pool.pool.name)) {
            // A thousand listeners may share a pool of ten thousand, so all are looked at only if
            // one is wrong.
            if pool.extremes.iter().any(|port| wrong(&extremes, *port)) {
                pool.check(raw, &extremes, notes);
            }
        }
        if notes.is_full() {
            return;
        }
    }
}

/// The backends of a pool that follow the client's port.
struct Following<'a> {
    backends: Vec<(&'a RawBackend, BackendPort)>,
    /// The lowest and the highest offset: if one is wrong, one of these is.
    extremes: Vec<BackendPort>,
}

impl<'a> Following<'a> {
    fn of(pool: &'a RawPool) -> Self {
        let offset = |backend: &'a RawBackend| match backend.backend.address {
            BackendAddress::Ip(_, BackendPort::Offset(offset))
            | BackendAddress::Name(_, BackendPort::Offset(offset)) => Some((backend, offset)),
            _ => None,
        };
        let all = || pool.backends.iter().filter_map(offset);
        let offsets = || all().map(|(_, offset)| offset);
        let extremes = [offsets().min(), offsets().max()].into_iter().flatten();
        Self {
            backends: all().map(|(backend, it)| (backend, BackendPort::Offset(it))).collect(),
            extremes: extremes.map(BackendPort::Offset).collect(),
        }
    }

    fn check(&self, raw: &RawListener, extremes: &[Placed<'_>], notes: &Notes) {
        for (backend, port) in &self.backends {
            check_one(raw, extremes, backend, *port, notes);
        }
    }
}

/// True exactly when one of the addresses does not fit.
fn wrong(extremes: &[Placed<'_>], port: BackendPort) -> bool {
    extremes.iter().any(|(address, _)| match address {
        ListenAddress::Unix(_) => true,
        ListenAddress::Tcp(address) => port.resolve(address.port()).is_none(),
    })
}

/// An address and where it stands.
type Placed<'a> = (&'a ListenAddress, &'a Place);

/// The addresses of which one does not fit an offset if any does not: a socket, and the lowest and
/// the highest port.
fn extremes(raw: &RawListener) -> Vec<Placed<'_>> {
    let all = || raw.listener.addresses.iter().zip(&raw.addresses);
    let port = |(address, _): &Placed<'_>| match address {
        // The kernel chooses; it is seen when a client connects.
        ListenAddress::Tcp(address) if address.port() > 0 => Some(address.port()),
        _ => None,
    };
    let tcp = || all().filter(|placed| port(placed).is_some());
    let socket = all().find(|(address, _)| matches!(address, ListenAddress::Unix(_)));
    [socket, tcp().min_by_key(port), tcp().max_by_key(port)].into_iter().flatten().collect()
}

/// Notes the first address of the listener that the offset does not fit.
fn check_one(
    raw: &RawListener,
    extremes: &[Placed<'_>],
    backend: &RawBackend,
    port: BackendPort,
    notes: &Notes,
) {
    let name = quoted(&backend.backend.address.to_string());
    let wrong = |address: &ListenAddress| match address {
        ListenAddress::Unix(_) => Some(format!("{name} needs a port, and a unix socket has none")),
        ListenAddress::Tcp(address) => match port.resolve(address.port()) {
            Some(_) => None,
            None => Some(format!("{name} leads outside of 1 to 65535 for port {}", address.port())),
        },
    };
    let first = extremes.iter().find_map(|(address, place)| Some((wrong(address)?, *place)));
    if let Some((message, place)) = first {
        let label = format!("listener `{}` uses the pool", raw.listener.name);
        notes.add(Problem::error(backend.place.clone(), message).related(place.clone(), label));
    }
}
