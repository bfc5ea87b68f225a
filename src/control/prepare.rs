//! Binding and listening on all that a file names anew, before anything is changed; or saying of each
//! address why not.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::sockets::{Listening, Refusal, Sockets, address};
use crate::config::{Config, ListenAddress, Listener, Pool};
use crate::model::{SocketId, keepalive};
use crate::net::{Address, Company, ListenOptions, ListeningSocket};

/// How an address of the file is come by.
pub(super) enum Way {
    /// It is listened on: these sockets stay, with `more` beside them for more workers.
    Stays { index: usize, more: Vec<ListeningSocket> },
    /// It was being given up.
    ComesBack { id: SocketId, more: Vec<ListeningSocket> },
    /// It is new.
    Fresh(Vec<ListeningSocket>),
}

/// Every address of a file, ready to be taken into use, with nothing changed yet.
pub(super) struct Prepared {
    pub(super) ways: Vec<Wanted>,
    pub(super) next_id: u32,
}

/// One address of a file.
pub(super) struct Wanted {
    pub(super) id: SocketId,
    pub(super) listener: Arc<str>,
    pub(super) address: ListenAddress,
    pub(super) options: ListenOptions,
    pub(super) way: Way,
}

/// A file's addresses while they are gone through.
pub(super) struct Preparing<'a> {
    workers: usize,
    /// Sockets that are there or being given up, by what the file calls their address. Each is taken
    /// out when it has found its address.
    there: HashMap<&'a ListenAddress, Vec<(Place, &'a Sockets)>>,
    /// All of them, by port.
    ports: HashMap<u16, Vec<&'a Sockets>>,
    pools: HashMap<&'a str, &'a Pool>,
    prepared: Prepared,
    refusals: Vec<Refusal>,
}

/// Where sockets stand.
#[derive(Debug, Clone, Copy)]
enum Place {
    Listening(usize),
    Retiring,
}

impl<'a> Preparing<'a> {
    pub(super) fn new(listening: &'a Listening, config: &'a Config, workers: usize) -> Self {
        let mut there: HashMap<_, Vec<_>> = HashMap::new();
        let mut ports: HashMap<_, Vec<_>> = HashMap::new();
        let now = listening.sockets.iter().enumerate();
        let now = now.map(|(index, sockets)| (Place::Listening(index), sockets));
        let going = listening.retiring.iter().map(|it| (Place::Retiring, &it.sockets));
        for (place, sockets) in now.chain(going) {
            there.entry(&sockets.wanted).or_default().push((place, sockets));
            if let Address::Tcp(address) = sockets.address() {
                ports.entry(address.port()).or_default().push(sockets);
            }
        }
        let pools = config.pools.iter().map(|pool| (&*pool.name, pool)).collect();
        let prepared = Prepared { ways: Vec::new(), next_id: listening.next_id };
        Self { workers, there, ports, pools, prepared, refusals: Vec::new() }
    }

    pub(super) fn add(&mut self, listener: &Listener, wanted: &ListenAddress) {
        let options = options(listener, self.pools.get(&*listener.pool).copied());
        match self.find_way(listener, wanted, &options) {
            Ok((id, way)) => {
                let (listener, address) = (Arc::clone(&listener.name), wanted.clone());
                self.prepared.ways.push(Wanted { id, listener, address, options, way });
            }
            Err(error) => self.refusals.push(refusal(&listener.name, wanted, error)),
        }
    }

    /// All of it, or everything that is in the way of it.
    pub(super) fn finish(self) -> Result<Prepared, Vec<Refusal>> {
        let Self { prepared, mut refusals, .. } = self;
        if refusals.is_empty() {
            refusals = prepared.listen();
        }
        if refusals.is_empty() { Ok(prepared) } else { Err(refusals) }
    }

    fn find_way(
        &mut self,
        listener: &Listener,
        wanted: &ListenAddress,
        options: &ListenOptions,
    ) -> io::Result<(SocketId, Way)> {
        if let Some((place, sockets)) = self.find(listener, wanted) {
            sockets.try_change(options)?;
            let more = join(sockets, options, self.workers)?;
            let way = match place {
                Place::Listening(index) => Way::Stays { index, more },
                Place::Retiring => Way::ComesBack { id: sockets.id, more },
            };
            return Ok((sockets.id, way));
        }
        let on_port = self.ports.get(&port(wanted)).into_iter().flatten();
        let company = match on_port.into_iter().any(|sockets| sockets.meet(wanted)) {
            true => Company::Ours,
            false => Company::None,
        };
        let sockets = ListeningSocket::bind(&address(wanted), options, self.workers, company)?;
        let id = SocketId(self.prepared.next_id);
        self.prepared.next_id = self.prepared.next_id.wrapping_add(1);
        Ok((id, Way::Fresh(sockets)))
    }

    /// Sockets that do for the address, taken out. A unix socket that turned clients away cannot
    /// welcome them again.
    fn find(
        &mut self,
        listener: &Listener,
        wanted: &ListenAddress,
    ) -> Option<(Place, &'a Sockets)> {
        let there = self.there.get_mut(wanted)?;
        let unix = matches!(wanted, ListenAddress::Unix(_));
        let index = there.iter().position(|(place, sockets)| {
            let open = !unix || matches!(place, Place::Listening(_));
            open && sockets.do_for(wanted, listener)
        })?;
        Some(there.remove(index))
    }
}

/// As many more sockets as `workers` need beside those that are there.
fn join(
    sockets: &Sockets,
    options: &ListenOptions,
    workers: usize,
) -> io::Result<Vec<ListeningSocket>> {
    let missing = workers.saturating_sub(sockets.sockets.len());
    if missing == 0 || matches!(sockets.wanted, ListenAddress::Unix(_)) {
        return Ok(Vec::new());
    }
    ListeningSocket::bind(&sockets.address(), options, missing, Company::Ours)
}

impl Prepared {
    /// Which address serves which listener.
    pub(super) fn places(&self) -> Vec<(SocketId, Arc<str>)> {
        self.ways.iter().map(|wanted| (wanted.id, Arc::clone(&wanted.listener))).collect()
    }

    /// The addresses, to be taken into use.
    pub(super) fn take(mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.ways)
    }

    fn sockets(&self) -> impl Iterator<Item = &ListeningSocket> {
        self.ways.iter().flat_map(|wanted| wanted.way.sockets())
    }

    fn listen(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for Wanted { listener, address, options, way, .. } in &self.ways {
            let failed =
                way.sockets().iter().find_map(|socket| socket.listen(options.backlog).err());
            refusals.extend(failed.map(|error| refusal(listener, address, error)));
        }
        refusals
    }
}

/// Not taken into use, it leaves no file behind.
impl Drop for Prepared {
    fn drop(&mut self) {
        self.sockets().for_each(ListeningSocket::unlink);
    }
}

impl Way {
    /// Those that were made for it.
    fn sockets(&self) -> &[ListeningSocket] {
        match self {
            Self::Stays { more, .. } | Self::ComesBack { more, .. } => more,
            Self::Fresh(sockets) => sockets,
        }
    }
}

fn refusal(listener: &Arc<str>, address: &ListenAddress, error: io::Error) -> Refusal {
    Refusal { listener: Arc::clone(listener), address: address.clone(), error }
}

/// What sockets of `listener` are made with. What is accepted inherits the pool's keepalive.
fn options(listener: &Listener, pool: Option<&Pool>) -> ListenOptions {
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

fn port(wanted: &ListenAddress) -> u16 {
    match wanted {
        ListenAddress::Tcp(address) => address.port(),
        ListenAddress::Unix(_) => 0,
    }
}
