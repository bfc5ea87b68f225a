//! Waves of clients against caps: how many are let in, and whether every permit comes back.

use std::net::SocketAddr;
use std::sync::Mutex;

use fastrand::Rng;

use super::{Counting, End, Forebay, Peer, Process, SOON, comes_true};

/// Threads of clients.
pub const THREADS: usize = 8;

/// More than come at once.
const ROOM: usize = 2000;

/// What a listener, a pool, a backend and the process are told.
#[derive(Debug, Default)]
pub struct Caps {
    /// What the process is told, in [limits].
    pub process: String,
    /// What the listener is told.
    pub listener: String,
    /// What the pool is told.
    pub pool: String,
    /// What the backend is told.
    pub backend: String,
}

impl Caps {
    /// The same cap for each of them and for a source.
    pub fn all(most: usize) -> Self {
        let cap = format!("max_connections = {most}");
        let listener = format!("{cap}\nover = \"reject\"\nper_source = {{ {cap} }}");
        Self { process: cap.clone(), listener, pool: cap.clone(), backend: cap }
    }

    /// Only this one lets `most` in: "process", "listener", "source", "pool" or "backend". The others have
    /// room for all who ever come at once.
    pub fn only(which: &str, most: usize) -> Self {
        let cap = |of: &str| {
            let most = if of == which { most } else { ROOM };
            format!("max_connections = {most}")
        };
        let source = cap("source");
        Self {
            // Where the process waits for room, nobody is refused.
            process: cap("process"),
            listener: format!(
                "{}\nover = \"reject\"\nper_source = {{ {source} }}",
                cap("listener")
            ),
            pool: cap("pool"),
            backend: cap("backend"),
        }
    }

    /// Starts the program under them, with four workers.
    pub fn start(&self, counting: &Counting) -> Forebay {
        let Self { process, listener, pool, backend } = self;
        let address = counting.address();
        Forebay::start(&format!(
            "[runtime]\nworkers = 4\n[limits]\n{process}\n\
             [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n{listener}\n\
             [pool.app]\n{pool}\n[[pool.app.backends]]\naddress = \"{address}\"\n{backend}\n"
        ))
    }
}

/// True exactly when every permit comes to be free in time. One comes back a moment after the socket
/// that it was for has gone, in the same turn of the worker, so it is there once the workers sleep.
pub fn comes_to_rest(proxy: Process, counting: &Counting, sockets: usize) -> bool {
    comes_true(SOON, || counting.live() == 0 && proxy.sockets() == sockets && proxy.is_asleep())
}

/// So many clients from each of `THREADS` threads at once; those that were served, all of them still open.
pub fn all_at_once(address: SocketAddr, clients: usize) -> Vec<Peer> {
    let served = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let clients: Vec<Peer> =
                    (0..clients).filter_map(|_| Peer::try_connect(address).ok()).collect();
                for mut client in clients {
                    match client.read_some(1) {
                        Ok(greeting) => {
                            assert_eq!(greeting, b"!");
                            served.lock().unwrap().push(client);
                        }
                        Err(end) => assert_eq!(end, End::Reset, "a rejected client is reset"),
                    }
                }
            });
        }
    });
    served.into_inner().unwrap()
}

/// Opens and ends so many connections in every way there is.
pub fn churn(address: SocketAddr, turns: usize) {
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || churn_alone(address, seed as u64, turns / THREADS));
        }
    });
}

fn churn_alone(address: SocketAddr, seed: u64, turns: usize) {
    let mut random = Rng::with_seed(seed);
    let mut held = Vec::new();
    for _ in 0..turns {
        // A client that has been rejected may learn of it while it still connects.
        let Ok(mut client) = Peer::try_connect(address) else { continue };
        match random.u32(..100) {
            0..40 => client.reset(),
            40..45 => drop(client),
            45..90 => {
                let _ = client.read_some(1);
                client.reset();
            }
            _ => held.push(client),
        }
        if held.len() > 20 {
            held.drain(..).for_each(Peer::reset);
        }
    }
}
