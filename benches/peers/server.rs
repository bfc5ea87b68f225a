//! The servers behind the proxies: echo, source and sink, on one thread.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::workload::Service;

/// Bytes moved by one call.
pub(crate) const CHUNK: usize = 256 << 10;

/// Calls, or connections accepted, before others have their turn.
pub(crate) const BUDGET: usize = 16;

/// Longest wait for events, after which the thread looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// The servers and their thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addresses: Vec<(Service, SocketAddr)>,
    sunk: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Listens on ports that the kernel chooses.
    pub(crate) fn start() -> io::Result<Self> {
        let (sunk, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut servant = Servant {
            poll: Poll::new()?,
            places: Slab::new(),
            unfinished: VecDeque::new(),
            scratch: vec![0x5a; CHUNK],
            sunk: Arc::clone(&sunk),
        };
        let mut addresses = Vec::new();
        for service in Service::ALL {
            let listener = listen()?;
            addresses.push((service, listener.local_addr()?));
            servant.add(Place::Listener(listener, service))?;
        }
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || servant.run(&told));
        Ok(Self { addresses, sunk, stop, thread: Some(thread) })
    }

    pub(crate) fn address(&self, service: Service) -> SocketAddr {
        let found = self.addresses.iter().find(|(offered, _)| *offered == service);
        found.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |(_, address)| *address)
    }

    /// Bytes that the sink has taken.
    pub(crate) fn sunk(&self) -> u64 {
        self.sunk.load(Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    // What it accepts inherits this.
    socket.set_tcp_nodelay(true)?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What is polled.
enum Place {
    Listener(TcpListener, Service),
    Connection(Connection),
}

struct Connection {
    stream: TcpStream,
    service: Service,
    /// What the client would not take yet.
    pending: Vec<u8>,
}

/// Whether something could go on at once, or waits for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Wait,
    More,
}

struct Servant {
    poll: Poll,
    places: Slab<Place>,
    /// Those that a turn did not bring to an end.
    unfinished: VecDeque<usize>,
    scratch: Vec<u8>,
    sunk: Arc<AtomicU64>,
}

impl Servant {
    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !stop.load(Relaxed) {
            let patience = if self.unfinished.is_empty() { PATIENCE } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for key in std::mem::take(&mut self.unfinished) {
                self.serve(key)?;
            }
            events.iter().try_for_each(|event| self.serve(event.token().0))?;
        }
        Ok(())
    }

    fn add(&mut self, mut place: Place) -> io::Result<()> {
        let entry = self.places.vacant_entry();
        let (registry, token) = (self.poll.registry(), Token(entry.key()));
        match &mut place {
            Place::Listener(listener, _) => {
                registry.register(listener, token, Interest::READABLE)?;
            }
            Place::Connection(of) => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut of.stream, token, interest)?;
            }
        }
        entry.insert(place);
        Ok(())
    }

    fn serve(&mut self, key: usize) -> io::Result<()> {
        let turn = match self.places.get_mut(key) {
            None => return Ok(()),
            Some(Place::Listener(listener, service)) => {
                let service = *service;
                let accepted: Vec<_> = (0..BUDGET).map_while(|_| listener.accept().ok()).collect();
                let turn = if accepted.len() == BUDGET { Turn::More } else { Turn::Wait };
                for (stream, _) in accepted {
                    self.add(Place::Connection(Connection {
                        stream,
                        service,
                        pending: Vec::new(),
                    }))?;
                }
                turn
            }
            Some(Place::Connection(connection)) => {
                match connection.serve(&mut self.scratch, &self.sunk) {
                    Ok(turn) => turn,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Wait,
                    // An error, or the end.
                    Err(_) => {
                        self.places.remove(key);
                        Turn::Wait
                    }
                }
            }
        };
        if turn == Turn::More {
            self.unfinished.push_back(key);
        }
        Ok(())
    }
}

impl Connection {
    /// Goes on until the kernel would have it wait, which is an error here, as the end is.
    fn serve(&mut self, scratch: &mut [u8], sunk: &AtomicU64) -> io::Result<Turn> {
        for _ in 0..BUDGET {
            match self.service {
                Service::Source => {
                    self.stream.write(scratch).map(drop)?;
                }
                Service::Sink => {
                    sunk.fetch_add(self.read(scratch)? as u64, Relaxed);
                }
                Service::Echo | Service::First => self.echo(scratch)?,
            }
        }
        Ok(Turn::More)
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(scratch)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }

    fn echo(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        if !self.pending.is_empty() {
            let sent = self.stream.write(&self.pending)?;
            self.pending.drain(..sent);
            if self.pending.is_empty() {
                self.pending = Vec::new();
            }
            return Ok(());
        }
        let count = self.read(scratch)?;
        let sent = match self.stream.write(&scratch[..count]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        self.pending.extend_from_slice(&scratch[sent..count]);
        Ok(())
    }
}
