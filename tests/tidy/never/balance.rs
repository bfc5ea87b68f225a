//! A choice that does not follow from its arguments.

use mio::Poll;
use rustix::net::connect;
use socket2::Socket;
use std::net::TcpStream;
use std::time::{Instant, SystemTime};

fn pick() {
    tracing::debug!("picked");
    let _ = (Instant::now(), SystemTime::now(), std::fs::read("weights"));
}
