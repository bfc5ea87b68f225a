//! What an embedded backend says: a tiny HTTP answer to a request, an echo to everything else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Longer lines are echoed in pieces.
const LONGEST_LINE: u64 = 4096;
/// Bytes of headers that are read before the answer.
const LONGEST_HEAD: u64 = 64 * 1024;
/// Bytes of a request's body that are read after the answer, so that closing does not reset it.
const LONGEST_BODY: u64 = 1024 * 1024;
/// A client that says nothing for so long is left.
const SILENCE: Duration = Duration::from_secs(600);
/// What follows an HTTP answer has this long.
const LINGER: Duration = Duration::from_secs(1);

/// Answers until the other side has ended.
pub(super) fn converse(stream: &TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut out = stream;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        if is_request(&line) {
            let head_only = line.starts_with(b"HEAD ");
            return answer(stream, &mut reader, &response(name, head_only));
        }
        out.write_all(&echo(name, &line))?;
    }
}

/// `GET /path HTTP/1.1`
fn is_request(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

fn response(name: &str, head_only: bool) -> String {
    let body = format!("served by {name}\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    if head_only { head } else { head + &body }
}

fn answer(stream: &TcpStream, reader: &mut impl BufRead, text: &str) -> io::Result<()> {
    let mut head = reader.by_ref().take(LONGEST_HEAD);
    let mut line = Vec::new();
    while head.read_until(b'\n', &mut line)? > 0 && !line.trim_ascii().is_empty() {
        line.clear();
    }
    let mut out = stream;
    out.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LINGER))?;
    io::copy(&mut reader.by_ref().take(LONGEST_BODY), &mut io::sink())?;
    Ok(())
}

fn echo(name: &str, line: &[u8]) -> Vec<u8> {
    let mut text = format!("{name}: ").into_bytes();
    text.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        text.push(b'\n');
    }
    text
}
