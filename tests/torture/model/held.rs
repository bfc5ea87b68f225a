//! What the proxy still holds of connections whose both ends are gone, as the kernel lists its sockets.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::end::Moment;
use super::oracle::{Kind, Violation};
use super::slot::Played;

/// The proxy lets go of both sides within so long.
const SOON: Duration = Duration::from_secs(1);

/// From one look at the kernel's list to the next.
const EVERY: Duration = Duration::from_millis(50);

/// A socket by the ports of its connection; all addresses are those of one loopback device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// The proxy's port.
    pub local: u16,
    /// The port of the end that is gone.
    pub remote: u16,
}

/// Sockets that both ends have left, oldest first.
#[derive(Debug, Default)]
pub struct Left {
    waiting: VecDeque<Waiting>,
    looked: Moment,
}

/// Those of one script.
#[derive(Debug)]
struct Waiting {
    since: Moment,
    number: u64,
    sockets: Vec<Held>,
    /// Those that were there at the first look. Another connection may have the same ports a moment later,
    /// but not the same inode.
    seen: Option<Vec<(Held, u64)>>,
}

impl Left {
    /// Both ends of a script are gone.
    pub fn add(&mut self, now: Moment, played: &Played) {
        // What the kernel does not tell of, nobody can let go for.
        if !played.violations.iter().any(|violation| violation.kind == Kind::UntoldByTcp) {
            let (number, sockets) = (played.number, played.sockets.clone());
            self.waiting.push_back(Waiting { since: now, number, sockets, seen: None });
        }
    }

    /// True exactly when all have been looked at.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The scripts of which something is still there though it had its time.
    pub fn held(&mut self, now: Moment) -> Vec<(u64, Violation)> {
        if now < self.looked + EVERY || self.waiting.is_empty() {
            return Vec::new();
        }
        self.looked = now;
        let listed = sockets();
        let inode = |held: &Held| listed.get(held).map(|(inode, _)| (*held, *inode));
        for it in self.waiting.iter_mut().filter(|it| it.seen.is_none()) {
            it.seen = Some(it.sockets.iter().filter_map(inode).collect());
        }
        let mut all = Vec::new();
        while let Some(Waiting { since, number, seen, .. }) =
            self.waiting.pop_front_if(|it| now > it.since + SOON)
        {
            for (held, inode) in seen.unwrap_or_default() {
                let Some((_, state)) = listed.get(&held).filter(|it| it.0 == inode) else {
                    continue;
                };
                let story = format!("{held:?} since {since:?}, at {now:?}: {state}");
                all.push((number, Violation { kind: Kind::Held, story }));
            }
        }
        all
    }
}

/// The TCP sockets of the calling thread's namespace that a process holds, and what the kernel says of
/// each: its inode, and its state, queues, timer and retransmissions (proc_net_tcp.txt).
fn sockets() -> HashMap<Held, (u64, String)> {
    let text = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let held = Held { local: port(words.get(1)?)?, remote: port(words.get(2)?)? };
        // One that is closed already, whatever the kernel still does with it, has no inode.
        let inode = words.get(9)?.parse().ok().filter(|inode| *inode != 0)?;
        Some((held, (inode, words.get(3..7)?.join(" "))))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

/// The port of "0100007F:1F90".
fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.split_once(':')?.1, 16).ok()
}

#[test]
fn a_socket_is_listed_while_it_is_held() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let remote = listener.local_addr().unwrap().port();
    let held = Held { local: client.local_addr().unwrap().port(), remote };
    assert!(sockets().contains_key(&held));
    drop(client);
    assert!(!sockets().contains_key(&held));
}
