//! The servers behind the proxies: echo, source and sink, on one thread.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use slab::Slab;

use crate::workload::Service;

/// Bytes moved by one call.
pub(crate) const CHUNK: usize = 256 << 10;

/// Connections accepted for one event.
const BATCH: usize = 64;

/// Longest wait for events, after which the thread looks whether it is to end.
const PATIENCE: i64 = 100;

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
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            places: Slab::new(),
            scratch: vec![0x5a; CHUNK],
            sunk: Arc::clone(&sunk),
        };
        let mut addresses = Vec::new();
        for service in Service::ALL {
            let listener = listen()?;
            addresses.push((service, listener.local_addr()?));
            servant.add(Place::Listener(listener, service), EventFlags::IN)?;
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
    socket.set_tcp_nodelay(true)?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
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

struct Servant {
    epoll: OwnedFd,
    places: Slab<Place>,
    scratch: Vec<u8>,
    sunk: Arc<AtomicU64>,
}

impl Servant {
    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: PATIENCE * 1_000_000 };
        while !stop.load(Relaxed) {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&patience)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.serve(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, place: Place, interest: EventFlags) -> io::Result<()> {
        let entry = self.places.vacant_entry();
        let data = EventData::new_u64(entry.key() as u64);
        match &place {
            Place::Listener(listener, _) => epoll::add(&self.epoll, listener, data, interest)?,
            Place::Connection(of) => epoll::add(&self.epoll, &of.stream, data, interest)?,
        }
        entry.insert(place);
        Ok(())
    }

    fn serve(&mut self, key: usize) -> io::Result<()> {
        match self.places.get_mut(key) {
            None => Ok(()),
            Some(Place::Listener(listener, service)) => {
                let service = *service;
                let accepted = (0..BATCH).map_while(|_| listener.accept().ok()).collect::<Vec<_>>();
                accepted.into_iter().try_for_each(|(stream, _)| self.welcome(stream, service))
            }
            Some(Place::Connection(connection)) => {
                let was_pending = !connection.pending.is_empty();
                let result = connection.serve(&mut self.scratch, &self.sunk);
                let is_pending = !connection.pending.is_empty();
                if result.is_err() {
                    self.places.remove(key);
                } else if was_pending != is_pending {
                    let interest = if is_pending { EventFlags::OUT } else { EventFlags::IN };
                    let data = EventData::new_u64(key as u64);
                    epoll::modify(&self.epoll, connection.stream.as_fd(), data, interest)?;
                }
                Ok(())
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, service: Service) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let interest = if service == Service::Source { EventFlags::OUT } else { EventFlags::IN };
        self.add(Place::Connection(Connection { stream, service, pending: Vec::new() }), interest)
    }
}

impl Connection {
    /// Does what one event allows. An error also stands for the end.
    fn serve(&mut self, scratch: &mut [u8], sunk: &AtomicU64) -> io::Result<()> {
        let result = match self.service {
            Service::Source => self.stream.write(scratch).map(|_| ()),
            Service::Sink => self.read(scratch).map(|count| {
                sunk.fetch_add(count as u64, Relaxed);
            }),
            Service::Echo | Service::EchoClientFirst => self.echo(scratch),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
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
