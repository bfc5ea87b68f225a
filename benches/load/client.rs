//! The clients: connections that send and receive by a plan, on the thread of the caller.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;

use crate::server::CHUNK;
use crate::workload::{Plan, Then};

/// Exchanges of a `Then::Rest` plan that are under way at a time.
const AT_A_TIME: usize = 16;

/// After so many errors a measurement is worth nothing and is given up.
const MOST_ERRORS: u64 = 1_000;

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Exchanges that were completed.
    pub(crate) exchanges: u64,
    /// Bytes received.
    pub(crate) received: u64,
    /// Connections that failed, or ended before they should.
    pub(crate) errors: u64,
}

struct Client {
    stream: TcpStream,
    to_send: usize,
    to_receive: usize,
    began: Instant,
    /// What the poll was asked for.
    interest: EventFlags,
    resting: bool,
}

/// All clients of one measurement.
pub(crate) struct Clients {
    address: SocketAddr,
    plan: Plan,
    epoll: OwnedFd,
    clients: Slab<Client>,
    scratch: Vec<u8>,
    /// Connections still to be opened.
    waiting: usize,
    busy: usize,
    pub(crate) tally: Tally,
    pub(crate) latency: Histogram<u64>,
}

/// What came of a client's turn.
enum Turn {
    Wait,
    Done,
    Failed,
}

impl Clients {
    pub(crate) fn new(address: SocketAddr, plan: Plan) -> io::Result<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            address,
            plan,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            clients: Slab::new(),
            scratch: vec![0xa5; CHUNK],
            waiting: plan.connections,
            busy: 0,
            tally: Tally::default(),
            latency,
        })
    }

    /// Goes on for so long, or until all clients rest.
    pub(crate) fn run(&mut self, duration: Duration) -> io::Result<()> {
        let end = Instant::now() + duration;
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        while self.open()? && self.tally.errors < MOST_ERRORS {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            events.clear();
            let left = rustix::event::Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.turn(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))?;
            }
        }
        Ok(())
    }

    /// Opens what is to be opened now. False: nobody has anything to do any more.
    fn open(&mut self) -> io::Result<bool> {
        let room = if self.plan.then == Then::Rest { AT_A_TIME } else { usize::MAX };
        while self.waiting > 0 && self.busy < room {
            self.waiting -= 1;
            self.connect()?;
        }
        Ok(self.busy > 0)
    }

    fn connect(&mut self) -> io::Result<()> {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM.nonblocking().cloexec(),
            None,
        )?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let stream: TcpStream = socket.into();
        let interest = if self.plan.send > 0 { EventFlags::OUT } else { EventFlags::IN };
        let entry = self.clients.vacant_entry();
        epoll::add(&self.epoll, &stream, EventData::new_u64(entry.key() as u64), interest)?;
        entry.insert(Client {
            stream,
            to_send: self.plan.send,
            to_receive: self.plan.receive,
            began: Instant::now(),
            interest,
            resting: false,
        });
        self.busy += 1;
        Ok(())
    }

    fn turn(&mut self, key: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        let mut turn = client.turn(&mut self.scratch, &mut self.tally);
        while matches!(turn, Turn::Done) {
            self.tally.exchanges += 1;
            let nanoseconds = u64::try_from(client.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record(nanoseconds.max(1));
            match self.plan.then {
                Then::Again => {
                    client.again(&self.plan);
                    turn = client.turn(&mut self.scratch, &mut self.tally);
                }
                Then::Reconnect => return self.replace(key),
                Then::Rest => {
                    client.resting = true;
                    self.busy -= 1;
                    break;
                }
            }
        }
        if matches!(turn, Turn::Failed) {
            self.tally.errors += 1;
            if client.resting {
                self.busy += 1;
            }
            return self.replace(key);
        }
        let wanted = client.wanted();
        if client.interest != wanted {
            client.interest = wanted;
            epoll::modify(&self.epoll, &client.stream, EventData::new_u64(key as u64), wanted)?;
        }
        Ok(())
    }

    fn replace(&mut self, key: usize) -> io::Result<()> {
        self.clients.remove(key);
        self.busy -= 1;
        self.connect()
    }
}

impl Client {
    fn again(&mut self, plan: &Plan) {
        self.to_send = plan.send;
        self.to_receive = plan.receive;
        self.began = Instant::now();
    }

    /// What the poll is to tell. While a large message is sent, its echo has to be read as well.
    fn wanted(&self) -> EventFlags {
        let out = if self.to_send > 0 { EventFlags::OUT } else { EventFlags::empty() };
        EventFlags::IN | out
    }

    /// Sends and receives what one event allows.
    fn turn(&mut self, scratch: &mut [u8], tally: &mut Tally) -> Turn {
        if self.resting {
            return Turn::Failed;
        }
        if self.to_send > 0 {
            match self.stream.write(&scratch[..self.to_send.min(CHUNK)]) {
                Ok(count) if self.to_send != usize::MAX => self.to_send -= count,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Turn::Failed,
            }
            // A reply cannot be there yet; for a large message some of it may.
            if self.to_receive <= scratch.len() {
                return Turn::Wait;
            }
        }
        if self.to_receive == 0 {
            return Turn::Wait;
        }
        match self.stream.read(&mut scratch[..self.to_receive.min(CHUNK)]) {
            Ok(0) => return Turn::Failed,
            Ok(count) => {
                tally.received += count as u64;
                if self.to_receive != usize::MAX {
                    self.to_receive -= count;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Turn::Failed,
        }
        if self.to_receive == 0 && self.to_send == 0 { Turn::Done } else { Turn::Wait }
    }
}
