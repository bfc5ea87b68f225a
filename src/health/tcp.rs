//! `tcp`: a backend is healthy when it takes a connection.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::net::Address;
use crate::plugin::{Measuring, Probe, Target};

/// Connects, and resets the connection: no TIME_WAIT is left.
#[derive(Debug)]
pub(super) struct Tcp;

impl Probe for Tcp {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(async move {
            target.wait_for("a connection");
            connect(&target.address).await.map(drop).map_err(|error| say(&error))
        })
    }
}

/// A connection to a backend, which is reset when it is dropped.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects.
pub(super) async fn connect(address: &Address) -> io::Result<Box<dyn Connection>> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_zero_linger()?;
            Box::new(stream)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// An error in few words, without its number: it is a reason, and stands in logs.
pub(super) fn say(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}
