//! A backend that counts its live connections exactly: one thread, which looks at each of them
//! before it counts another.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

/// Says one byte to each connection and holds it until the other side ends it.
#[derive(Debug)]
pub struct Counting {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    live: AtomicUsize,
    peak: AtomicUsize,
    accepted: AtomicUsize,
}

impl Counting {
    /// Starts it.
    pub fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(4096).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || run(&listener, &shared))
        };
        Self { address, shared, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections open now.
    pub fn live(&self) -> usize {
        self.shared.live.load(Ordering::SeqCst)
    }

    /// The most that were ever open at once.
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::SeqCst)
    }

    /// All that were ever accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Forgets the peak.
    pub fn forget_peak(&self) {
        self.shared.peak.store(0, Ordering::SeqCst);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(listener: &TcpListener, shared: &Shared) {
    let mut live: Vec<TcpStream> = Vec::new();
    while !shared.stop.load(Ordering::SeqCst) {
        forget_ended(listener, &mut live, 20);
        // One accept per look: what ended before this connection was begun is gone from `live`.
        if let Ok((stream, _)) = listener.accept() {
            forget_ended(listener, &mut live, 0);
            live.push(stream);
            shared.accepted.fetch_add(1, Ordering::SeqCst);
            shared.peak.fetch_max(live.len(), Ordering::SeqCst);
            // Only now: whoever has been greeted has been counted.
            live.last().into_iter().for_each(greet);
        }
        shared.live.store(live.len(), Ordering::SeqCst);
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
