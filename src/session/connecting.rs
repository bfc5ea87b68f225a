//! The part of a session before its relay: looking for an upstream, and waiting for a connect.

use std::fmt;
use std::io;
use std::time::Instant;

use super::side::{Ended, Side};
use super::turn::Turn;
use super::{Session, Stage, Want};
use crate::net::Stream;
use crate::plugin::{Cause, EndReason, Phase};

/// Why an attempt to connect came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// With this error of connect(2).
    Failed(io::ErrorKind),
    /// `connect.timeout` passed.
    TimedOut,
    /// It connected, and was reset before a byte went either way.
    ResetUnused,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(kind) => kind.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::ResetUnused => f.write_str("reset before a byte went either way"),
        }
    }
}

impl ConnectFailure {
    /// True exactly when it speaks against the backend, and not against this host: no source port is
    /// left, no address of this kind is there, or the port that the client came to leads nowhere.
    pub fn is_the_backends(self) -> bool {
        let ours = [io::ErrorKind::AddrNotAvailable, io::ErrorKind::Unsupported];
        !matches!(self, Self::Failed(kind) if ours.contains(&kind))
    }
}

impl<S: Stream> Session<S> {
    /// Bounds all attempts to connect together, whatever is tried.
    pub fn connect_by(&mut self, deadline: Instant) {
        self.connect_by = deadline;
    }

    /// True exactly when nothing is to be tried any more.
    pub fn is_late(&self, now: Instant) -> bool {
        now >= self.connect_by
    }

    /// Lets go of the upstream and waits for one until `deadline`.
    pub fn hold(&mut self, deadline: Instant) {
        self.let_go();
        self.connect_by = deadline;
    }

    /// A connect is under way, which may take until `deadline`.
    pub fn connect_started(&mut self, upstream: S, deadline: Instant) {
        let mut upstream = Side::new(upstream);
        upstream.writable = false;
        self.stage = Stage::Connecting { upstream, until: deadline };
    }

    /// The upstream is connected.
    pub fn connected(&mut self, upstream: S, now: Instant) {
        self.clock.progressed(now);
        self.stage = Stage::Relaying { upstream: Side::new(upstream) };
    }

    pub(super) fn wait_for_candidate(&self, now: Instant) -> Want {
        if self.is_late(now) {
            return Want::End(EndReason { cause: Cause::ConnectTimeout, phase: Phase::Connect });
        }
        Want::Nothing
    }

    pub(super) fn wait_for_connect(&mut self, turn: &mut Turn<'_, S::Pipe>) -> Want {
        let Stage::Connecting { upstream, until } = &mut self.stage else { return Want::Nothing };
        if upstream.ended() == Ended::Reset {
            let error = upstream.stream.take_connect_error();
            let error = error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
            if !was_connected(&error) {
                return self.seek_again(ConnectFailure::Failed(error.kind()));
            }
            upstream.failed(&error);
        }
        if upstream.writable {
            if let Stage::Connecting { upstream, .. } =
                std::mem::replace(&mut self.stage, Stage::Seeking)
            {
                self.stage = Stage::Relaying { upstream };
            }
            self.clock.progressed(turn.now);
            return self.relay(turn);
        }
        if turn.now >= *until {
            return self.seek_again(ConnectFailure::TimedOut);
        }
        // The backend would have had more time, so this does not speak against it.
        self.wait_for_candidate(turn.now)
    }

    /// Lets go of the upstream. What the client sent stays held for the next one.
    pub(super) fn seek_again(&mut self, failure: ConnectFailure) -> Want {
        self.let_go();
        Want::Connect(Some(failure))
    }

    fn let_go(&mut self) {
        if let Some(upstream) = self.stage.upstream_mut() {
            upstream.stream.reset();
        }
        self.stage = Stage::Seeking;
        self.up.closed = false;
    }
}

/// True exactly when a connection was there before it broke, so that bytes of it may have arrived:
/// a handshake that fails is refused, times out, or finds no way (tcp_reset, tcp_v4_err).
fn was_connected(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
