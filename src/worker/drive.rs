//! One session's turn: lets it act, then does what it wants.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::table::Key;
use super::{Rounding, Worker};
use crate::plugin::{Cause, EndReason, Phase};
use crate::session::{Turn, Want};

impl Worker {
    /// Gives a session its turn.
    pub(super) fn drive(&mut self, key: Key) {
        self.guard(key, |worker| worker.advance(key));
    }

    /// Does something for a session. A panic in it ends that session and no other.
    pub(super) fn guard(&mut self, key: Key, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!(worker = self.number, "a fault in a session's handling ended it");
            let phase = self.table.get_mut(key).map_or(Phase::Accept, |e| e.session.phase());
            self.end(key, EndReason { cause: Cause::Panic, phase });
        }
    }

    fn advance(&mut self, key: Key) {
        let crowded = self.is_crowded();
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.queued = false;
        let work = entry.session.phase().into();
        entry.tell(&self.model.gauges[self.number].pulse, work);
        let connecting = entry.connected.is_none();
        let mut turn = Turn {
            now: self.now,
            scratch: &mut self.scratch,
            buffers: &mut self.buffers,
            pipes: &mut self.pipes,
            splice: self.snapshot.runtime.splice,
            crowded,
        };
        let before = entry.session.moved();
        let want = entry.session.advance(&mut turn);
        let (up, down) = entry.session.moved();
        let moved = up - before.0 + (down - before.1);
        self.pace.note(entry.may_gather(), moved, self.now);
        if connecting && entry.session.phase() == Phase::Relay {
            entry.connected(self.now);
        }
        if !entry.answered && entry.session.moved().1 > 0 {
            entry.answered();
        }
        // An event of the client must not make it try sooner.
        let retry = entry.parked && self.wheel.armed(key.index).is_none();
        match want {
            Want::Nothing if retry => self.connect(key, false),
            Want::Nothing => self.watch(key),
            Want::Turn => {
                self.watch(key);
                self.make_ready(key);
            }
            Want::Connect(failure) => {
                if let Some(failure) = failure {
                    self.leave_backend(key, failure);
                }
                self.connect(key, false);
            }
            Want::End(EndReason { cause: cause @ Cause::ConnectTimeout, .. }) => {
                self.give_up(key, cause);
            }
            Want::End(reason) => self.end(key, reason),
        }
    }

    /// Turns keepalive on for an upstream that has lived for a while.
    pub(super) fn keep_alive(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        if entry.keepalive_due().is_none_or(|due| self.now < due) {
            return;
        }
        entry.kept_alive = true;
        let keepalive = entry.route.view.as_ref().and_then(|view| view.options.keepalive);
        if let (Some(upstream), Some(keepalive)) = (entry.session.upstream_stream_mut(), keepalive)
        {
            // Fails only for a connection that is broken, as an event will tell.
            let _ = upstream.keep_alive(keepalive);
        }
        entry.settle();
    }

    /// Arms the session's timer if it has to fire sooner than it would. One that fires too soon
    /// finds nothing due and is armed anew, so that moving bytes costs no timer.
    pub(super) fn arm(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let deadlines = [entry.session.deadline(), entry.keepalive_due(), entry.hedge_due()];
        let Some(deadline) = deadlines.into_iter().flatten().min() else { return };
        let tick = self.tick(deadline, Rounding::Up);
        if self.wheel.armed(key.index).is_none_or(|armed| tick < armed) {
            self.wheel.arm(key.index, tick);
        }
    }
}
