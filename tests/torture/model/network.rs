//! Where a run takes place: a network namespace of its own, where root allows it, and what the kernel
//! counts there.

use std::net::{IpAddr, Ipv4Addr};

use super::driver::{self, Outcome, Run};
use super::slot::Slot;
use crate::support::{Forebay, Netns, Start};

/// A place for runs. Without root it is the machine's own namespace, whose counters others move too.
#[derive(Debug)]
pub struct Network {
    netns: Option<Netns>,
}

/// What the kernel counts of resets that it did not tell of, or told of without a cause.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// TCPACKSkippedChallenge: resets that were doubted, and not asked for again, by the rule of two
    /// a second (RFC 5961; tcp_invalid_ratelimit).
    pub unasked: u64,
    /// Segments thrown away for want of room: TCPRcvQDrop, TCPBacklogDrop, TCPZeroWindowDrop,
    /// RcvPruned, OfoPruned. A reset after them may be past the window, and is thrown away too.
    pub dropped: u64,
    /// TCPAbortFailed: resets that could not be sent.
    pub unsent: u64,
    /// TCPAbortOnMemory: connections that the kernel reset itself, short of memory.
    pub starved: u64,
}

impl Network {
    /// A new one.
    pub fn new() -> Self {
        Self { netns: rustix::process::geteuid().is_root().then(Netns::new) }
    }

    /// What happens in this namespace.
    pub fn within(netns: Netns) -> Self {
        Self { netns: Some(netns) }
    }

    /// The namespace, if it is one of its own.
    pub fn netns(&self) -> Option<&Netns> {
        self.netns.as_ref()
    }

    /// Starts the program here.
    pub fn start(&self, start: Start) -> Forebay {
        match &self.netns {
            Some(netns) => start.under(&netns.prefix()).start(),
            None => start.start(),
        }
    }

    /// Slots whose backends listen here on loopback; see `driver::slots`.
    pub fn slots(
        &self,
        front: impl FnMut(usize, std::net::SocketAddr) -> std::net::SocketAddr + Send,
    ) -> Vec<Slot> {
        self.enter(|| driver::slots(IpAddr::V4(Ipv4Addr::LOCALHOST), front))
    }

    /// Plays scripts here, and notes what the kernel counted meanwhile.
    pub fn play(&self, run: Run, slots: Vec<Slot>) -> Outcome {
        self.enter(|| {
            let before = Counters::read();
            let mut outcome = run.play(slots);
            outcome.counted = Counters::read().since(before);
            outcome
        })
    }

    /// Does something here.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        match &self.netns {
            Some(netns) => netns.enter(act),
            None => act(),
        }
    }
}

impl Counters {
    /// Those of the calling thread's namespace.
    pub fn read() -> Self {
        // /proc/net is the main thread's.
        let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
        let count = |name: &str| count(&text, name);
        let dropped =
            ["TCPRcvQDrop", "TCPBacklogDrop", "TCPZeroWindowDrop", "RcvPruned", "OfoPruned"];
        Self {
            unasked: count("TCPACKSkippedChallenge"),
            dropped: dropped.into_iter().map(count).sum(),
            unsent: count("TCPAbortFailed"),
            starved: count("TCPAbortOnMemory"),
        }
    }

    /// Resets that the kernel may have kept to itself, by its own account.
    pub fn most_untold(self) -> u64 {
        self.unasked + self.dropped + self.unsent + self.starved
    }

    /// What was counted after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            unasked: self.unasked - before.unasked,
            dropped: self.dropped - before.dropped,
            unsent: self.unsent - before.unsent,
            starved: self.starved - before.starved,
        }
    }
}

/// A counter of netstat, which has a line of names and then a line of numbers; 0 if the kernel has none.
fn count(text: &str, name: &str) -> u64 {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let at = names.split_whitespace().position(|word| word == name);
        if let Some(number) = at.and_then(|at| numbers.split_whitespace().nth(at)) {
            return number.parse().unwrap();
        }
    }
    0
}
