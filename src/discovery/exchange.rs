//! One question to one server: by UDP, and by TCP if the answer is too long for that (RFC 7766).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::wire::dns::{Query, Reply};

/// More than a server may send to whoever has not said that he takes more than 512 (RFC 1035, 4.2.1).
const DATAGRAM: usize = 4096;

/// Datagrams that are no answer to the question, before it is given up. Others may send them too, so
/// one alone proves nothing.
const NONSENSE_MAX: usize = 64;

/// Asks `server`, and waits for its answer at most so long by either way.
///
/// # Errors
/// Why there is no answer, in a few words.
pub(super) async fn ask(
    server: SocketAddr,
    query: &Query,
    bound: Duration,
) -> Result<Reply, String> {
    let mut nonsense = 0;
    let reply = match timeout(bound, by_udp(server, query, &mut nonsense)).await {
        Ok(reply) => reply.map_err(|error| said(server, &error))?,
        Err(_) if nonsense > 0 => return Err(no_answers(server, nonsense)),
        Err(_) => return Err(format!("{server} did not answer in {bound:?}")),
    };
    let Some(reply) = reply else { return Err(no_answers(server, nonsense)) };
    if reply != Reply::Truncated {
        return Ok(reply);
    }
    match timeout(bound, by_tcp(server, query)).await {
        Ok(reply) => reply.map_err(|error| format!("{} by tcp", said(server, &error))),
        Err(_) => Err(format!("{server} did not answer by tcp in {bound:?}")),
    }
}

fn said(server: SocketAddr, error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split_once(" (os error").map_or(&*text, |(words, _)| words);
    format!("{server}: {}", words.to_lowercase())
}

fn no_answers(server: SocketAddr, nonsense: usize) -> String {
    format!("{server} sent nothing but what is no answer, {nonsense} times")
}

/// A socket of its own for each question: its port is as hard to guess as the question's number
/// (RFC 5452). None if what came was no answer too often.
async fn by_udp(
    server: SocketAddr,
    query: &Query,
    nonsense: &mut usize,
) -> io::Result<Option<Reply>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query.bytes()).await?;
    let mut datagram = vec![0; DATAGRAM];
    while *nonsense < NONSENSE_MAX {
        let length = socket.recv(&mut datagram).await?;
        match query.read(datagram.get(..length).unwrap_or_default()) {
            Ok(reply) => return Ok(Some(reply)),
            Err(_) => *nonsense += 1,
        }
    }
    Ok(None)
}

/// Each message is preceded by its length in two bytes (RFC 1035, 4.2.2).
async fn by_tcp(server: SocketAddr, query: &Query) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.bytes().len()).map_err(io::Error::other)?;
    let mut question = length.to_be_bytes().to_vec();
    question.extend_from_slice(query.bytes());
    stream.write_all(&question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    match query.read(&answer) {
        Ok(Reply::Truncated) | Err(_) => Err(io::Error::other("what it sent is no answer")),
        Ok(reply) => Ok(reply),
    }
}
