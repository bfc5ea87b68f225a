//! The ways to wait for many sockets, behind one face. Each does what a program has to do around
//! its system call: select(2) gets a copy of its set, poll(2)'s answers are looked through.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use nix::sys::select::{FdSet, select};
use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, epoll, poll};

/// FD_SETSIZE: select(2) of the C library holds descriptors below this.
const SELECT_MOST: usize = 1_024;

/// What one call tells of at most, as in a worker.
const EVENTS: usize = 1_024;

pub(crate) trait Wait {
    /// Waits once, and adds the indices of those that can be read.
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Select,
    Poll,
    EpollLevel,
    EpollEdge,
    Mio,
}

impl Method {
    pub(crate) const ALL: [Self; 5] =
        [Self::Select, Self::Poll, Self::EpollLevel, Self::EpollEdge, Self::Mio];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Poll => "poll",
            Self::EpollLevel => "epoll, level",
            Self::EpollEdge => "epoll, edge",
            Self::Mio => "mio",
        }
    }

    /// True exactly when it can hold so many connections: select(2) ends at FD_SETSIZE.
    pub(crate) fn holds(self, connections: usize) -> bool {
        self != Self::Select || connections + 8 <= SELECT_MOST
    }

    /// All that is to be done once.
    pub(crate) fn watch(self, sockets: &[TcpStream]) -> io::Result<Box<dyn Wait + '_>> {
        Ok(match self {
            Self::Select => Box::new(Select::new(sockets)?),
            Self::Poll => Box::new(Poll::new(sockets)),
            Self::EpollLevel => Box::new(Epoll::new(sockets, EventFlags::IN)?),
            Self::EpollEdge => Box::new(Epoll::new(sockets, EventFlags::IN | EventFlags::ET)?),
            Self::Mio => Box::new(Mio::new(sockets)?),
        })
    }
}

struct Select<'a> {
    set: FdSet<'a>,
    /// One more than the highest descriptor.
    bound: i32,
    /// The index of the socket that has the descriptor.
    index: Vec<usize>,
}

impl<'a> Select<'a> {
    fn new(sockets: &'a [TcpStream]) -> io::Result<Self> {
        let (mut set, mut index) = (FdSet::new(), vec![usize::MAX; SELECT_MOST]);
        let mut bound = 0;
        for (at, socket) in sockets.iter().enumerate() {
            let fd = socket.as_raw_fd();
            let place = usize::try_from(fd).ok().and_then(|fd| index.get_mut(fd));
            *place.ok_or(io::Error::other("select(2) cannot hold such a descriptor"))? = at;
            set.insert(socket.as_fd());
            bound = bound.max(fd + 1);
        }
        Ok(Self { set, bound, index })
    }
}

impl Wait for Select<'_> {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<()> {
        let mut answer = self.set;
        select(self.bound, &mut answer, None, None, None)?;
        let found = answer.fds(None).filter_map(|fd| usize::try_from(fd.as_raw_fd()).ok());
        ready.extend(found.filter_map(|fd| self.index.get(fd)));
        Ok(())
    }
}

struct Poll<'a>(Vec<PollFd<'a>>);

impl<'a> Poll<'a> {
    fn new(sockets: &'a [TcpStream]) -> Self {
        Self(sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect())
    }
}

impl Wait for Poll<'_> {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<()> {
        poll(&mut self.0, None)?;
        let all = self.0.iter().enumerate();
        ready.extend(all.filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| index));
        Ok(())
    }
}

struct Epoll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Epoll {
    fn new(sockets: &[TcpStream], flags: EventFlags) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, socket) in sockets.iter().enumerate() {
            epoll::add(&epoll, socket, EventData::new_u64(index as u64), flags)?;
        }
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }
}

impl Wait for Epoll {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<()> {
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), None)?;
        let indices = self.events.iter().map(|event| event.data.u64());
        ready.extend(indices.filter_map(|index| usize::try_from(index).ok()));
        Ok(())
    }
}

struct Mio {
    poll: mio::Poll,
    events: mio::Events,
}

impl Mio {
    fn new(sockets: &[TcpStream]) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        for (index, socket) in sockets.iter().enumerate() {
            let fd = socket.as_raw_fd();
            let interest = mio::Interest::READABLE;
            poll.registry().register(&mut SourceFd(&fd), mio::Token(index), interest)?;
        }
        Ok(Self { poll, events: mio::Events::with_capacity(EVENTS) })
    }
}

impl Wait for Mio {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<()> {
        self.poll.poll(&mut self.events, None)?;
        ready.extend(self.events.iter().map(|event| event.token().0));
        Ok(())
    }
}
