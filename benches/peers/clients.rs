//! All clients of a measurement, on the thread of the caller.
//!
//! As fast as they go (`run`), which tells what a unit of work costs; or when they are due (`run_at`),
//! which tells how long one waits: a client that waits for its answer does not put off the next
//! question, as it would if each began when the one before is done (coordinated omission).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::client::{Client, Tally, Turn};
use crate::server::CHUNK;
use crate::timer::Timer;
use crate::workload::{Plan, Then};

/// Exchanges of a `Then::Rest` plan that are under way at a time.
const AT_A_TIME: usize = 16;

/// After so many errors a measurement is worth nothing and is given up.
const MOST_ERRORS: u64 = 1_000;

/// Longest that exchanges under way may still take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The timer's events; no client has this number.
const TIMER: Token = Token(usize::MAX);

/// All clients of one measurement.
pub(crate) struct Clients {
    address: SocketAddr,
    plan: Plan,
    poll: Poll,
    clients: Slab<Client>,
    scratch: Vec<u8>,
    /// Connections still to be opened.
    waiting: usize,
    /// Exchanges under way.
    busy: usize,
    /// Those that a turn did not bring to an end.
    unfinished: VecDeque<usize>,
    /// Connections with nothing under way, or places for one; none where each exchange follows the
    /// one before at once.
    free: Option<VecDeque<Option<usize>>>,
    pub(crate) tally: Tally,
    /// Nanoseconds of the exchanges.
    pub(crate) latency: Histogram<u64>,
}

impl Clients {
    pub(crate) fn new(address: SocketAddr, plan: Plan) -> io::Result<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            address,
            plan,
            poll: Poll::new()?,
            clients: Slab::new(),
            scratch: vec![0xa5; CHUNK],
            waiting: plan.connections,
            busy: 0,
            unfinished: VecDeque::new(),
            free: None,
            tally: Tally::default(),
            latency,
        })
    }

    /// Goes on for so long, or until all clients rest.
    pub(crate) fn run(&mut self, duration: Duration) -> io::Result<()> {
        for place in self.free.take().unwrap_or_default() {
            self.begin(place, Instant::now())?;
        }
        let end = Instant::now() + duration;
        let mut events = Events::with_capacity(1024);
        while self.open()? && self.tally.errors < MOST_ERRORS {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.step(&mut events, left)?;
        }
        Ok(())
    }

    /// Begins `rate` exchanges a second for so long, each when it is due or, if all connections are
    /// taken, when one becomes free. Latencies count from when it was due; what has no answer after
    /// twice the time counts as long as it has waited.
    pub(crate) fn run_at(&mut self, rate: f64, duration: Duration) -> io::Result<()> {
        self.come_to_rest()?;
        self.latency.reset();
        let mut timer = Timer::every(Duration::from_secs_f64(1.0 / rate))?;
        self.poll.registry().register(&mut timer.source(), TIMER, Interest::READABLE)?;
        let mut events = Events::with_capacity(1024);
        let begin = Instant::now();
        let end = begin + 2 * duration;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is below a million"
        )]
        let all = (rate * duration.as_secs_f64()) as u32;
        let due = |number: u32| begin + Duration::from_secs_f64(f64::from(number) / rate);
        let mut next = 0;
        while (next < all || self.busy > 0) && self.tally.errors < MOST_ERRORS {
            let now = Instant::now();
            if now >= end {
                break;
            }
            while next < all && due(next) <= now {
                let Some(place) = self.free.as_mut().and_then(VecDeque::pop_front) else { break };
                self.begin(place, due(next))?;
                next += 1;
            }
            self.step(&mut events, end - now)?;
            timer.clear();
        }
        let now = Instant::now();
        (next..all).for_each(|number| self.record(now - due(number)));
        let unanswered: Vec<Duration> =
            self.clients.iter().filter(|(_, it)| !it.rests).map(|(_, it)| now - it.began).collect();
        unanswered.into_iter().for_each(|waited| self.record(waited));
        self.poll.registry().deregister(&mut timer.source())
    }

    /// Lets every exchange under way end; then its connection is free, until work goes on.
    pub(crate) fn come_to_rest(&mut self) -> io::Result<()> {
        let free = self.free.get_or_insert_default();
        free.extend((0..std::mem::take(&mut self.waiting)).map(|_| None));
        let end = Instant::now() + PATIENCE;
        let mut events = Events::with_capacity(1024);
        while self.busy > 0 && Instant::now() < end && self.tally.errors < MOST_ERRORS {
            self.step(&mut events, PATIENCE)?;
        }
        self.tally.errors += self.busy as u64;
        Ok(())
    }

    /// An exchange on a free connection, or on a new one in its place.
    fn begin(&mut self, place: Option<usize>, due: Instant) -> io::Result<()> {
        match place.and_then(|key| Some((key, self.clients.get_mut(key)?))) {
            Some((key, client)) => {
                client.again(&self.plan, due);
                self.busy += 1;
                self.turn(key)
            }
            None => self.connect(due),
        }
    }

    /// Counts connections that have ended although nothing was under way on them.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        self.step(&mut Events::with_capacity(1024), Duration::ZERO)
    }

    /// Waits so long at most, and does what the events allow.
    fn step(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        let patience = if self.unfinished.is_empty() { patience } else { Duration::ZERO };
        match self.poll.poll(events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for key in std::mem::take(&mut self.unfinished) {
            self.turn(key)?;
        }
        events.iter().try_for_each(|event| self.turn(event.token().0))
    }

    /// Opens what is to be opened now. False: nobody has anything to do any more.
    fn open(&mut self) -> io::Result<bool> {
        let room = if self.plan.then == Then::Rest { AT_A_TIME } else { usize::MAX };
        while self.waiting > 0 && self.busy < room {
            self.waiting -= 1;
            self.connect(Instant::now())?;
        }
        Ok(self.busy > 0)
    }

    fn connect(&mut self, began: Instant) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let entry = self.clients.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(entry.key()), interest)?;
        entry.insert(Client::new(stream, &self.plan, began));
        self.busy += 1;
        Ok(())
    }

    fn turn(&mut self, key: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        loop {
            match client.turn(&mut self.scratch, &mut self.tally) {
                Turn::Wait => return Ok(()),
                Turn::More => {
                    self.unfinished.push_back(key);
                    return Ok(());
                }
                Turn::Failed => {
                    self.tally.errors += 1;
                    self.busy -= usize::from(!client.rests);
                    return self.replace(key);
                }
                Turn::Done => self.tally.exchanges += 1,
            }
            let nanoseconds = u64::try_from(client.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record(nanoseconds.max(1));
            match (self.plan.then, &mut self.free) {
                (Then::Again, None) => client.again(&self.plan, Instant::now()),
                (Then::Reconnect, None) => {
                    self.busy -= 1;
                    return self.replace(key);
                }
                (then, free) => {
                    self.busy -= 1;
                    client.rests = true;
                    let stays = then != Then::Reconnect;
                    free.iter_mut().for_each(|free| free.push_back(stays.then_some(key)));
                    if !stays {
                        self.clients.remove(key);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn replace(&mut self, key: usize) -> io::Result<()> {
        self.clients.remove(key);
        self.connect(Instant::now())
    }

    fn record(&mut self, waited: Duration) {
        self.latency.saturating_record(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_has_no_answer_counts_from_when_it_was_due() {
        // Connections are established, and nobody ever reads from them.
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan { connections: 2, send: 1, receive: 1, then: Then::Again };
        let mut clients = Clients::new(deaf.local_addr().unwrap(), plan).unwrap();
        clients.run_at(100.0, Duration::from_millis(200)).unwrap();
        // Two are under way, and the others wait for them: none is left out. Each is given up at
        // 400 ms, and the last was due at 190 ms.
        assert_eq!(clients.latency.len(), 20);
        let milliseconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_millis();
        assert!(milliseconds(clients.latency.min()) >= 209, "{}", clients.latency.min());
        assert!(milliseconds(clients.latency.max()) >= 399, "{}", clients.latency.max());
        assert_eq!(clients.tally.exchanges, 0);
    }
}
