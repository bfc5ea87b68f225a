//! What a worker lends to a session for one turn: time, scratch memory, buffers and pipes.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Splice;
use crate::model::Budget;

/// Spare buffers that a worker keeps.
const SPARE: usize = 16;

/// Bytes that one side would not take yet.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    budget: Arc<Budget>,
}

impl Buffer {
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn sent(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "more sent than there was");
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.budget.give(self.bytes.len() as u64);
    }
}

/// The buffers of one worker, each of one size and charged to the budget of the process.
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

    /// Makes sure that there is a buffer for what a read may bring. False: the budget is used up,
    /// and nothing may be read that could not be passed on.
    pub(super) fn reserve(&mut self) -> bool {
        if self.free.is_empty() && self.budget.take(self.size as u64) {
            self.free.push(self.make());
        }
        !self.free.is_empty()
    }

    /// Keeps `bytes`, at most as many as a buffer is large.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Box<Buffer> {
        let mut buffer = self.free.pop().unwrap_or_else(|| {
            // Not reserved: never refused all the same, since bytes that were read must not be lost.
            debug_assert!(false, "a buffer is reserved before bytes are read");
            self.budget.take(self.size as u64);
            self.make()
        });
        buffer.bytes[..bytes.len()].copy_from_slice(bytes);
        buffer.start = 0;
        buffer.end = bytes.len();
        buffer
    }

    pub(super) fn give(&mut self, buffer: Box<Buffer>) {
        if self.free.len() < SPARE && buffer.bytes.len() == self.size {
            self.free.push(buffer);
        }
    }

    fn make(&self) -> Box<Buffer> {
        let budget = Arc::clone(&self.budget);
        Box::new(Buffer { bytes: vec![0; self.size].into_boxed_slice(), start: 0, end: 0, budget })
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
}
