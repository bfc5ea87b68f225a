//! The least that a proxy can be, to measure others by: two sockets, and two threads that splice.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::pipe::{SpliceFlags, pipe, splice};

use crate::support::{Backend, Peer};

/// What a pipe holds (pipe(7)).
const PIECE: usize = 64 << 10;

/// Longer than any silence on a bad line.
const PATIENT: Duration = Duration::from_secs(60);

/// Starts it in front of one backend, in the network of this thread.
pub fn minimal(listen: SocketAddr, backend: SocketAddr) -> Backend {
    Backend::at(listen, move |client| {
        let Ok(upstream) = Peer::try_connect(backend) else { return };
        upstream.within(PATIENT);
        std::thread::scope(|scope| {
            scope.spawn(|| half(client.stream(), upstream.stream()));
            half(upstream.stream(), client.stream());
        });
    })
}

/// Splices through a pipe: from socket to socket there is no splice(2).
fn half(from: &TcpStream, to: &TcpStream) {
    let (read, write) = pipe().unwrap();
    let all = || -> rustix::io::Result<()> {
        loop {
            let mut held = splice(from, None, &write, None, PIECE, SpliceFlags::MOVE)?;
            if held == 0 {
                return Ok(());
            }
            while held > 0 {
                held -= splice(&read, None, to, None, held, SpliceFlags::MOVE)?;
            }
        }
    };
    let _ = all();
    let _ = to.shutdown(Shutdown::Write);
}
