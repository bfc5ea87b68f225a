//! A backend that counts its live connections exactly: one thread, which looks at each of them
//! before it counts another.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::Served;

/// Says one byte to each connection and holds it until the other side ends it.
#[derive(Debug)]
pub struct Counting {
    served: Served<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    peak: AtomicUsize,
    accepted: AtomicUsize,
}

impl Counting {
    /// Starts it.
    pub fn start() -> Self {
        Self { served: Served::start(run) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Connections open now.
    pub fn live(&self) -> usize {
        self.served.counts().live.load(Ordering::SeqCst)
    }

    /// The most that were ever open at once.
    pub fn peak(&self) -> usize {
        self.served.counts().peak.load(Ordering::SeqCst)
    }

    /// All that were ever accepted.
    pub fn accepted(&self) -> usize {
        self.served.counts().accepted.load(Ordering::SeqCst)
    }

    /// Forgets the peak.
    pub fn forget_peak(&self) {
        self.served.counts().peak.store(0, Ordering::SeqCst);
    }
}

fn run(listener: TcpListener, counts: &Counts, stop: &AtomicBool) {
    let mut live: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        forget_ended(&listener, &mut live, 20);
        // One accept per look: what ended before this connection was begun is gone from `live`.
        if let Ok((stream, _)) = listener.accept() {
            forget_ended(&listener, &mut live, 0);
            live.push(stream);
            counts.accepted.fetch_add(1, Ordering::SeqCst);
            counts.peak.fetch_max(live.len(), Ordering::SeqCst);
            // Only now: whoever has been greeted has been counted.
            live.last().into_iter().for_each(greet);
        }
        counts.live.store(live.len(), Ordering::SeqCst);
    }
}

fn greet(stream: &TcpStream) {
    use std::io::Write as _;
    stream.set_nonblocking(true).unwrap();
    let _ = (&mut &*stream).write(b"!");
}

/// Waits for something to happen at all, then drops the connections whose other side has ended.
fn forget_ended(listener: &TcpListener, live: &mut Vec<TcpStream>, milliseconds: i64) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    let mut events = vec![PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
    events.extend(live.iter().map(|stream| PollFd::new(stream, PollFlags::RDHUP)));
    if poll(&mut events, Some(&timeout)).is_err() {
        return;
    }
    let ended: Vec<bool> = events[1..].iter().map(|event| !event.revents().is_empty()).collect();
    drop(events);
    let mut ended = ended.into_iter();
    live.retain(|stream| {
        let gone = ended.next().unwrap_or(false);
        if gone {
            // A reset leaves no port in TIME_WAIT, of which 10^5 sessions would make too many.
            let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
        !gone
    });
}
