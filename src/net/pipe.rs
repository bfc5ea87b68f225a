//! Pipes that bytes are spliced through, and how many the process has.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// A user without CAP_SYS_RESOURCE gets 64 pipes of 1 MiB (pipe-user-pages-soft, pipe(7)); then
/// new ones hold two pages. So many are used at most, by all workers together.
const MOST: usize = 48;

/// Bytes asked for: the largest that everybody may have (pipe-max-size, pipe(7)).
const CAPACITY: usize = 1 << 20;

/// A pipe that was granted less moves bytes in pieces too small to gain anything.
const LEAST: usize = 256 << 10;

/// Pipes that are open in the process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A pipe of at least 256 KiB, non-blocking at both ends.
#[derive(Debug)]
pub struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    pub(super) capacity: usize,
}

impl Pipe {
    /// An empty pipe, or `None` when there is none to be had and copying must do.
    pub fn open() -> Option<Self> {
        if OPEN.fetch_add(1, Ordering::Relaxed) < MOST
            && let Ok(pipe) = Self::make()
        {
            return Some(pipe);
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn make() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let capacity = fcntl_setpipe_size(&write, CAPACITY)?;
        if capacity < LEAST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { read, write, capacity })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}
