//! Memory that comes from the kernel and goes back to it, page by page.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Zeroed memory. Only the pages that are written to cost any; all go back to the kernel when it is
/// dropped, whatever was allocated since (mmap(2), MAP_ANONYMOUS). An allocator keeps memory that
/// lies under something else.
#[derive(Debug)]
pub struct Pages(MmapMut);

impl Pages {
    /// So many bytes. An error: the kernel has none, or the process has too many mappings.
    pub fn new(bytes: usize) -> io::Result<Self> {
        MmapMut::map_anon(bytes).map(Self)
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
