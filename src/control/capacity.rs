//! How many sessions and how much memory this process can carry.

use crate::config::Limits;
use crate::net::{memory, raise_descriptor_limit};

/// Descriptors that are not for sessions: standard streams, logs, polls, 48 pipes, look-ups.
const RESERVED: u64 = 192;

/// Of the memory this part may hold buffered bytes.
const SHARE_OF_MEMORY: u64 = 4;

/// What the process allows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) sessions: u32,
    pub(super) buffers: u64,
}

/// Lifts the limit of descriptors and sizes the process by it and by the file.
pub(super) fn measure(limits: &Limits, listening: usize) -> Capacity {
    let descriptors = raise_descriptor_limit();
    let carried = carried(descriptors, listening as u64);
    let sessions = limits.max_connections.unwrap_or(carried);
    if sessions > carried {
        tracing::warn!(
            max_connections = sessions,
            descriptors,
            lowered_to = carried,
            "limits.max_connections is more than the descriptors carry",
        );
    }
    let buffers = limits.buffers.unwrap_or_else(|| memory() / SHARE_OF_MEMORY);
    Capacity { sessions: sessions.min(carried), buffers }
}

/// Sessions that so many descriptors carry: each takes two.
fn carried(descriptors: u64, listening: u64) -> u32 {
    let sessions = descriptors.saturating_sub(RESERVED + listening) / 2;
    u32::try_from(sessions).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_two_descriptors() {
        assert_eq!(carried(20_000, 8), 9_900);
        assert_eq!(carried(10, 8), 1);
        assert_eq!(carried(u64::MAX, 0), u32::MAX);
    }
}
