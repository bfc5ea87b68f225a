//! Load for rows: clients that come and go, and sessions that stay and must not break.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::stage::Stage;
use crate::support::{Pattern, Peer, pause};

/// One client that connected, asked, and left.
#[derive(Debug)]
pub struct Visit {
    /// Its own address, if it got through.
    pub from: Option<SocketAddr>,
    /// When it began to connect.
    pub began: Instant,
    /// Until its answer was there.
    pub took: Duration,
    /// What went wrong, if it got no answer.
    pub failure: Option<String>,
}

/// Clients of a thread that are late and yet come.
const LATE: u32 = 25;

/// Threads, each with one client after the other.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many.
    pub threads: u32,
    /// The time from one client of a thread to its next; after one that took longer, those that are late
    /// come at once.
    pub every: Duration,
}

impl Load {
    /// Does `work` under this load; all who came, and what `work` found.
    pub fn during<T>(self, stage: &Stage, work: impl FnOnce() -> T) -> (Vec<Visit>, T) {
        let (visits, found) = self.at(stage.address(), work);
        stage.count_clients(visits.len());
        (visits, found)
    }

    /// The same at any address.
    pub fn at<T>(self, address: SocketAddr, work: impl FnOnce() -> T) -> (Vec<Visit>, T) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| self.come(address, &stop))).collect();
            let ended = StopAtEnd(&stop);
            let found = work();
            drop(ended);
            (clients.into_iter().flat_map(|it| it.join().unwrap()).collect(), found)
        })
    }

    fn come(self, address: SocketAddr, stop: &AtomicBool) -> Vec<Visit> {
        let (mut visits, mut due) = (Vec::new(), Instant::now());
        while !stop.load(Ordering::SeqCst) {
            visits.push(visit(address));
            // Late ones are forgotten at last, or a load would be a storm.
            due = (due + self.every).max(Instant::now() - self.every * LATE);
            pause(due.saturating_duration_since(Instant::now()));
        }
        visits
    }
}

/// Lets the clients stop, also when the work panics: they are waited for.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn visit(address: SocketAddr) -> Visit {
    let began = Instant::now();
    let connected = Peer::try_connect(address);
    let from = connected.as_ref().ok().map(Peer::local);
    let asked = connected.map_err(|error| error.to_string()).and_then(|mut client| {
        client.ask(b"hello").map_err(|end| format!("{end:?}"))?;
        // No port is left in TIME_WAIT, of which a long run would make too many.
        client.reset();
        Ok(())
    });
    Visit { from, began, took: began.elapsed(), failure: asked.err() }
}

/// How many of the visits failed.
pub fn failed(visits: &[Visit]) -> usize {
    visits.iter().filter(|visit| visit.failure.is_some()).count()
}

/// Of a hundred visits, the longest but one, in milliseconds.
pub fn p99(visits: &[Visit]) -> f64 {
    let mut times: Vec<Duration> = visits.iter().map(|visit| visit.took).collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).map_or(0.0, Duration::as_secs_f64) * 1000.0
}

/// Sessions that stay, and whose bytes go round again and again.
pub struct Held {
    clients: Vec<Mutex<Option<Peer>>>,
    stop: AtomicBool,
}

impl Held {
    /// So many of them, all served once; how many were not, if some were not.
    pub fn connect(stage: &Stage, count: usize) -> Result<Self, String> {
        let clients: Vec<_> = (0..count).map(|_| Mutex::new(stage.try_connect())).collect();
        round(&clients, 0);
        match broken(&clients) {
            0 => Ok(Self { clients, stop: AtomicBool::new(false) }),
            some => Err(format!("{some} of {count} sessions were never served")),
        }
    }

    /// Lets bytes go round in all of them while `work` is done.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.stop.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for clients in self.clients.chunks(self.clients.len().div_ceil(4).max(1)) {
                scope.spawn(move || {
                    let mut position = 0;
                    while !self.stop.load(Ordering::SeqCst) {
                        round(clients, position);
                        position += PIECE as u64;
                        pause(Duration::from_millis(50));
                    }
                });
            }
            let ended = StopAtEnd(&self.stop);
            let found = work();
            drop(ended);
            found
        })
    }

    /// Ends them; how many broke before that.
    pub fn finish(self) -> usize {
        round(&self.clients, 0);
        broken(&self.clients)
    }
}

fn broken(clients: &[Mutex<Option<Peer>>]) -> usize {
    clients.iter().filter(|client| client.lock().unwrap().is_none()).count()
}

/// Bytes that go round at once.
const PIECE: usize = 1024;

/// Sends a piece to each and gets it back; who fails is gone.
fn round(clients: &[Mutex<Option<Peer>>], position: u64) {
    for (key, client) in clients.iter().enumerate() {
        let mut client = client.lock().unwrap();
        let piece = Pattern::new(key as u64).piece(position, PIECE);
        if client.as_mut().is_some_and(|client| client.ask(piece).is_err()) {
            *client = None;
        }
    }
}
