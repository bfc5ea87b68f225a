//! A bad line: joins two namespaces by a pair of TUN devices and delays, loses, repeats and reorders
//! what goes through. Every choice comes from a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Netns;
use super::tun;

/// How often the line looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// Packets taken from one end before others have their turn.
const BATCH: usize = 64;

/// The longest packet (tun.c takes no longer ones).
const LONGEST: usize = 65_535;

/// What the line does to each packet, in each direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// Time on the way.
    pub delay: Duration,
    /// At most so much more, at random: packets overtake each other.
    pub jitter: Duration,
    /// Of a thousand packets, so many are lost.
    pub lost: u32,
    /// Of a thousand packets, so many come twice.
    pub repeated: u32,
    /// Of a thousand packets, so many skip the delay.
    pub early: u32,
    /// True exactly when TCP's SYNs and resets come once and surely, and a reset after all that was sent
    /// before it. TCP sends a reset only once: where it gets lost, nobody can be told of it. A SYN
    /// that gets lost only costs a second.
    pub spares_resets: bool,
    /// What the choices derive from.
    pub seed: u64,
}

/// A line in use; dropping it takes it down.
#[derive(Debug)]
pub struct Impair {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    cut: AtomicBool,
    carried: AtomicU64,
    lost: AtomicU64,
}

/// SYN and RST.
const SPARED: u8 = 0b0110;

/// The addresses of the two ends.
pub const LEFT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The second.
pub const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

impl Line {
    /// A line with this round-trip time and no other fault.
    pub fn round_trip(time: Duration) -> Self {
        Self { delay: time / 2, ..Self::default() }
    }

    /// Joins two namespaces: `left` gets the address LEFT, `right` the address RIGHT.
    pub fn join(self, left: &Netns, right: &Netns) -> Impair {
        let ends = [(left, LEFT, RIGHT), (right, RIGHT, LEFT)].map(|(netns, own, other)| {
            let file = netns.enter(|| tun::create("line"));
            let (own, other) = (own.to_string(), other.to_string());
            netns.run(&["ip", "addr", "add", &own, "peer", &other, "dev", "line"]);
            netns.run(&["ip", "link", "set", "line", "up", "txqueuelen", "20000"]);
            file
        });
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || self.carry(ends, &shared))
        };
        Impair { shared, thread: Some(thread) }
    }

    fn carry(self, mut ends: [File; 2], shared: &Shared) {
        let mut random = Rng::with_seed(self.seed);
        let mut waiting: BinaryHeap<Reverse<Packet>> = BinaryHeap::new();
        let mut number = 0;
        let mut last = [Instant::now(); 2];
        let mut bytes = vec![0; LONGEST];
        while !shared.stop.load(Ordering::Relaxed) {
            wait(&ends, waiting.peek().map(|packet| packet.0.due));
            for (from, end) in ends.iter_mut().enumerate() {
                for _ in 0..BATCH {
                    let Ok(length) = end.read(&mut bytes) else { break };
                    let bytes = &bytes[..length];
                    let fate = match flags(bytes) {
                        Some(flags) if self.spares_resets && flags & SPARED != 0 => {
                            vec![last[from].max(Instant::now() + self.delay)]
                        }
                        _ => self.fate(&mut random, shared),
                    };
                    for due in fate {
                        number += 1;
                        last[from] = last[from].max(due);
                        let bytes = bytes.to_vec();
                        waiting.push(Reverse(Packet { due, number, to: 1 - from, bytes }));
                    }
                }
            }
            let now = Instant::now();
            while waiting.peek().is_some_and(|packet| packet.0.due <= now) {
                let Some(Reverse(packet)) = waiting.pop() else { break };
                // A full device loses packets, as a line does.
                let _ = ends[packet.to].write(&packet.bytes);
                shared.carried.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// When a packet that comes in now arrives: never, once or twice.
    fn fate(self, random: &mut Rng, shared: &Shared) -> Vec<Instant> {
        if shared.cut.load(Ordering::Relaxed) || random.u32(..1000) < self.lost {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        let copies = if random.u32(..1000) < self.repeated { 2 } else { 1 };
        let now = Instant::now();
        (0..copies)
            .map(|_| {
                if random.u32(..1000) < self.early {
                    return now;
                }
                now + self.delay + self.jitter.mul_f64(random.f64())
            })
            .collect()
    }
}

impl Impair {
    /// From now on nothing goes through, until `mend`.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Relaxed);
    }

    /// Undoes `cut`.
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::Relaxed);
    }

    /// Packets that came through, and packets that were lost on purpose.
    pub fn counts(&self) -> (u64, u64) {
        let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (number(&self.shared.carried), number(&self.shared.lost))
    }
}

impl Drop for Impair {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A packet on its way; ordered by when it is due, then by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    to: usize,
    bytes: Vec<u8>,
}

/// The flags of a TCP segment in an IPv4 packet (RFC 9293, section 3.1; RFC 791, section 3.1).
fn flags(packet: &[u8]) -> Option<u8> {
    let first = *packet.first()?;
    let is_tcp = first >> 4 == 4 && *packet.get(9)? == 6;
    is_tcp.then(|| packet.get(usize::from(first & 15) * 4 + 13).copied())?
}

fn wait(ends: &[File; 2], due: Option<Instant>) {
    let time = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()).min(LOOK));
    let mut events =
        ends.each_ref().map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
    let _ = poll(&mut events, Timespec::try_from(time).ok().as_ref());
}
