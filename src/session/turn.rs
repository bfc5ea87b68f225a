//! What a worker lends to a session for one turn: time, scratch memory, buffers and pipes.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Splice;
use crate::model::Budget;
use crate::net::Pages;

/// Spare buffers that a worker keeps.
const SPARE: usize = 16;

/// What is less than such a part of a buffer (4 KiB of 64) has one of its own size: thousands who wait to
/// be connected, each with its first request, cost what they sent.
const SMALL: usize = 16;

/// Bytes that one side would not take yet.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Memory,
    start: usize,
    end: usize,
    /// What of the budget it has, in bytes.
    charged: usize,
    budget: Arc<Budget>,
}

/// Where they are.
#[derive(Debug)]
enum Memory {
    /// As many as they are.
    Exact(Box<[u8]>),
    /// As many as any read may bring.
    Pages(Pages),
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Exact(bytes) => bytes,
            Self::Pages(pages) => pages,
        }
    }
}

impl Buffer {
    pub(super) fn waiting(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub(super) fn sent(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "more sent than there was");
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.budget.give(self.charged as u64);
    }
}

/// The buffers of one worker, charged to the budget of the process.
#[derive(Debug)]
pub struct Buffers {
    #[allow(clippy::vec_box, reason = "halves hold the box, so that an idle one is small")]
    free: Vec<Box<Buffer>>,
    size: usize,
    budget: Arc<Budget>,
}

impl Buffers {
    /// Makes no buffer yet. `size` is what one half may hold.
    pub fn new(size: usize, budget: Arc<Budget>) -> Self {
        Self { free: Vec::new(), size, budget }
    }

    /// From now on one half may hold `size`; buffers of another size are not used again.
    pub fn resize(&mut self, size: usize) {
        if size != self.size {
            self.size = size;
            self.free.clear();
        }
    }

    /// Makes sure that there is a buffer for what a read may bring. False: the budget is used up, or the
    /// kernel has no memory, and nothing may be read that could not be passed on.
    pub(super) fn reserve(&mut self) -> bool {
        !self.free.is_empty() || self.make()
    }

    #[cold]
    fn make(&mut self) -> bool {
        if !self.budget.take(self.size as u64) {
            return false;
        }
        let Ok(pages) = Pages::new(self.size) else {
            self.budget.give(self.size as u64);
            return false;
        };
        self.free.push(self.buffer(Memory::Pages(pages), 0, self.size));
        true
    }

    /// Keeps `bytes`, at most as many as a buffer is large.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Box<Buffer> {
        let count = bytes.len();
        if count < self.size / SMALL && self.budget.take(count as u64) {
            return self.buffer(Memory::Exact(bytes.into()), count, count);
        }
        if let Some(mut buffer) = self.free.pop()
            && let Memory::Pages(pages) = &mut buffer.memory
        {
            pages[..count].copy_from_slice(bytes);
            (buffer.start, buffer.end) = (0, count);
            return buffer;
        }
        // Never refused all the same: bytes that were read must not be lost.
        debug_assert!(false, "a buffer is reserved before bytes are read");
        self.buffer(Memory::Exact(bytes.into()), count, 0)
    }

    /// Takes back one whose bytes are sent. What is of a size of its own, or of that of before, is not used again.
    pub(super) fn give(&mut self, buffer: Box<Buffer>) {
        let of_size = matches!(&buffer.memory, Memory::Pages(pages) if pages.len() == self.size);
        if of_size && self.free.len() < SPARE {
            self.free.push(buffer);
        }
    }

    fn buffer(&self, memory: Memory, end: usize, charged: usize) -> Box<Buffer> {
        Box::new(Buffer { memory, start: 0, end, charged, budget: Arc::clone(&self.budget) })
    }
}

/// The empty pipes of one worker.
///
/// A half keeps a pipe only while bytes are in it, so that a few pipes serve many halves.
#[derive(Debug)]
pub struct Pipes<P> {
    free: Vec<P>,
    open: fn() -> Option<P>,
}

impl<P> Pipes<P> {
    /// `open` makes a pipe, or none when there is none to be had and copying must do.
    pub fn new(open: fn() -> Option<P>) -> Self {
        Self { free: Vec::new(), open }
    }

    pub(super) fn take(&mut self) -> Option<P> {
        self.free.pop().or_else(self.open)
    }

    pub(super) fn give(&mut self, pipe: P) {
        self.free.push(pipe);
    }
}

/// What a worker lends to a session for one turn.
#[derive(Debug)]
pub struct Turn<'a, P> {
    /// The time of this turn of the loop.
    pub now: Instant,
    /// Memory to read into, as large as a buffer; what is in it does not outlive the turn.
    pub scratch: &'a mut [u8],
    /// For what a side refuses.
    pub buffers: &'a mut Buffers,
    /// For bulk.
    pub pipes: &'a mut Pipes<P>,
    /// When pipes are used.
    pub splice: Splice,
    /// True exactly when there are so many sessions that what comes for one has left the cache.
    pub crowded: bool,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Buffers;
    use crate::model::Budget;

    #[test]
    fn what_is_small_costs_its_own_size_and_what_is_not_a_whole_buffer() {
        let budget = Arc::new(Budget::new(1 << 20));
        let mut buffers = Buffers::new(64 << 10, Arc::clone(&budget));
        assert!(buffers.reserve());
        let reserved = budget.used();
        let small = buffers.keep(&[b'.'; 100]);
        assert_eq!((small.waiting(), budget.used() - reserved), (&[b'.'; 100][..], 100));
        buffers.give(small);
        assert_eq!(budget.used(), reserved, "it is not kept for others, whose bytes may be more");
        let large = buffers.keep(&[b'.'; 4096]);
        assert_eq!((large.waiting().len(), budget.used()), (4096, reserved));
    }

    #[test]
    fn what_is_small_has_the_reserved_buffer_where_the_budget_is_used_up() {
        let budget = Arc::new(Budget::new(64 << 10));
        let mut buffers = Buffers::new(64 << 10, Arc::clone(&budget));
        assert!(buffers.reserve());
        let small = buffers.keep(b"hello");
        assert_eq!((small.waiting(), budget.used()), (&b"hello"[..], 64 << 10));
        assert!(!buffers.reserve());
    }

    #[test]
    fn one_of_a_size_of_its_own_is_never_used_again_though_a_reload_makes_that_the_size() {
        let mut buffers = Buffers::new(64 << 10, Arc::new(Budget::new(1 << 20)));
        assert!(buffers.reserve());
        let old = buffers.keep(&[b'.'; 1000]);
        buffers.resize(1000);
        buffers.give(old);
        assert!(buffers.reserve());
        assert_eq!(buffers.keep(&[b'!'; 500]).waiting(), [b'!'; 500]);
    }
}
