//! Clients that come at a steady rate while the proxy stops, or gives an address up: 200 wait in the
//! kernel's queue before, and whoever has connected is owed an answer.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{End, Peer, SOON, eventually, pause};

/// Clients that wait in the kernel's queue while the process is stopped.
const QUEUED: usize = 200;

/// New clients after that, one a millisecond.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    /// The change comes as soon as so many of them are connected.
    pub before: usize,
    /// So many come after it.
    pub after: usize,
    /// The longest that one tries to connect.
    pub patience: Duration,
    /// A reset is late, and not a loss, after so long.
    pub late: Duration,
}

/// Whether a client waited in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    Yes,
    No,
}

/// What became of the clients.
#[derive(Debug, Default)]
pub struct Fates {
    served: AtomicUsize,
    not_connected: AtomicUsize,
    reset_late: AtomicUsize,
    lost: AtomicUsize,
    lost_of_queue: AtomicUsize,
    connected: AtomicUsize,
    longest_connect_us: AtomicU64,
}

impl Arrivals {
    /// Plays it: `freeze` stops the process without its knowledge, `change` lets it go on, and is done
    /// while clients go on coming.
    pub fn play(
        self,
        address: SocketAddr,
        freeze: impl FnOnce(),
        change: impl FnOnce() + Send,
    ) -> Fates {
        let fates = Fates::default();
        std::thread::scope(|scope| {
            freeze();
            for _ in 0..QUEUED {
                scope.spawn(|| self.visit(address, &fates, Queued::Yes));
            }
            eventually(SOON, || fates.connected() == QUEUED);
            let come = || {
                scope.spawn(|| self.visit(address, &fates, Queued::No));
                pause(Duration::from_millis(1));
            };
            let began = Instant::now();
            while fates.connected() < QUEUED + self.before {
                assert!(began.elapsed() < SOON, "they do not get through: {fates:?}");
                come();
            }
            scope.spawn(change);
            (0..self.after).for_each(|_| come());
        });
        fates
    }

    /// One client: whoever has connected is owed an answer, or late a reset.
    fn visit(self, address: SocketAddr, fates: &Fates, queued: Queued) {
        let began = Instant::now();
        let Ok(stream) = TcpStream::connect_timeout(&address, self.patience) else {
            fates.not_connected.fetch_add(1, Ordering::SeqCst);
            return;
        };
        fates.connected.fetch_add(1, Ordering::SeqCst);
        let took = u64::try_from(began.elapsed().as_micros()).unwrap();
        fates.longest_connect_us.fetch_max(took, Ordering::SeqCst);
        let (began, mut client) = (Instant::now(), Peer::new(stream));
        let fate = match client.ask(b"hello") {
            Ok(()) => &fates.served,
            Err(Some(End::Reset)) if began.elapsed() >= self.late => &fates.reset_late,
            Err(_) => {
                let of_queue = usize::from(queued == Queued::Yes);
                fates.lost_of_queue.fetch_add(of_queue, Ordering::SeqCst);
                &fates.lost
            }
        };
        fate.fetch_add(1, Ordering::SeqCst);
    }
}

impl Fates {
    /// Those who waited in the queue.
    pub const QUEUED: usize = QUEUED;

    /// Those who got their answer.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Those who were refused, or not heard.
    pub fn not_connected(&self) -> usize {
        self.not_connected.load(Ordering::SeqCst)
    }

    /// Those who were connected and got neither an answer nor, late, a reset.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    /// Of those who waited in the queue, the lost ones.
    pub fn lost_of_queue(&self) -> usize {
        self.lost_of_queue.load(Ordering::SeqCst)
    }

    /// What the slowest of those who were connected waited for that.
    pub fn longest_connect(&self) -> Duration {
        Duration::from_micros(self.longest_connect_us.load(Ordering::SeqCst))
    }

    /// All who were connected.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::SeqCst)
    }
}
