//! Thousands of connections at once: a backend that holds them on one thread, and what their clients
//! see. Nothing here panics for what a proxy does wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::{RecvFlags, recv};
use slab::Slab;

use super::support::{Peer, Served, comes_true, pause};

/// A connection whose first byte is this gets bytes for as long as it is open.
pub const BLAST: u8 = b'!';

/// What a debug build may be slower by.
pub const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

/// Bytes that are read or written at once.
const PIECE: usize = 64 * 1024;

/// The token of the listening socket.
const LISTENER: u64 = u64::MAX;

/// Echoes what is small, and blasts whoever asks for it. It lives as long as this value.
#[derive(Debug)]
pub struct Crowd {
    served: Served<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Connections open now.
    live: AtomicUsize,
    /// All that there ever were.
    accepted: AtomicUsize,
}

impl Crowd {
    /// Starts it.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts it where one was before.
    pub fn at(address: SocketAddr) -> Self {
        let run = |listener, counts: &Counts, stop: &AtomicBool| {
            Loop::new(listener, counts).run(stop);
        };
        Self { served: Served::at(address, run) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Connections open now.
    pub fn live(&self) -> usize {
        self.served.counts().live.load(Ordering::SeqCst)
    }

    /// Connections that it has ever had.
    pub fn accepted(&self) -> usize {
        self.served.counts().accepted.load(Ordering::SeqCst)
    }
}

struct Member {
    stream: TcpStream,
    blasts: bool,
    /// What it is to get back and had no room for; meanwhile nothing more is read.
    owed: Vec<u8>,
}

struct Loop<'a> {
    listener: TcpListener,
    counts: &'a Counts,
    epoll: OwnedFd,
    members: Slab<Member>,
    scratch: Vec<u8>,
}

impl<'a> Loop<'a> {
    fn new(listener: TcpListener, counts: &'a Counts) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).unwrap();
        Self { listener, counts, epoll, members: Slab::new(), scratch: vec![b'.'; PIECE] }
    }

    fn run(mut self, stop: &AtomicBool) {
        let look = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        while !stop.load(Ordering::SeqCst) {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            let _ = epoll::wait(&self.epoll, spare, Some(&look));
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    key => self.turn(usize::try_from(key).unwrap(), event.flags),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            let entry = self.members.vacant_entry();
            let token = EventData::new_u64(entry.key() as u64);
            epoll::add(&self.epoll, &stream, token, EventFlags::IN).unwrap();
            entry.insert(Member { stream, blasts: false, owed: Vec::new() });
            self.counts.accepted.fetch_add(1, Ordering::SeqCst);
            self.counts.live.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn turn(&mut self, key: usize, ready: EventFlags) {
        let Some(member) = self.members.get_mut(key) else { return };
        let before = member.wants();
        if member.turn(&mut self.scratch, ready).is_err() {
            self.members.remove(key);
            self.counts.live.fetch_sub(1, Ordering::SeqCst);
        } else if member.wants() != before {
            let token = EventData::new_u64(key as u64);
            epoll::modify(&self.epoll, &member.stream, token, member.wants()).unwrap();
        }
    }
}

impl Member {
    /// What it waits for.
    fn wants(&self) -> EventFlags {
        match (self.blasts, self.owed.is_empty()) {
            (true, _) => EventFlags::IN | EventFlags::OUT,
            (false, true) => EventFlags::IN,
            (false, false) => EventFlags::OUT,
        }
    }

    /// Does what one event allows; an error: it is to be closed.
    fn turn(&mut self, scratch: &mut [u8], ready: EventFlags) -> std::io::Result<()> {
        if !self.owed.is_empty() {
            let sent = written(self.stream.write(&self.owed))?;
            self.owed.drain(..sent);
            return Ok(());
        }
        if ready.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if scratch[0] == BLAST => self.blasts = true,
                Ok(count) => {
                    let sent = written(self.stream.write(&scratch[..count]))?;
                    self.owed.extend_from_slice(&scratch[sent..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if self.blasts && ready.contains(EventFlags::OUT) {
            scratch.fill(b'.');
            written(self.stream.write(scratch))?;
        }
        Ok(())
    }
}

/// How many were written; none where there is no room.
fn written(result: std::io::Result<usize>) -> std::io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// What has become of a client that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has been answered; the answer is not read yet.
    Served,
    /// Its connection has ended without one, by a FIN.
    Closed,
    /// The same, by a reset.
    Reset,
    /// None of these.
    Waiting,
}

/// What has become of it by now.
pub fn fate(client: &Peer) -> Fate {
    let mut byte = [0];
    match recv(client.stream(), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Fate::Closed,
        Ok(_) => Fate::Served,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Fate::Waiting,
        Err(_) => Fate::Reset,
    }
}

/// Waits until nobody waits any more, within a bound; what has become of each. The kernel tells of a
/// reset once, so whoever asks again is told of a FIN.
pub fn fates(clients: &[Peer], within: Duration) -> Vec<Fate> {
    let mut fates = vec![Fate::Waiting; clients.len()];
    comes_true(within, || {
        let waiting = |(_, known): &(&Peer, &mut Fate)| **known == Fate::Waiting;
        clients.iter().zip(&mut fates).filter(waiting).for_each(|(it, known)| *known = fate(it));
        !fates.contains(&Fate::Waiting)
    });
    fates
}

/// How many have this fate.
pub fn count(fates: &[Fate], wanted: Fate) -> usize {
    fates.iter().filter(|fate| **fate == wanted).count()
}

/// Asks and takes the answer; how long that took, `None` if none came.
pub fn trip(client: &Peer) -> Option<Duration> {
    let began = Instant::now();
    let mut stream = client.stream();
    stream.write_all(b"hello").ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).ok()?;
    (answer == *b"hello").then(|| began.elapsed())
}

/// Round trips that fail before no more are tried.
const MOST_UNANSWERED: usize = 5;

/// Round trips of all clients in turn, again and again for so long and at least once each; how many
/// got no answer, and how long the 99th of 100 took.
pub fn trips(clients: &[Peer], time: Duration) -> (usize, Duration) {
    let (end, mut times, mut unanswered) = (Instant::now() + time, Vec::new(), 0);
    loop {
        for client in clients {
            match trip(client) {
                Some(time) => times.push(time),
                None => unanswered += 1,
            }
            // Each has cost all of a client's patience.
            if unanswered >= MOST_UNANSWERED {
                return (unanswered, percentile(&mut times, 99));
            }
            // Spread over the time, for it is waiting that is measured and not work.
            pause(Duration::from_micros(200));
        }
        if Instant::now() >= end {
            return (unanswered, percentile(&mut times, 99));
        }
    }
}

/// Of these times so many percent are no longer; zero if there are none.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default()
}

/// The share of one CPU that these processes use while `time` passes, in percent.
pub fn load(processes: &[super::support::Process], time: Duration) -> f64 {
    let used = || processes.iter().map(|it| it.cpu()).sum::<Duration>();
    let (began, before) = (Instant::now(), used());
    pause(time);
    (used() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

/// In milliseconds, with one digit behind the point.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
