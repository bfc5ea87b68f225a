//! A connection on which a probe talks with a backend that it does not trust.
//!
//! What the backend says is bounded in bytes and in pieces, so that no probe holds much memory or
//! looks at the same bytes again and again; the time is bounded by whoever measures.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::tcp::{Connection, connect, say};
use crate::plugin::Target;

/// Bytes that a backend may say.
const BYTES: usize = 64 << 10;

/// Reads that this may take.
const PIECES: usize = 1000;

/// Bytes of one read.
const PIECE: usize = 4 << 10;

/// A conversation, which ends by a reset when it is dropped.
pub(super) struct Conversation<'a> {
    target: &'a Target,
    connection: Box<dyn Connection>,
    heard: Vec<u8>,
    bytes: usize,
    pieces: usize,
}

impl<'a> Conversation<'a> {
    /// Connects.
    pub(super) async fn with(target: &'a Target) -> Result<Self, String> {
        target.wait_for("a connection");
        let connection = connect(&target.address).await.map_err(|error| say(&error))?;
        Ok(Self { target, connection, heard: Vec::new(), bytes: 0, pieces: 0 })
    }

    /// Notes what is waited for from now on.
    pub(super) fn wait_for(&self, what: impl Into<String>) {
        self.target.wait_for(what);
    }

    /// Says all of it.
    pub(super) async fn tell(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.connection.write_all(bytes).await.map_err(|error| say(&error))
    }

    /// Says that this was all.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        self.connection.shutdown().await.map_err(|error| say(&error))
    }

    /// Waits until the backend has said more. False exactly when it has ended.
    pub(super) async fn hear(&mut self) -> Result<bool, String> {
        if self.bytes > BYTES {
            return Err(format!("the answer is over {} KiB", BYTES >> 10));
        }
        if self.pieces >= PIECES {
            return Err(format!("the answer came in more than {PIECES} pieces"));
        }
        self.heard.reserve(PIECE);
        let mut connection = (&mut self.connection).take(PIECE as u64);
        let count = connection.read_buf(&mut self.heard).await.map_err(|error| say(&error))?;
        self.bytes += count;
        self.pieces += 1;
        Ok(count > 0)
    }

    /// What was said and not taken.
    pub(super) fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// Takes so many bytes of what was said.
    pub(super) fn take(&mut self, count: usize) {
        self.heard.drain(..count.min(self.heard.len()));
    }
}
