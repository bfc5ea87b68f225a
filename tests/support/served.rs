//! A server on one thread, which looks again and again whether it is to stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};

/// A server that lives as long as this value, and what it counts.
#[derive(Debug)]
pub struct Served<T> {
    address: SocketAddr,
    counts: Arc<T>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Default + Send + Sync + 'static> Served<T> {
    /// Starts it on a port that the kernel chooses. `serve` gets the listening socket, which does not
    /// block, and returns once it finds that it is to stop.
    pub fn start(serve: impl FnOnce(TcpListener, &T, &AtomicBool) + Send + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), serve)
    }

    /// Starts it where one was before.
    pub fn at(
        address: SocketAddr,
        serve: impl FnOnce(TcpListener, &T, &AtomicBool) + Send + 'static,
    ) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // Its connections of before may stand in TIME_WAIT.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(4096).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let (counts, stop) = (Arc::new(T::default()), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (counts, stop) = (Arc::clone(&counts), Arc::clone(&stop));
            std::thread::spawn(move || serve(listener, &counts, &stop))
        };
        Self { address, counts, stop, thread: Some(thread) }
    }
}

impl<T> Served<T> {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    pub fn counts(&self) -> &T {
        &self.counts
    }
}

impl<T> Drop for Served<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
