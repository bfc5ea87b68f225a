//! A proxy with the faults of the trade: it turns a reset into a clean FIN. The tests' own test:
//! an oracle that finds nothing wrong with it is worth nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SOON;

/// A proxy in threads of this process.
#[derive(Debug)]
pub struct Careless {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Careless {
    /// Starts it in front of one backend.
    pub fn before(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                relay(client, backend);
            }
        });
        Self { address, stop }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, SOON);
    }
}

fn relay(client: TcpStream, backend: SocketAddr) {
    let Ok(upstream) = TcpStream::connect(backend) else { return };
    let (client, upstream) = (Arc::new(client), Arc::new(upstream));
    for (from, to) in [(&client, &upstream), (&upstream, &client)] {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        std::thread::spawn(move || half(&from, &to));
    }
}

/// Reads until 0 or an error, and says "that was all" in both cases.
fn half(mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
