//! Addresses that are given up, with clients in their queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sockets::Sockets;
use crate::model::{ListenerView, SocketId};

/// After new handshakes are turned away, those under way get so long to complete.
const HANDSHAKES: Duration = Duration::from_millis(900);

/// An address that is being given up:
///
/// ```text
///   turn new clients away ─► 900 ms ─► accept what waits ─► closed
/// ```
#[derive(Debug)]
pub(super) struct Retiring {
    pub(super) sockets: Sockets,
    /// The listener that it served last.
    pub(super) view: Arc<ListenerView>,
    since: Instant,
    /// What still waits after this is reset.
    pub(super) reset_after: Option<Instant>,
    /// True exactly when workers are to let go of it as soon as nothing waits.
    pub(super) told: bool,
}

impl Retiring {
    /// Turns new clients away. The path of a unix socket is free from now on.
    pub(super) fn start(
        sockets: Sockets,
        view: Arc<ListenerView>,
        now: Instant,
        reset_after: Option<Instant>,
    ) -> Self {
        for socket in &sockets.sockets {
            if let Err(error) = socket.turn_away() {
                tracing::warn!(address = %socket.address(), %error, "cannot turn new clients away");
            }
            socket.unlink();
        }
        Self { sockets, view, since: now, reset_after, told: false }
    }

    pub(super) fn id(&self) -> SocketId {
        self.sockets.id
    }

    /// The address is wanted again: clients are welcome, and workers have to be told.
    pub(super) fn undo(mut self) -> Sockets {
        for socket in &self.sockets.sockets {
            if let Err(error) = socket.welcome() {
                tracing::error!(address = %socket.address(), %error, "cannot welcome clients again");
            }
        }
        self.sockets.again = true;
        self.sockets
    }

    /// What workers are to be told now, if anything.
    pub(super) fn step(&mut self, now: Instant) -> Option<SocketId> {
        if self.told || now < self.since + HANDSHAKES {
            return None;
        }
        self.told = true;
        Some(self.id())
    }

    /// True exactly when no worker holds a socket of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.told && self.sockets.sockets.iter().all(|socket| Arc::strong_count(socket) == 1)
    }
}
