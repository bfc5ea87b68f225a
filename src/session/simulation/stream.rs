//! What a session gets of a connection, and pipes to splice through.

use std::cell::Cell;
use std::io::{Error, Read, Result, Write};

use super::kernel::Family;
use super::link::Shared;
use crate::net::{Liveness, Stream};

thread_local! {
    /// Pipes that are open.
    pub(super) static PIPES: Cell<usize> = const { Cell::new(0) };
    /// Pipes that may be.
    pub(super) static PIPES_MOST: Cell<usize> = const { Cell::new(0) };
}

/// A pipe.
#[derive(Debug)]
pub(super) struct FakePipe(Vec<u8>);

impl FakePipe {
    pub(super) fn open() -> Option<Self> {
        if PIPES.get() >= PIPES_MOST.get() {
            return None;
        }
        PIPES.set(PIPES.get() + 1);
        Some(Self(Vec::new()))
    }
}

impl Drop for FakePipe {
    fn drop(&mut self) {
        PIPES.set(PIPES.get() - 1);
    }
}

/// What a session gets.
#[derive(Debug)]
pub(super) struct FakeStream(pub(super) Shared);

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.0.borrow_mut().close();
    }
}

impl Read for FakeStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut link = self.0.borrow_mut();
        link.mood()?;
        // A unix socket stops short where it pleases.
        let short = link.moody && link.family() == Family::Unix && !buffer.is_empty();
        let most = if short { link.chance.usize(1..=buffer.len()) } else { buffer.len() };
        link.kernel.read(&mut buffer[..most])
    }
}

impl Write for FakeStream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut link = self.0.borrow_mut();
        link.mood()?;
        if link.moody && !link.kernel.closed && link.chance.bad_luck(5) {
            return Err(link.kernel.no_memory());
        }
        link.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Stream for FakeStream {
    type Pipe = FakePipe;

    fn splices(&self) -> bool {
        self.0.borrow().family() == Family::Tcp
    }

    fn take_connect_error(&mut self) -> Option<Error> {
        self.0.borrow_mut().kernel.take_error()
    }

    fn peek(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut link = self.0.borrow_mut();
        link.mood()?;
        link.kernel.look(buffer)
    }

    fn write_last(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write(bytes)
    }

    fn shutdown_write(&mut self) -> Result<()> {
        self.0.borrow_mut().kernel.shutdown_write()
    }

    fn reset(&mut self) {
        self.0.borrow_mut().linger_zero = true;
    }

    fn unacknowledged(&self) -> Result<usize> {
        Ok(self.0.borrow().kernel.outstanding())
    }

    fn unread(&self) -> Result<usize> {
        Ok(self.0.borrow().kernel.unread())
    }

    fn liveness(&self) -> Result<Liveness> {
        Ok(self.0.borrow().liveness())
    }

    fn splice_from(&mut self, pipe: &mut FakePipe) -> Result<usize> {
        let mut link = self.0.borrow_mut();
        assert!(pipe.0.is_empty(), "a pipe with something in it was lent out");
        link.mood()?;
        // Slots run out before bytes do.
        let most = link.pipe_capacity;
        let most = if link.moody { link.chance.usize(1..=most) } else { most };
        pipe.0 = link.kernel.splice(most)?;
        Ok(pipe.0.len())
    }

    fn splice_to(&mut self, pipe: &mut FakePipe, length: usize) -> Result<usize> {
        let mut link = self.0.borrow_mut();
        link.mood()?;
        assert_eq!(length, pipe.0.len(), "the half knows what its pipe holds");
        let cut = link.moody && length > 1 && link.peer.aborting && link.can_bring();
        let count = link.write(&pipe.0[..if cut { length / 2 } else { length }])?;
        pipe.0.drain(..count);
        if cut {
            // The reset comes halfway: some bytes were moved, so the error is not told, but gone.
            link.bring();
            link.error_lost = link.kernel.take_error().is_some();
        }
        Ok(count)
    }

    fn unsplice(pipe: &mut FakePipe, buffer: &mut [u8]) -> Result<usize> {
        let count = pipe.0.len().min(buffer.len());
        buffer[..count].copy_from_slice(&pipe.0[..count]);
        pipe.0.drain(..count);
        Ok(count)
    }
}
