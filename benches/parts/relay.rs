//! A session that relays between two streams without a kernel.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::config::{Splice, Timeouts};
use forebay::model::Budget;
use forebay::net::{Liveness, Stream};
use forebay::session::{Buffers, Pipes, Readiness, Session, Turn, Want, Who};

pub(crate) const SCRATCH: usize = 64 << 10;

/// A session, and what a worker lends it.
pub(crate) struct Relay {
    session: Session<Fake>,
    buffers: Buffers,
    pipes: Pipes<()>,
    scratch: Vec<u8>,
    now: Instant,
}

impl Relay {
    /// Each side gives `give` bytes a turn.
    pub(crate) fn new(give: usize) -> Self {
        let now = Instant::now();
        let fake = || Fake { give, left: give };
        let mut session = Session::new(fake(), Arc::new(timeouts()), now, 0);
        session.connected(fake(), now);
        let buffers = Buffers::new(SCRATCH, Arc::new(Budget::new(1 << 30)));
        Self { session, buffers, pipes: Pipes::new(|| None), scratch: vec![0; SCRATCH], now }
    }

    /// Both sides have become readable: one turn of the loop.
    pub(crate) fn turn(&mut self) -> Option<Instant> {
        let readable = Readiness { readable: true, ..Readiness::default() };
        self.session.event(Who::Client, readable);
        self.session.event(Who::Upstream, readable);
        let want = self.session.advance(&mut Turn {
            now: self.now,
            scratch: &mut self.scratch,
            buffers: &mut self.buffers,
            pipes: &mut self.pipes,
            splice: Splice::Auto,
            crowded: false,
        });
        debug_assert_eq!(want, Want::Nothing);
        self.session.deadline()
    }
}

fn timeouts() -> Timeouts {
    Timeouts {
        idle: Some(Duration::from_secs(3_600)),
        half_closed: Some(Duration::from_secs(30)),
        lifetime: None,
        lifetime_jitter: 0,
        abort: Duration::from_secs(10),
        dead_peer: Some(Duration::from_secs(30)),
    }
}

/// A stream that always gives `give` bytes and takes all.
struct Fake {
    give: usize,
    left: usize,
}

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.left.min(buffer.len());
        self.left -= count;
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What is written is what the next turn finds to read.
        self.left = self.give;
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Fake {
    type Pipe = ();

    fn splices(&self) -> bool {
        false
    }

    fn take_connect_error(&mut self) -> Option<io::Error> {
        None
    }

    fn peek(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}

    fn unacknowledged(&self) -> io::Result<usize> {
        Ok(0)
    }

    fn unread(&self) -> io::Result<usize> {
        Ok(self.left)
    }

    fn liveness(&self) -> io::Result<Liveness> {
        Ok(Liveness { last_acknowledgement: Duration::ZERO, unanswered: 0 })
    }

    fn splice_from(&mut self, (): &mut ()) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn splice_to(&mut self, (): &mut (), _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn unsplice((): &mut (), _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
