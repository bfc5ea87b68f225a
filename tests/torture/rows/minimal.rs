//! The least that a proxy can be, to measure others by: two sockets, and two threads that copy.

use std::io::copy;
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::support::{Backend, Peer};

/// Starts it in front of one backend, in the network of this thread.
pub fn minimal(listen: SocketAddr, backend: SocketAddr) -> Backend {
    Backend::at(listen, move |client| {
        let Ok(upstream) = Peer::try_connect(backend) else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| half(client.stream(), upstream.stream()));
            half(upstream.stream(), client.stream());
        });
    })
}

/// std::io::copy splices from socket to socket.
fn half(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
