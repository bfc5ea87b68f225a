//! The state machine of one session: a client, an upstream, and a half for each direction.
//!
//! ```text
//!              connect_started        writable
//!   Seeking ───────────────────► Connecting ───► Relaying ───► Aborting ──► end
//!      ▲  ╲__________________________╱  ▲ ╲          │  (both FINs) ─────────► end
//!      │            connected            │  ╲        │
//!      └────── failed, timed out ────────┴───╴ reset before any byte
//! ```
//!
//! Promises that each side gets all bytes of the other in order and then what the other did: a FIN
//! for a FIN, a reset for a reset. It does no polling and reads no clock: events and the time come
//! in, and what it wants goes out as a value.

mod abort;
mod bulk;
mod clock;
mod connecting;
mod half;
mod side;
mod turn;
mod way;

#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test, also when a fuzzer drives it")]
#[cfg_attr(not(test), allow(dead_code, reason = "what only other tests use"))]
mod simulation;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::simulation::simulate;

use std::sync::Arc;
use std::time::Instant;

use self::abort::Abort;
use self::clock::Clock;
pub use self::connecting::ConnectFailure;
use self::half::{Flow, Half};
use self::side::Side;
pub use self::side::{Ended, News, Readiness};
pub use self::turn::{Buffers, Pipes, Turn};
use self::way::OneWay;
use crate::config::Timeouts;
use crate::net::Stream;
use crate::plugin::{Cause, EndReason, Phase};

/// Rounds over both halves in one turn: one half may meet what the other has to act on.
const ROUNDS: u32 = 3;

/// The two sides of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Upstream,
}

/// What a session wants of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// To be told of events, and woken at its deadline.
    Nothing,
    /// Another turn soon: it stopped because others have theirs.
    Turn,
    /// A connect to the next candidate; the one before failed as told, if there was one.
    Connect(Option<ConnectFailure>),
    /// To end.
    End(EndReason),
}

/// A session.
#[derive(Debug)]
pub struct Session<S: Stream> {
    client: Side<S>,
    stage: Stage<S>,
    /// Client to upstream.
    up: Half<S::Pipe>,
    /// Upstream to client.
    down: Half<S::Pipe>,
    clock: Clock,
    connect_by: Instant,
    one_way: OneWay,
    /// True exactly when the sockets need no RST any more.
    finished: bool,
}

#[derive(Debug)]
enum Stage<S> {
    /// The worker is looking for an upstream.
    Seeking,
    /// A connect is under way, which may take until then.
    Connecting { upstream: Side<S>, until: Instant },
    /// Bytes move.
    Relaying { upstream: Side<S> },
    /// One side is broken; the other still gets what had arrived, then a reset.
    Aborting { upstream: Side<S>, abort: Box<Abort> },
}

impl<S: Stream> Session<S> {
    /// A session of a client that was just accepted. `luck` is a random number.
    pub fn new(client: S, timeouts: Arc<Timeouts>, now: Instant, luck: u64) -> Self {
        Self {
            client: Side::new(client),
            stage: Stage::Seeking,
            up: Half::new(),
            down: Half::new(),
            clock: Clock::new(timeouts, now, luck),
            connect_by: now,
            one_way: OneWay::default(),
            finished: false,
        }
    }

    /// The client's protocol makes it send first: a read may find something already.
    pub fn expect_data(&mut self) {
        self.client.readable = true;
    }

    /// Reads what the client has sent already, so that the upstream gets it with the connect.
    /// True exactly when there was something.
    pub fn read_early(&mut self, turn: &mut Turn<'_, S::Pipe>) -> bool {
        self.up.read_early(&mut self.client, turn);
        self.up.held() > 0
    }

    /// Tells what the poll said of one side, and whether that is any news.
    pub fn event(&mut self, who: Who, seen: Readiness) -> News {
        let blocked = !self.wants_read(who);
        let side = match who {
            Who::Client => Some(&mut self.client),
            Who::Upstream => self.stage.upstream_mut(),
        };
        side.map_or(News::Room, |side| side.event(seen, blocked))
    }

    /// Does what can be done now, and tells what is wanted next.
    pub fn advance(&mut self, turn: &mut Turn<'_, S::Pipe>) -> Want {
        match &self.stage {
            Stage::Seeking | Stage::Connecting { .. } if self.client.ended() == Ended::Reset => {
                Want::End(EndReason { cause: Cause::ClientLeft, phase: Phase::Connect })
            }
            Stage::Seeking => self.wait_for_candidate(turn.now),
            Stage::Connecting { .. } => self.wait_for_connect(turn),
            Stage::Relaying { .. } => self.relay(turn),
            Stage::Aborting { .. } => self.abort(turn),
        }
    }

    /// When [`advance`](Self::advance) is to be called though nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Seeking => Some(self.connect_by),
            Stage::Connecting { until, .. } => Some((*until).min(self.connect_by)),
            Stage::Relaying { .. } => self.clock.deadline(self.is_half_closed()),
            Stage::Aborting { abort, .. } => Some(abort.deadline()),
        }
    }

    /// True exactly when the poll is to say that a side is writable.
    pub fn wants_write(&self, who: Who) -> bool {
        match who {
            Who::Client => !self.client.writable,
            Who::Upstream => self.upstream().is_some_and(|side| !side.writable),
        }
    }

    /// False exactly when bytes move and the other side has no room for those of this one.
    pub fn wants_read(&self, who: Who) -> bool {
        match (&self.stage, who) {
            (Stage::Relaying { upstream }, Who::Client) => upstream.writable,
            (Stage::Relaying { .. }, Who::Upstream) => self.client.writable,
            (Stage::Seeking | Stage::Connecting { .. } | Stage::Aborting { .. }, _) => true,
        }
    }

    /// The client's socket.
    pub fn client_stream(&self) -> &S {
        &self.client.stream
    }

    /// The upstream's socket, also while it connects.
    pub fn upstream_stream(&self) -> Option<&S> {
        self.upstream().map(|side| &side.stream)
    }

    /// The same, to set an option.
    pub fn upstream_stream_mut(&mut self) -> Option<&mut S> {
        self.stage.upstream_mut().map(|side| &mut side.stream)
    }

    /// Bytes given to the upstream and to the client.
    pub fn moved(&self) -> (u64, u64) {
        (self.up.moved, self.down.moved)
    }

    /// True exactly when the upstream has sent neither a byte nor a FIN.
    pub fn is_unanswered(&self) -> bool {
        self.down.moved == 0 && self.down.held() == 0 && !self.down.closed
    }

    /// Those of them that did not pass through our memory.
    pub fn spliced(&self) -> u64 {
        self.up.spliced + self.down.spliced
    }

    /// True exactly when much goes one way and nothing the other, so that nobody waits for an answer.
    pub fn streams(&self) -> bool {
        self.one_way.streams()
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Seeking | Stage::Connecting { .. } => Phase::Connect,
            Stage::Relaying { .. } => Phase::Relay,
            Stage::Aborting { .. } => Phase::Abort,
        }
    }

    /// Marks a good end: the sockets are closed without a reset. Any other session resets both
    /// when it is dropped, so that nothing cut short can look complete. The upstream is given back, and
    /// nothing is left to be asked but what was counted.
    #[must_use]
    pub fn finish(&mut self) -> Option<S> {
        self.finished = true;
        match std::mem::replace(&mut self.stage, Stage::Seeking) {
            Stage::Relaying { upstream } => Some(upstream.stream),
            Stage::Seeking | Stage::Connecting { .. } | Stage::Aborting { .. } => None,
        }
    }

    fn upstream(&self) -> Option<&Side<S>> {
        match &self.stage {
            Stage::Seeking => None,
            Stage::Connecting { upstream, .. }
            | Stage::Relaying { upstream }
            | Stage::Aborting { upstream, .. } => Some(upstream),
        }
    }

    fn is_half_closed(&self) -> bool {
        self.up.closed != self.down.closed
    }

    fn relay(&mut self, turn: &mut Turn<'_, S::Pipe>) -> Want {
        let Stage::Relaying { upstream } = &mut self.stage else { return Want::Nothing };
        let before = (self.up.progress(), self.down.progress());
        (self.up.bulk.answers, self.down.bulk.answers) = self.one_way.answers();
        let mut flows = (Flow::Idle, Flow::Idle);
        for _ in 0..ROUNDS {
            let ends = (self.client.ended(), upstream.ended());
            self.up.last = self.down.closed;
            flows.0 = self.up.pump(&mut self.client, upstream, turn);
            self.down.last = self.up.closed;
            flows.1 = self.down.pump(upstream, &mut self.client, turn);
            if ends == (self.client.ended(), upstream.ended()) {
                break;
            }
        }
        let after = (self.up.progress(), self.down.progress());
        if after != before {
            self.clock.progressed(turn.now);
            self.one_way.note(after.0.0 - before.0.0, after.1.0 - before.1.0);
        }
        let want = self.verdict(flows, turn);
        match want {
            Want::Nothing | Want::Turn => self.run_out(turn.now).map_or(want, Want::End),
            Want::Connect(_) | Want::End(_) => want,
        }
    }

    /// The bound that a relay has come to, if any.
    fn run_out(&mut self, now: Instant) -> Option<EndReason> {
        let half_closed = self.is_half_closed();
        let Stage::Relaying { upstream } = &self.stage else { return None };
        let sides = [&self.client, upstream];
        let cause = match self.clock.run_out(sides, now, half_closed) {
            Some(what) => what.cause(),
            None if self.clock.find_dead(sides, now) => Cause::DeadPeer,
            None => return None,
        };
        Some(EndReason { cause, phase: Phase::Relay })
    }

    fn verdict(&mut self, flows: (Flow, Flow), turn: &mut Turn<'_, S::Pipe>) -> Want {
        let Stage::Relaying { upstream } = &self.stage else { return Want::Nothing };
        let unused = self.up.moved == 0 && self.down.moved == 0;
        match (self.client.ended(), upstream.ended()) {
            (Ended::Reset, _) => self.start_abort(Who::Upstream, turn),
            (Ended::Open | Ended::Fin, Ended::Reset)
                if unused && upstream.exhausted() && !self.down.closed =>
            {
                self.seek_again(ConnectFailure::ResetUnused)
            }
            (Ended::Open | Ended::Fin, Ended::Reset) => self.start_abort(Who::Client, turn),
            (Ended::Open | Ended::Fin, Ended::Open | Ended::Fin) => {
                if self.up.closed && self.down.closed {
                    Want::End(EndReason { cause: Cause::Finished, phase: Phase::Relay })
                } else if flows.0 == Flow::Again || flows.1 == Flow::Again {
                    Want::Turn
                } else {
                    Want::Nothing
                }
            }
        }
    }

    fn start_abort(&mut self, survivor: Who, turn: &mut Turn<'_, S::Pipe>) -> Want {
        match survivor {
            Who::Client => self.up.discard(),
            Who::Upstream => self.down.discard(),
        }
        let upstream = match std::mem::replace(&mut self.stage, Stage::Seeking) {
            Stage::Relaying { upstream } => upstream,
            other => {
                self.stage = other;
                return Want::Nothing;
            }
        };
        let abort = Box::new(Abort::new(survivor, turn.now, &self.clock.timeouts));
        self.stage = Stage::Aborting { upstream, abort };
        self.abort(turn)
    }

    fn abort(&mut self, turn: &mut Turn<'_, S::Pipe>) -> Want {
        let Stage::Aborting { upstream, abort } = &mut self.stage else { return Want::Nothing };
        match abort.survivor() {
            Who::Upstream => abort.advance(&mut self.up, &mut self.client, upstream, turn),
            Who::Client => abort.advance(&mut self.down, upstream, &mut self.client, turn),
        }
    }
}

impl<S> Stage<S> {
    fn upstream_mut(&mut self) -> Option<&mut Side<S>> {
        match self {
            Self::Seeking => None,
            Self::Connecting { upstream, .. }
            | Self::Relaying { upstream }
            | Self::Aborting { upstream, .. } => Some(upstream),
        }
    }
}

impl<S: Stream> Drop for Session<S> {
    fn drop(&mut self) {
        if !self.finished {
            self.client.stream.reset();
            if let Some(upstream) = self.stage.upstream_mut() {
                upstream.stream.reset();
            }
        }
    }
}
