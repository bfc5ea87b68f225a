//! Binding every address of the file, or saying of each why not.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::config::{Config, ListenAddress, Listener};
use crate::model::{SocketId, keepalive};
use crate::net::{Address, ListenOptions, ListeningSocket};

/// An address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address; the port is the real one.
    pub address: Address,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct Refusal {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address as the file has it.
    pub address: ListenAddress,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listener, address, error } = self;
        write!(f, "listener {listener}: cannot listen on {address}: ")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => f.write_str("address in use by another process"),
            io::ErrorKind::PermissionDenied => f.write_str("permission denied"),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("this host does not have the address (freebind = true binds it anyway)")
            }
            _ => error.fmt(f),
        }
    }
}

/// The listening sockets of one address.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) id: SocketId,
    pub(super) listener: Arc<str>,
    /// As the file has it.
    pub(super) wanted: ListenAddress,
    /// One for each worker; a unix address has one in all.
    pub(super) sockets: Vec<Arc<ListeningSocket>>,
}

impl Sockets {
    /// The socket that worker `number` of `workers` accepts from. The one socket of a unix address
    /// has one owner, who hands over to the rest.
    pub(super) fn of(&self, number: usize, workers: usize) -> Option<&Arc<ListeningSocket>> {
        match self.wanted {
            ListenAddress::Tcp(_) => self.sockets.get(number),
            ListenAddress::Unix(_) => {
                self.sockets.first().filter(|_| self.id.0 as usize % workers.max(1) == number)
            }
        }
    }

    pub(super) fn address(&self) -> Address {
        self.sockets
            .first()
            .map_or_else(|| address(&self.wanted), |socket| socket.address().clone())
    }
}

/// Binds and listens on every address of `config`, with one socket for each worker.
///
/// All are bound before one listens, so that nothing is half done when one fails.
pub(super) fn bind_all(config: &Config, workers: usize) -> Result<Vec<Sockets>, Vec<Refusal>> {
    let mut all = Vec::new();
    let mut refusals = Vec::new();
    let addresses = config
        .listeners
        .iter()
        .flat_map(|listener| listener.addresses.iter().map(move |address| (listener, address)));
    for (number, (listener, wanted)) in addresses.enumerate() {
        let id = SocketId(u32::try_from(number).unwrap_or(u32::MAX));
        match ListeningSocket::bind(&address(wanted), &options(config, listener), workers - 1) {
            Ok(sockets) => all.push(Sockets {
                id,
                listener: Arc::clone(&listener.name),
                wanted: wanted.clone(),
                sockets: sockets.into_iter().map(Arc::new).collect(),
            }),
            Err(error) => refusals.push(refusal(listener, wanted, error)),
        }
    }
    if refusals.is_empty() {
        refusals = listen_all(config, &all);
    }
    if refusals.is_empty() {
        return Ok(all);
    }
    all.iter().flat_map(|bound| &bound.sockets).for_each(|socket| socket.unlink());
    Err(refusals)
}

fn listen_all(config: &Config, all: &[Sockets]) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for bound in all {
        let Some(listener) = config.listeners.iter().find(|l| l.name == bound.listener) else {
            continue;
        };
        let failed = bound.sockets.iter().find_map(|socket| socket.listen(listener.backlog).err());
        if let Some(error) = failed {
            refusals.push(refusal(listener, &bound.wanted, error));
        }
    }
    refusals
}

fn refusal(listener: &Listener, address: &ListenAddress, error: io::Error) -> Refusal {
    Refusal { listener: Arc::clone(&listener.name), address: address.clone(), error }
}

/// What sockets of `listener` are made with. What is accepted inherits the pool's keepalive.
fn options(config: &Config, listener: &Listener) -> ListenOptions {
    let pool = config.pools.iter().find(|pool| pool.name == listener.pool);
    ListenOptions {
        backlog: listener.backlog,
        client_first: listener.client_first,
        tcp_fastopen: listener.tcp_fastopen,
        interface: listener.interface.clone(),
        freebind: listener.freebind,
        congestion: listener.congestion.clone(),
        keepalive: pool.and_then(|pool| pool.keepalive).map(keepalive),
        mode: listener.mode,
    }
}

fn address(wanted: &ListenAddress) -> Address {
    match wanted {
        ListenAddress::Tcp(address) => Address::Tcp(*address),
        ListenAddress::Unix(path) => Address::Unix(path.clone()),
    }
}
