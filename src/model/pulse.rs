//! Whether a worker's loop turns, and what it is at: written by the worker, read by control.
//!
//! Plain stores, so that a turn costs next to nothing. Whoever reads while the loop turns may read
//! parts of two moments; what counts is read when nothing has moved for seconds.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

use super::{Backend, Listener};
use crate::net::Peer;
use crate::plugin::Phase;

/// What a loop is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Between two of the others.
    Loop,
    /// Commands, a new snapshot.
    Commands,
    /// Accepting clients.
    Accept,
    /// Asking guards about a client.
    Guards,
    /// A session that looks for an upstream, which asks the pool's policy.
    Connect,
    /// A session that moves bytes.
    Relay,
    /// A session of which one side has aborted.
    Abort,
}

impl From<Phase> for Work {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Accept | Phase::Connect => Self::Connect,
            Phase::Relay => Self::Relay,
            Phase::Abort => Self::Abort,
        }
    }
}

impl Work {
    const ALL: [Self; 7] = [
        Self::Loop,
        Self::Commands,
        Self::Accept,
        Self::Guards,
        Self::Connect,
        Self::Relay,
        Self::Abort,
    ];

    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Commands => "commands",
            Self::Accept => "accept",
            Self::Guards => "guards",
            Self::Connect => "connect",
            Self::Relay => "relay",
            Self::Abort => "abort",
        }
    }
}

/// The signs of life of one worker, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Pulse {
    /// Grows when the poll is left and when it is entered again: odd while the loop is at work.
    beat: AtomicU64,
    work: AtomicU8,
    /// True exactly when control has told that the loop does not turn, and not yet that it does.
    stands: AtomicBool,
    /// Zero: none. Else the address in memory, which is compared and never followed.
    listener: AtomicUsize,
    backend: AtomicUsize,
    /// Zero: no port, so not TCP.
    port: AtomicU16,
    address: [AtomicU64; 2],
}

/// What a worker is at, as far as it is known.
#[derive(Debug)]
pub struct Standing {
    /// What it does.
    pub work: Work,
    /// The address in memory of the listener that it serves; 0 if none.
    pub listener: usize,
    /// The address in memory of the backend that it deals with; 0 if none.
    pub backend: usize,
    /// The client that it serves.
    pub client: Option<SocketAddr>,
}

impl Pulse {
    /// The poll is left: work begins.
    pub fn begin(&self) {
        self.beat.store(self.beat.load(Relaxed) | 1, Relaxed);
    }

    /// Work is over: the poll comes next, or the end.
    pub fn rest(&self) {
        let beat = self.beat.load(Relaxed);
        self.beat.store(beat + (beat & 1), Relaxed);
    }

    /// How often it changed between work and rest: odd exactly when it is at work. One that works
    /// and has the same beat as before has not turned since.
    pub fn beat(&self) -> u64 {
        self.beat.load(Relaxed)
    }

    /// Notes whether it was told that the loop does not turn.
    pub fn set_stands(&self, stands: bool) {
        self.stands.store(stands, Relaxed);
    }

    /// True exactly when it was told that the loop does not turn.
    pub fn stands(&self) -> bool {
        self.stands.load(Relaxed)
    }

    /// Turns of the loop that have begun.
    pub fn turns(&self) -> u64 {
        self.beat().div_ceil(2)
    }

    /// Notes work that is done for nobody in particular.
    pub fn at(&self, work: Work) {
        self.work.store(work as u8, Relaxed);
        self.listener.store(0, Relaxed);
        self.backend.store(0, Relaxed);
        self.port.store(0, Relaxed);
    }

    /// Notes work that is done for a client.
    pub fn at_client(
        &self,
        work: Work,
        listener: &Arc<Listener>,
        client: &Peer,
        backend: Option<&Arc<Backend>>,
    ) {
        self.work.store(work as u8, Relaxed);
        self.listener.store(Arc::as_ptr(listener) as usize, Relaxed);
        self.backend.store(backend.map_or(0, |it| Arc::as_ptr(it) as usize), Relaxed);
        let Peer::Tcp(client) = client else { return self.port.store(0, Relaxed) };
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let [high, low] = halves(ip);
        self.address[0].store(high, Relaxed);
        self.address[1].store(low, Relaxed);
        self.port.store(client.port(), Relaxed);
    }

    /// What it is at.
    pub fn standing(&self) -> Standing {
        let work = Work::ALL.get(usize::from(self.work.load(Relaxed))).copied();
        let [high, low] = &self.address;
        let ip = u128::from(high.load(Relaxed)) << 64 | u128::from(low.load(Relaxed));
        let port = self.port.load(Relaxed);
        let client = SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port);
        Standing {
            work: work.unwrap_or(Work::Loop),
            listener: self.listener.load(Relaxed),
            backend: self.backend.load(Relaxed),
            client: (port != 0).then_some(client),
        }
    }
}

fn halves(ip: Ipv6Addr) -> [u64; 2] {
    let bits = ip.to_bits();
    #[allow(clippy::cast_possible_truncation, reason = "each half has 64 bits")]
    [(bits >> 64) as u64, bits as u64]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use super::*;
    use crate::model::{Counters, Limit, NoWaiters, RateLimiter, Throttle};

    #[test]
    fn work_is_odd_and_rest_is_even_however_often_each_is_noted() {
        let pulse = Pulse::default();
        assert_eq!(pulse.beat(), 0);
        pulse.rest();
        assert_eq!(pulse.beat(), 0);
        pulse.begin();
        pulse.begin();
        assert_eq!(pulse.beat(), 1);
        pulse.rest();
        pulse.rest();
        assert_eq!(pulse.beat(), 2);
        pulse.begin();
        assert_eq!(pulse.beat(), 3);
    }

    #[test]
    fn every_work_is_read_as_it_was_noted() {
        let pulse = Pulse::default();
        let names: BTreeSet<&str> = Work::ALL.iter().map(|work| work.name()).collect();
        assert_eq!(names.len(), Work::ALL.len());
        for work in Work::ALL {
            pulse.at(work);
            assert_eq!(pulse.standing().work, work);
            assert_eq!(pulse.standing().client, None);
        }
    }

    #[test]
    fn a_session_is_read_as_it_was_noted() {
        let listener = Arc::new(Listener {
            name: "web".into(),
            limit: Arc::new(Limit::new(None, Arc::new(NoWaiters))),
            rate: RateLimiter::new(None, Instant::now()),
            counters: Counters::default(),
            complaints: Throttle::default(),
        });
        let pulse = Pulse::default();
        for text in ["192.0.2.7:443", "[2001:db8:1:2:3:4:5:6]:65535", "[::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            pulse.at_client(Work::Guards, &listener, &Peer::Tcp(address), None);
            let standing = pulse.standing();
            assert_eq!(standing.work, Work::Guards);
            assert_eq!(standing.client, Some(address));
            assert_eq!(standing.listener, Arc::as_ptr(&listener) as usize);
            assert_eq!(standing.backend, 0);
        }
        pulse.at_client(Work::Relay, &listener, &Peer::Unix, None);
        assert_eq!(pulse.standing().client, None);
        pulse.at(Work::Loop);
        assert_eq!(pulse.standing().listener, 0);
    }
}
