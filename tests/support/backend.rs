//! Backends: small servers on a port that the kernel chose, each good at one kind of behaviour.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Socket, Type};

use super::Peer;

/// Bound on a backend's waits: longer than any test keeps a session idle.
const LIFE: Duration = Duration::from_secs(120);

/// A server that lives as long as this value.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicUsize,
    live: AtomicUsize,
    /// Second handles of the connections, to wake their threads at the end.
    streams: Mutex<HashMap<usize, TcpStream>>,
}

impl Backend {
    /// Sends back what it gets; a FIN too.
    pub fn echo() -> Self {
        Self::scripted(|peer| {
            let mut stream = peer.stream();
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    /// Says its name and a newline to each connection, then echoes.
    pub fn naming(name: &str) -> Self {
        let greeting = format!("{name}\n");
        Self::scripted(move |peer| {
            let mut stream = peer.stream();
            let _ = stream.write_all(greeting.as_bytes());
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
        })
    }

    /// Accepts, then neither reads nor writes until the connection is taken from it.
    pub fn silent() -> Self {
        Self::scripted(|peer| {
            let mut events = [PollFd::new(peer.stream(), PollFlags::empty())];
            let _ = poll(&mut events, None);
        })
    }

    /// Resets each connection at once.
    pub fn resetting() -> Self {
        Self::scripted(|peer| peer.reset_when_closed())
    }

    /// Sends a pattern for as long as it is let.
    pub fn blasting() -> Self {
        Self::scripted(|peer| {
            peer.blast();
        })
    }

    /// Plays `script` on each connection, in a thread of its own; then closes it.
    pub fn scripted(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// As `scripted`, on this address.
    pub fn at(address: SocketAddr, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(4096).unwrap();
        let listener: Arc<TcpListener> = Arc::new(socket.into());
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            std::thread::spawn(move || accept(&listener, &shared, &Arc::new(script)))
        };
        Self { address, listener, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script is still being played.
    pub fn live(&self) -> usize {
        self.shared.live.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Whoever waits in accept(2) is told.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.shared.streams.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept<F>(listener: &TcpListener, shared: &Arc<Shared>, script: &Arc<F>)
where
    F: Fn(&mut Peer) + Send + Sync + 'static,
{
    while !shared.stop.load(Ordering::SeqCst) {
        let Ok((stream, _)) = listener.accept() else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        shared.live.fetch_add(1, Ordering::SeqCst);
        if let Ok(second) = stream.try_clone() {
            shared.streams.lock().unwrap().insert(number, second);
        }
        let (shared, script) = (Arc::clone(shared), Arc::clone(script));
        std::thread::spawn(move || {
            let mut peer = Peer::new(stream);
            peer.within(LIFE);
            script(&mut peer);
            // The second handle goes first, or closing the first would not close.
            shared.streams.lock().unwrap().remove(&number);
            drop(peer);
            shared.live.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// An address that refuses connections for as long as the returned socket lives.
pub fn refusing_address() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

/// An address that answers no SYN while the returned sockets live: a listener whose backlog is full.
pub fn deaf_address() -> (SocketAddr, Vec<Socket>) {
    let (address, listener) = refusing_address();
    listener.listen(0).unwrap();
    let mut held = vec![listener];
    loop {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let heard = filler.connect_timeout(&address.into(), Duration::from_millis(200)).is_ok();
        held.push(filler);
        if !heard {
            return (address, held);
        }
    }
}
