//! The listening sockets of each address, which worker accepts from which of them, and what a new
//! file makes of them.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::prepare::{Prepared, Preparing, Wanted, Way};
use super::retire::Retiring;
use crate::config::{Config, ListenAddress, Listener};
use crate::model::SocketId;
use crate::net::{Address, ListenOptions, ListeningSocket};

/// An address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address; the port is the real one.
    pub address: Address,
}

/// Addresses that are told one by one.
const TOLD: usize = 64;

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
    pub(super) options: ListenOptions,
    /// One for each worker that there ever was since it is bound; a unix address has one in all.
    pub(super) sockets: Vec<Arc<ListeningSocket>>,
    /// The worker that accepts from each.
    pub(super) owners: Vec<Option<usize>>,
    /// True exactly when workers may have let go of them and are to be told again.
    pub(super) again: bool,
}

impl Sockets {
    /// The number of the worker, of `workers`, that is to accept from the socket at `place`. The one
    /// socket of a unix address has one owner, who hands over to the rest.
    fn owner(&self, place: usize, workers: usize) -> usize {
        let number = match self.wanted {
            ListenAddress::Tcp(_) => place,
            ListenAddress::Unix(_) => self.id.0 as usize,
        };
        number % workers.max(1)
    }

    /// Shares the sockets among `workers`. Returns those that changed hands, each with the worker
    /// that has it now and the one that had it before.
    pub(super) fn share(&mut self, workers: usize) -> Vec<Handed> {
        self.owners.resize(self.sockets.len(), None);
        let mut handed = Vec::new();
        for (place, socket) in self.sockets.iter().enumerate() {
            let to = self.owner(place, workers);
            let from = self.owners[place].filter(|&from| from != to);
            if self.again || self.owners[place] != Some(to) {
                handed.push(Handed { place, socket: Arc::clone(socket), to, from });
            }
        }
        self.again = false;
        handed.iter().for_each(|handed| self.owners[handed.place] = Some(handed.to));
        handed
    }

    /// The sockets that worker `number` accepts from.
    pub(super) fn of(&self, number: usize) -> impl Iterator<Item = &Arc<ListeningSocket>> {
        let owned = self.sockets.iter().zip(&self.owners);
        owned.filter(move |(_, owner)| **owner == Some(number)).map(|(socket, _)| socket)
    }

    pub(super) fn address(&self) -> Address {
        self.sockets
            .first()
            .map_or_else(|| address(&self.wanted), |socket| socket.address().clone())
    }

    /// True exactly when these sockets, of address `wanted`, do for `listener`: what else differs can
    /// be changed on an open socket. Port 0 is another one for each listener.
    pub(super) fn do_for(&self, wanted: &ListenAddress, listener: &Listener) -> bool {
        match wanted {
            ListenAddress::Unix(_) => true,
            ListenAddress::Tcp(address) => {
                self.options.interface == listener.interface
                    && (address.port() != 0 || self.listener == listener.name)
            }
        }
    }

    /// True exactly when binding `wanted` as if alone would fail for these sockets.
    pub(super) fn meet(&self, wanted: &ListenAddress) -> bool {
        let (Address::Tcp(ours), ListenAddress::Tcp(theirs)) = (self.address(), wanted) else {
            return false;
        };
        let any = ours.ip().is_unspecified() || theirs.ip().is_unspecified();
        let same_family = ours.is_ipv4() == theirs.is_ipv4();
        same_family && ours.port() == theirs.port() && (any || ours.ip() == theirs.ip())
    }

    /// Whether the open sockets can have `options`.
    pub(super) fn try_change(&self, options: &ListenOptions) -> io::Result<()> {
        match self.sockets.first() {
            Some(socket) if self.options != *options => socket.try_change(&self.options, options),
            Some(_) | None => Ok(()),
        }
    }

    /// Sets on the open sockets what `options` say differently, or nothing of it.
    fn change(&mut self, options: ListenOptions) {
        let change = |socket: &Arc<ListeningSocket>| socket.change(&self.options, &options);
        let Err(error) = self.sockets.iter().try_for_each(change) else {
            return self.options = options;
        };
        // What could be done a moment ago on a socket that was thrown away.
        let address = self.address();
        tracing::error!(listener = &*self.listener, %address, %error, "cannot change its options");
        for socket in &self.sockets {
            let _ = socket.change(&options, &self.options);
        }
    }
}

/// A socket that changes hands.
#[derive(Debug)]
pub(super) struct Handed {
    place: usize,
    pub(super) socket: Arc<ListeningSocket>,
    pub(super) to: usize,
    pub(super) from: Option<usize>,
}

/// What listens.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) sockets: Vec<Sockets>,
    /// Addresses that the file does not name any more, and that still have clients waiting.
    pub(super) retiring: Vec<Retiring>,
    pub(super) next_id: u32,
}

impl Listening {
    /// Binds and listens on every address of `config` that is new, with one socket for each worker.
    ///
    /// All are bound before one listens, so that nothing is half done when one fails.
    pub(super) fn prepare(
        &self,
        config: &Config,
        workers: usize,
    ) -> Result<Prepared, Vec<Refusal>> {
        let mut preparing = Preparing::new(self, config, workers);
        for listener in &config.listeners {
            listener.addresses.iter().for_each(|wanted| preparing.add(listener, wanted));
        }
        preparing.finish()
    }

    /// Takes what is prepared into use. Returns the addresses that are to be given up.
    pub(super) fn commit(&mut self, prepared: Prepared) -> Vec<Sockets> {
        let mut old: Vec<Option<Sockets>> =
            std::mem::take(&mut self.sockets).into_iter().map(Some).collect();
        self.next_id = prepared.next_id;
        for Wanted { id, listener, address: wanted, options, way } in prepared.take() {
            let (kept, more) = match way {
                Way::Stays { index, more } => (old.get_mut(index).and_then(Option::take), more),
                Way::ComesBack { id, more } => (self.come_back(id), more),
                Way::Fresh(sockets) => (None, sockets),
            };
            let mut sockets = match kept {
                Some(sockets) => Sockets { listener, ..sockets },
                None => {
                    let (options, sockets, owners) = (options.clone(), Vec::new(), Vec::new());
                    Sockets { id, listener, wanted, options, sockets, owners, again: false }
                }
            };
            sockets.change(options);
            sockets.sockets.extend(more.into_iter().map(Arc::new));
            self.sockets.push(sockets);
        }
        old.into_iter().flatten().collect()
    }

    /// Every address.
    pub(super) fn bound(&self) -> Vec<Bound> {
        let bound = |sockets: &Sockets| Bound {
            listener: Arc::clone(&sockets.listener),
            address: sockets.address(),
        };
        self.sockets.iter().map(bound).collect()
    }

    /// Tells of the addresses that are `meant`.
    pub(super) fn announce(&self, meant: impl Fn(SocketId) -> bool) {
        for bound in self.sockets.iter().filter(|it| meant(it.id)).take(TOLD) {
            tracing::info!(listener = &*bound.listener, address = %bound.address(), "listening");
        }
    }

    fn come_back(&mut self, id: SocketId) -> Option<Sockets> {
        let index = self.retiring.iter().position(|retiring| retiring.id() == id)?;
        Some(self.retiring.remove(index).undo())
    }
}

pub(super) fn address(wanted: &ListenAddress) -> Address {
    match wanted {
        ListenAddress::Tcp(address) => Address::Tcp(*address),
        ListenAddress::Unix(path) => Address::Unix(path.clone()),
    }
}
