//! One embedded backend: a real listening socket that can be closed and opened again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use super::speak;

/// Conversations at once; one more is cut.
const MOST_CONVERSATIONS: usize = 256;
/// A conversation needs little.
const STACK: usize = 128 * 1024;

/// A backend of the demo.
pub(super) struct Backend {
    name: Arc<str>,
    address: SocketAddr,
    listening: Option<Listening>,
}

/// The thread that accepts; it ends when the bell is dropped.
struct Listening {
    bell: UnixStream,
    thread: JoinHandle<()>,
}

impl Backend {
    /// Listens on a free port of 127.0.0.1 and answers as `backend-NUMBER`.
    pub(super) fn start(number: usize) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let name = Arc::from(format!("backend-{number}"));
        let address = socket.local_addr()?;
        let listening = Some(listen(socket, &name)?);
        Ok(Self { name, address, listening })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// True exactly when it accepts connections.
    pub(super) fn serves(&self) -> bool {
        self.listening.is_some()
    }

    /// Refuses new connections from now on. Conversations that are under way go on.
    pub(super) fn stop(&mut self) {
        if let Some(Listening { bell, thread }) = self.listening.take() {
            drop(bell);
            // The thread accepts what has arrived and closes the socket; it cannot fail otherwise.
            drop(thread.join());
        }
    }

    /// Listens again at the same address.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if self.listening.is_none() {
            self.listening = Some(listen(TcpListener::bind(self.address)?, &self.name)?);
        }
        Ok(())
    }
}

fn listen(socket: TcpListener, name: &Arc<str>) -> io::Result<Listening> {
    socket.set_nonblocking(true)?;
    let (bell, ringing) = UnixStream::pair()?;
    let speaker = Arc::clone(name);
    let accept = move || {
        if let Err(error) = accept(&socket, &ringing, &speaker) {
            tracing::error!(backend = &*speaker, %error, "cannot accept");
        }
    };
    let thread = Builder::new().name(name.to_string()).spawn(accept)?;
    Ok(Listening { bell, thread })
}

fn accept(socket: &TcpListener, ringing: &UnixStream, name: &Arc<str>) -> io::Result<()> {
    let conversations = Arc::new(AtomicUsize::new(0));
    loop {
        let mut wanted = [PollFd::new(socket, PollFlags::IN), PollFd::new(ringing, PollFlags::IN)];
        match poll(&mut wanted, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let rung = !wanted[1].revents().is_empty();
        // After the bell too: what the kernel has accepted would be reset by closing the socket.
        while let Some(stream) = next(socket)? {
            converse(stream, name, &conversations);
        }
        if rung {
            return Ok(());
        }
    }
}

/// The next connection that waits.
fn next(socket: &TcpListener) -> io::Result<Option<TcpStream>> {
    match socket.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(None),
            // One connection that came and went is not the end of the others.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => next(socket),
            _ => Err(error),
        },
    }
}

fn converse(stream: TcpStream, name: &Arc<str>, conversations: &Arc<AtomicUsize>) {
    let (name, count) = (Arc::clone(name), Arc::clone(conversations));
    if count.fetch_add(1, Ordering::Relaxed) >= MOST_CONVERSATIONS {
        count.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let ended = Arc::clone(conversations);
    let talk = move || {
        // A peer that resets is the normal end of some conversations.
        drop(speak::converse(&stream, &name));
        count.fetch_sub(1, Ordering::Relaxed);
    };
    if Builder::new().name("conversation".into()).stack_size(STACK).spawn(talk).is_err() {
        ended.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn ask(address: SocketAddr, text: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(text.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn speaks_http_and_lines() {
        let backend = Backend::start(2).unwrap();
        let answer = ask(backend.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nserved by backend-2\n"), "{answer}");
        let answer = ask(backend.address(), "HEAD / HTTP/1.0\r\n\r\n").unwrap();
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let answer = ask(backend.address(), "hello\nworld").unwrap();
        assert_eq!(answer, "backend-2: hello\nbackend-2: world\n");
    }

    #[test]
    fn stopped_backend_refuses_but_finishes_its_conversations() {
        let mut backend = Backend::start(1).unwrap();
        let mut open = TcpStream::connect(backend.address()).unwrap();
        backend.stop();
        assert!(!backend.serves());
        assert!(TcpStream::connect(backend.address()).is_err());
        open.write_all(b"still there?\n").unwrap();
        let mut answer = [0; 24];
        open.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"backend-1: still there?\n");
        backend.resume().unwrap();
        assert!(ask(backend.address(), "x\n").is_ok());
    }
}
