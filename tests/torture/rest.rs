//! What a proxy holds at rest, while nobody is there: its descriptors and its memory. Both must be back
//! once everybody has gone.

use super::proxy::Proxy;
use super::support::{Process, SOON, comes_true};

/// Resident memory in bytes that may stay with the process, unless said otherwise: freed, but not given
/// back yet.
pub const KEPT: u64 = 2 << 20;

/// Ends of pipes that workers may keep for the next bulk.
const PIPES: usize = 2 * 48;

/// What one held before any client came.
#[derive(Debug)]
pub struct Rest {
    descriptors: usize,
    /// Ends of pipes.
    pipes: usize,
    /// In bytes.
    resident: u64,
    /// What may stay of what comes, in bytes.
    room: u64,
}

impl Rest {
    /// What it holds now.
    pub fn of(proxy: &dyn Proxy) -> Self {
        // A proxy that has just begun to listen may have a file open that it is reading yet.
        comes_true(SOON, || proxy.processes().into_iter().all(Process::is_asleep));
        Self {
            descriptors: descriptors(proxy),
            pipes: pipes(proxy),
            resident: resident(proxy),
            room: KEPT,
        }
    }

    /// The same if so many bytes may stay.
    pub fn with_room(self, room: u64) -> Self {
        Self { room, ..self }
    }

    /// True exactly when it holds no more descriptors than then, but for two of each of so many sessions.
    pub fn holds_only(&self, proxy: &dyn Proxy, sessions: usize) -> bool {
        // A sanitizer opens the file in which it reports, and keeps it.
        descriptors(proxy) <= self.descriptors + 2 * sessions + usize::from(is_sanitized())
    }

    /// Waits until nothing is left but so many sessions, of whose end the kernel did not tell the proxy;
    /// panics if something is.
    #[track_caller]
    pub fn expect_back(&self, proxy: &dyn Proxy, case: &str, untold: usize) {
        let gone = comes_true(SOON, || self.holds_only(proxy, untold));
        let (held, before) = (descriptors(proxy), self.descriptors);
        assert!(gone, "{case}: {held} descriptors, {before} before");
        let pipes = pipes(proxy).saturating_sub(self.pipes);
        assert!(pipes <= PIPES, "{case}: {pipes} ends of pipes more than before");
        // A sanitizer keeps what is freed, to find out who uses it yet.
        let back =
            is_sanitized() || comes_true(SOON, || resident(proxy) <= self.resident + self.room);
        let (now, before) = (resident(proxy), self.resident);
        assert!(back, "{case}: {} KiB resident, {} before", now >> 10, before >> 10);
    }

    /// How its resident memory has grown, in bytes.
    pub fn grown(&self, proxy: &dyn Proxy) -> u64 {
        resident(proxy).saturating_sub(self.resident)
    }
}

/// True exactly when what is played runs under a sanitizer, which makes it slow.
pub fn is_sanitized() -> bool {
    ["ASAN_OPTIONS", "TSAN_OPTIONS"].iter().any(|it| std::env::var_os(it).is_some())
}

/// Resident memory in bytes.
pub fn resident(proxy: &dyn Proxy) -> u64 {
    proxy.processes().into_iter().map(Process::resident).sum()
}

/// Open ends of pipes.
fn pipes(proxy: &dyn Proxy) -> usize {
    proxy.processes().into_iter().map(Process::pipes).sum()
}

/// Open descriptors but for pipes: those that workers keep are not of a session.
fn descriptors(proxy: &dyn Proxy) -> usize {
    let held = |process: &Process| process.descriptors().saturating_sub(process.pipes());
    proxy.processes().iter().map(held).sum()
}
