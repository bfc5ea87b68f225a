//! Clients that come all at once: none waits for another, and who is not served comes again at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, SockRef, Socket, Type};

use super::support::{SOON, eventually, pause};

/// So many leave at once.
const AT_ONCE: usize = 300;

/// What came of them.
#[derive(Debug, Default)]
pub struct Rush {
    /// Who was served, and is there yet.
    pub served: Vec<TcpStream>,
    /// How often one was not, and came again.
    pub failed: usize,
}

/// A client.
struct Comer {
    stream: TcpStream,
    /// True exactly when it has asked.
    asked: bool,
}

/// So many come to `address` at once, and again until they are served, for at most so long from when all
/// are on their way and `come` has been called.
pub fn rush(address: SocketAddr, clients: usize, within: Duration, come: impl FnOnce()) -> Rush {
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let mut comers: Vec<Option<Comer>> =
        (0..clients).map(|number| Some(Comer::come(address, &epoll, number))).collect();
    come();
    let until = Instant::now() + within;
    let mut rush = Rush::default();
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let look = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while rush.served.len() < clients && Instant::now() < until {
        events.clear();
        let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&look));
        for event in &events {
            let number = usize::try_from(event.data.u64()).unwrap();
            let Some(mut comer) = comers[number].take() else { continue };
            match comer.turn(&epoll, number) {
                Ok(true) => rush.served.push(comer.leave(&epoll)),
                Ok(false) => comers[number] = Some(comer),
                Err(_) => {
                    rush.failed += 1;
                    drop(comer);
                    comers[number] = Some(Comer::come(address, &epoll, number));
                }
            }
        }
    }
    rush
}

impl Rush {
    /// All leave by a reset, some at a time: the next once `left` says that so many are there no more. A
    /// line is logged for each, and more at once than the log holds would be dropped.
    pub fn reset(mut self, left: impl Fn(usize) -> bool) {
        while !self.served.is_empty() {
            let stay = self.served.len().saturating_sub(AT_ONCE);
            for stream in self.served.drain(stay..) {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            eventually(SOON, || left(stay));
        }
    }
}

impl Comer {
    fn come(address: SocketAddr, epoll: &OwnedFd, number: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // It is under way; how it ends is told by an event.
        let _ = socket.connect(&address.into());
        let stream = TcpStream::from(socket);
        let token = EventData::new_u64(number as u64);
        epoll::add(epoll, &stream, token, EventFlags::OUT).unwrap();
        Self { stream, asked: false }
    }

    /// Asks once it is connected, and takes the answer; true exactly when it has.
    fn turn(&mut self, epoll: &OwnedFd, number: usize) -> std::io::Result<bool> {
        if !self.asked {
            self.stream.write_all(b"hello")?;
            self.asked = true;
            let token = EventData::new_u64(number as u64);
            epoll::modify(epoll, &self.stream, token, EventFlags::IN)?;
            return Ok(false);
        }
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn leave(self, epoll: &OwnedFd) -> TcpStream {
        epoll::delete(epoll, &self.stream).unwrap();
        self.stream
    }
}

/// How often counts are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// In how much time a peak is reached.
const WINDOW: Duration = Duration::from_millis(100);

/// Does `work`; by how much any one of these counts rose at most in `WINDOW` meanwhile. A count that
/// is not there yet is zero.
pub fn peak_during<T>(
    counts: impl Fn() -> Vec<usize> + Sync,
    work: impl FnOnce() -> T,
) -> (T, f64) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = vec![(Instant::now(), counts())];
            while !stop.load(Ordering::SeqCst) {
                pause(LOOK);
                looks.push((Instant::now(), counts()));
            }
            looks
        });
        let done = work();
        stop.store(true, Ordering::SeqCst);
        (done, peak(&looks.join().unwrap()))
    })
}

fn peak(looks: &[(Instant, Vec<usize>)]) -> f64 {
    let of = |index: usize| {
        let (began, before) = &looks[index];
        let later = |look: &&(Instant, Vec<usize>)| look.0.duration_since(*began) >= WINDOW;
        let (ended, after) = looks[index..].iter().find(later).or(looks.last())?;
        let risen = after.iter().enumerate().map(|(n, now)| now - before.get(n).unwrap_or(&0));
        // A look may be late.
        let part = WINDOW.as_secs_f64() / ended.duration_since(*began).max(WINDOW).as_secs_f64();
        risen.max().map(|risen| risen as f64 * part)
    };
    (0..looks.len()).filter_map(of).fold(0.0, f64::max)
}
