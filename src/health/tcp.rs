//! `tcp`: a backend is healthy when it takes a connection.

use std::io;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::net::{Address, knock};
use crate::plugin::{Measuring, Probe, Target};

/// Connects, and resets the connection: no TIME_WAIT is left.
#[derive(Debug)]
pub(super) struct Tcp;

impl Probe for Tcp {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(async move {
            target.wait_for("a connection");
            match &target.address {
                Address::Tcp(address) => is_reached(*address).await,
                Address::Unix(path) => UnixStream::connect(path).await.map(drop),
            }
            .map_err(|error| say(&error))
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
            let (socket, _) = knock(*address)?;
            Box::new(arrive(socket).await?)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

async fn is_reached(address: SocketAddr) -> io::Result<()> {
    match knock(address)? {
        // Nobody need wait, so nobody need be told.
        (_, true) => Ok(()),
        (socket, false) => arrive(socket).await.map(drop),
    }
}

/// Waits until it is connected.
async fn arrive(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// An error in few words, without its number: it is a reason, and stands in logs.
pub(super) fn say(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}
