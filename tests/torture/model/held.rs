//! What the proxy still holds of connections whose both ends are gone, as the kernel lists its sockets.

use std::collections::{HashSet, VecDeque};
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
    waiting: VecDeque<(Moment, u64, Vec<Held>)>,
    looked: Moment,
}

impl Left {
    /// Both ends of a script are gone.
    pub fn add(&mut self, now: Moment, played: &Played) {
        // What the kernel does not tell of, nobody can let go for.
        if !played.violations.iter().any(|violation| violation.kind == Kind::UntoldByTcp) {
            self.waiting.push_back((now, played.number, played.sockets.clone()));
        }
    }

    /// True exactly when all have been looked at.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The scripts of which something is still there though it had its time.
    pub fn held(&mut self, now: Moment) -> Vec<(u64, Violation)> {
        let due = |(since, ..): &(Moment, u64, Vec<Held>)| now > *since + SOON;
        if now < self.looked + EVERY || !self.waiting.front().is_some_and(due) {
            return Vec::new();
        }
        self.looked = now;
        let sockets = sockets();
        let mut all = Vec::new();
        while self.waiting.front().is_some_and(due) {
            let Some((since, number, left)) = self.waiting.pop_front() else { break };
            for held in left.into_iter().filter(|held| sockets.contains(held)) {
                let story = format!("{held:?} since {since:?}, at {now:?}");
                all.push((number, Violation { kind: Kind::Held, story }));
            }
        }
        all
    }
}

/// The TCP sockets of the calling thread's namespace that a process holds (proc_net_tcp.txt).
fn sockets() -> HashSet<Held> {
    let text = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let socket = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let [local, remote] = [port(words.next()?)?, port(words.next()?)?];
        // One that is closed already, whatever the kernel still does with it, has no inode.
        (words.nth(6)? != "0").then_some(Held { local, remote })
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
    assert!(sockets().contains(&held));
    drop(client);
    assert!(!sockets().contains(&held));
}
