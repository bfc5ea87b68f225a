//! A bound on the bytes that all sessions together hold in buffers (`limits.buffers`).

use std::sync::atomic::{AtomicU64, Ordering};

/// A bound in bytes, shared by all workers.
#[derive(Debug)]
pub struct Budget {
    most: AtomicU64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `most` bytes.
    pub fn new(most: u64) -> Self {
        Self { most: AtomicU64::new(most), used: AtomicU64::new(0) }
    }

    /// Changes the bound. What is in use beyond it stays in use.
    pub fn set(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The bound.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, or nothing if they do not fit.
    pub fn take(&self, bytes: u64) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        if self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= most {
            return true;
        }
        self.give(bytes);
        false
    }

    /// Gives back what was taken.
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
