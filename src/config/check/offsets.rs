//! Backends at the client's port plus an offset: there is a client's port, and the sum is a port.

use super::super::notes::Notes;
use super::super::problem::Problem;
use super::super::read_backends::RawBackend;
use super::super::read_listener::RawListener;
use super::super::source::Place;
use super::super::suggest::quoted;
use super::super::{BackendAddress, BackendPort, ListenAddress};
use super::references::Pools;

pub(super) fn check(listeners: &[RawListener], pools: &Pools<'_>, notes: &Notes) {
    for raw in listeners {
        let chain = pools.chain(&raw.listener.pool);
        let backends = chain.iter().flat_map(|pool| &pool.backends);
        for backend in backends {
            if let Some(port) = offset(backend) {
                check_one(raw, backend, port, notes);
            }
        }
    }
}

fn offset(backend: &RawBackend) -> Option<BackendPort> {
    match backend.backend.address {
        BackendAddress::Ip(_, port) | BackendAddress::Name(_, port) => {
            matches!(port, BackendPort::Offset(_)).then_some(port)
        }
        BackendAddress::Unix(_) => None,
    }
}

/// Notes the first address of the listener that the offset does not fit.
fn check_one(raw: &RawListener, backend: &RawBackend, port: BackendPort, notes: &Notes) {
    let name = quoted(&backend.backend.address.to_string());
    let wrong = |address: &ListenAddress| match address {
        ListenAddress::Unix(_) => Some(format!("{name} needs a port, and a unix socket has none")),
        // The kernel chooses; it is seen when a client connects.
        ListenAddress::Tcp(address) if address.port() == 0 => None,
        ListenAddress::Tcp(address) => match port.resolve(address.port()) {
            Some(_) => None,
            None => Some(format!("{name} leads outside of 1 to 65535 for port {}", address.port())),
        },
    };
    let found = |(address, place): (&ListenAddress, &Place)| {
        wrong(address).map(|message| (message, place.clone()))
    };
    let first = raw.listener.addresses.iter().zip(&raw.addresses).find_map(found);
    if let Some((message, place)) = first {
        let label = format!("listener `{}` uses the pool", raw.listener.name);
        notes.add(Problem::error(backend.place.clone(), message).related(place, label));
    }
}
