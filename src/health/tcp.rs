//! `tcp`: a backend is healthy when it takes a connection.

use std::io;

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
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
            let (socket, _) = begin(*address)?;
            Box::new(arrive(socket).await?)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

async fn is_reached(address: SocketAddr) -> io::Result<()> {
    match begin(address)? {
        // Nobody need wait, so nobody need be told: that halves what a probe costs.
        (_, true) => Ok(()),
        (socket, false) => arrive(socket).await.map(drop),
    }
}

/// A connect that has begun; true: it is done already. That is so on the same host, whose kernel does the whole
/// handshake within connect(2) but does not say so at the first call.
fn begin(address: SocketAddr) -> io::Result<(Socket, bool)> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    for _ in 0..2 {
        match socket.connect(&address.into()) {
            Ok(()) => return Ok((socket, true)),
            Err(error) if is_under_way(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((socket, false))
}

fn is_under_way(error: &io::Error) -> bool {
    let errors = [rustix::io::Errno::INPROGRESS, rustix::io::Errno::ALREADY];
    errors.iter().any(|it| error.raw_os_error() == Some(it.raw_os_error()))
}

/// Waits until it is connected.
async fn arrive(socket: Socket) -> io::Result<TcpStream> {
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
