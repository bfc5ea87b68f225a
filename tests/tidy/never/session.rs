//! A session that knows its worker.

use std::net::TcpStream;
use std::time::{Instant, SystemTime};

use mio::{Poll, Token};
use rustix::net::recv;
use socket2::Socket;

use crate::model::Snapshot;

fn advance() {
    tracing::debug!("advanced");
    std::thread::yield_now();
    let _ = (Instant::now(), SystemTime::now(), std::fs::read("bytes"));
}
