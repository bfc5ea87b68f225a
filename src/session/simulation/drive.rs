//! The worker's part of a world: events, turns, connects, the timer and the end.

use super::kernel::{ERR, HUP, IN, OUT, READ};
use super::setting::{Attempt, Setting};
use super::stream::{FakePipe, FakeStream};
use super::world::{Action, World};
use super::{MILLISECOND, micros};
use crate::plugin::{Cause, EndReason, Phase};
use crate::session::{ConnectFailure, News, Session, Turn, Want, Who};

/// Turns in a row at one moment that move nothing.
const IDLE_TURNS: u32 = 64;

impl World {
    /// Lends what a worker lends.
    pub(super) fn with_turn<R>(&mut self, work: impl FnOnce(&mut Turn<'_, FakePipe>) -> R) -> R {
        let now = self.instant();
        let (buffers, pipes) = self.lent.as_mut().unwrap();
        let Setting { splice, crowded, .. } = self.setting;
        work(&mut Turn { now, scratch: &mut self.scratch, buffers, pipes, splice, crowded })
    }

    /// One turn of the worker's loop.
    pub(super) fn poll(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        for (who, link) in
            [(Who::Client, self.links.first().cloned()), (Who::Upstream, self.upstream().cloned())]
        {
            // The last connection may be one that the session has let go of.
            let Some(link) = link.filter(|link| !link.borrow().dropped) else { continue };
            let seen = link.borrow_mut().kernel.poll();
            if let Some(seen) = seen {
                let kernel = &mut link.borrow_mut().kernel;
                match session.event(who, seen) {
                    News::Some => self.queued = true,
                    News::Room if kernel.interest == READ | OUT => kernel.register(READ),
                    News::Room => {}
                    News::Bytes => kernel.register(OUT | HUP | ERR),
                }
            }
        }
        self.session = Some(session);
        if std::mem::take(&mut self.queued) {
            self.advance();
        }
    }

    fn advance(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        let want = self.with_turn(|turn| session.advance(turn));
        self.observe(&session, want);
        self.session = Some(session);
        match want {
            Want::Nothing => self.watch(),
            Want::Turn => {
                self.watch();
                self.queued = true;
            }
            Want::Connect(failure) => {
                self.failures.extend(failure);
                self.connect();
            }
            Want::End(reason) => self.end(reason),
        }
    }

    /// Holds the bounds that must hold after every turn.
    fn observe(&mut self, session: &Session<FakeStream>, want: Want) {
        let most = self.setting.buffer.max(self.setting.pipe_capacity);
        assert!(session.up.held() <= most && session.down.held() <= most, "memory is bounded");
        let (up, down) = session.moved();
        let moved = (up, down, session.up.closed, session.down.closed);
        self.spliced = session.spliced();
        if moved != self.moved {
            self.moved = moved;
            self.moved_at = self.now();
            self.idle_turns = 0;
        } else if want == Want::Turn {
            self.idle_turns += 1;
            assert!(self.idle_turns < IDLE_TURNS, "spins");
        }
    }

    pub(super) fn connect(&mut self) {
        let now = self.instant();
        let late = self.session.as_ref().is_some_and(|session| session.is_late(now));
        loop {
            let next = self.attempts.pop_front().filter(|_| !late);
            let Some(attempt) = next else {
                let cause = match self.failures.last() {
                    Some(ConnectFailure::TimedOut) => Cause::ConnectTimeout,
                    _ => Cause::ConnectFailed,
                };
                return self.end(EndReason { cause, phase: Phase::Connect });
            };
            if attempt != Attempt::Refused {
                return self.attach(attempt);
            }
        }
    }

    fn attach(&mut self, attempt: Attempt) {
        let link = self.link(1);
        let index = self.links.len() - 1;
        self.links[0].borrow_mut().from = link.borrow().name;
        let now = self.instant();
        let pending = attempt != Attempt::AtOnce;
        link.borrow_mut().kernel.connecting = pending;
        link.borrow_mut().kernel.register(if pending { READ | OUT } else { READ });
        match attempt {
            Attempt::AtOnce | Attempt::After(_) => self.begin_script(index),
            Attempt::ResetUnused(_) => link.borrow_mut().peer_resets(),
            Attempt::Refused | Attempt::RefusedAfter(_) | Attempt::Never => {}
        }
        match attempt {
            Attempt::After(length) | Attempt::ResetUnused(length) => {
                self.at(self.now() + length, Action::Established(index));
            }
            Attempt::RefusedAfter(length) => self.at(self.now() + length, Action::Refused(index)),
            Attempt::AtOnce | Attempt::Refused | Attempt::Never => {}
        }
        let Some(session) = &mut self.session else { return };
        if pending {
            session.connect_started(FakeStream(link), now + self.setting.connect.timeout);
            self.arm();
        } else {
            session.connected(FakeStream(link), now);
            self.queued = true;
        }
    }

    /// Registers for what is wanted and was not registered for yet.
    fn watch(&mut self) {
        self.arm();
        let Some(session) = &self.session else { return };
        for (who, link) in
            [(Who::Client, self.links.first().cloned()), (Who::Upstream, self.upstream().cloned())]
        {
            let Some(link) = link else { continue };
            let kernel = &mut link.borrow_mut().kernel;
            let room = if session.wants_write(who) { OUT } else { 0 };
            let wanted = match kernel.interest {
                0 => 0,
                deaf if deaf & IN == 0 && session.wants_read(who) => READ | room,
                other => other | room,
            };
            if wanted != kernel.interest {
                kernel.register(wanted);
            }
        }
    }

    /// Arms the timer if it is to fire sooner, in whole milliseconds.
    fn arm(&mut self) {
        let Some(deadline) = self.session.as_ref().and_then(Session::deadline) else { return };
        let ticks = micros(deadline - self.epoch()).div_ceil(MILLISECOND);
        let ticks = ticks.max(self.now() / MILLISECOND + 1);
        let timer = self.timer.unwrap_or(u64::MAX);
        self.timer = Some(timer.min(ticks * MILLISECOND));
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        self.ended = Some((self.now(), reason));
        if let Some(mut session) = self.session.take()
            && reason.cause == Cause::Finished
        {
            drop(session.finish());
        }
    }
}
