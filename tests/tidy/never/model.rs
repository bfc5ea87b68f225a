//! What workers share, and waits.

use std::net::TcpStream;

use mio::Poll;
use rustix::net::recv;
use socket2::Socket;

fn count() {
    tracing::debug!("counted");
    std::thread::yield_now();
    let _ = std::fs::read("counters");
}
