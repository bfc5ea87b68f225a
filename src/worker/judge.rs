//! Judging who was accepted: limits of the source, deny, allow, then the guards.

use std::sync::Arc;

use super::Worker;
use super::command::{Accepted, Counted};
use super::end::LOG;
use super::entry::Entrance;
use crate::model::{ListenerView, Objection, PoolView, Verdict, Why, Work};
use crate::net::{Peer, Socket, Stream};
use crate::plugin::{Cause, Connection, EndReason, Phase};

/// Why a client is turned down.
pub(super) struct Refusal<'a> {
    cause: Cause,
    /// The guard that keeps it out, if one does.
    guard: Option<&'a str>,
}

impl From<Cause> for Refusal<'_> {
    fn from(cause: Cause) -> Self {
        Self { cause, guard: None }
    }
}

impl Worker {
    pub(super) fn judge(
        &mut self,
        mut socket: Socket,
        client: Peer,
        view: &Arc<ListenerView>,
        mut entrance: Entrance,
    ) {
        match view.judge(client.ip(), self.now) {
            Verdict::Denied => return self.turn_down(socket, &client, view, Cause::Denied.into()),
            Verdict::OverLimit => {
                return self.turn_down(socket, &client, view, Cause::SourceLimit.into());
            }
            Verdict::Admitted(source) => entrance.source = source,
        }
        let pool = match self.ask_guards(&socket, &client, view) {
            Ok(pool) => pool,
            Err(refusal) => return self.turn_down(socket, &client, view, refusal),
        };
        if let Some(bytes) = view.socket_buffer {
            // Fails only for a connection that is broken, as an event will tell.
            let _ = socket.bound_buffers(bytes);
        }
        let listener = Arc::clone(view);
        let (socket, entrance) = (Some(socket), Some(entrance));
        let counted = Counted::new(&self.model, self.number);
        let at = self.now;
        self.place(Accepted { socket, client, listener, pool, entrance, at, counted });
    }

    /// The pool that a client goes to; or why it goes to none.
    fn ask_guards<'a>(
        &self,
        socket: &Socket,
        client: &Peer,
        view: &'a ListenerView,
    ) -> Result<Arc<PoolView>, Refusal<'a>> {
        if view.guards.is_empty() {
            return Ok(Arc::clone(&view.pool));
        }
        let listener = &*view.listener.name;
        let (local, accepted) = (socket.local(), self.now);
        self.pulse().at_client(Work::Guards, &view.listener, client, None);
        match view.guards.ask(&Connection { listener, client, local, accepted }) {
            Ok(pool) => Ok(pool.unwrap_or_else(|| Arc::clone(&view.pool))),
            Err(objection) => Err(self.refusal(view, objection)),
        }
    }

    /// What an objection comes to. That a guard itself is at fault is said at most once a second.
    fn refusal<'a>(&self, view: &ListenerView, objection: Objection<'a>) -> Refusal<'a> {
        let Objection { guard, why } = objection;
        let listener = &*view.listener.name;
        let speak = || view.listener.complaints.may_speak(self.model.epoch, self.now);
        let cause = match why {
            Why::Denied => Cause::Denied,
            Why::UnknownPool(pool) => {
                if speak() {
                    tracing::error!(listener, guard, pool, "a guard named an unknown pool");
                }
                Cause::NoBackend
            }
            Why::Panicked => {
                if speak() {
                    tracing::error!(listener, guard, "a guard panicked; its client was refused");
                }
                Cause::Panic
            }
        };
        Refusal { cause, guard: Some(guard) }
    }

    pub(super) fn turn_down(
        &self,
        mut socket: Socket,
        client: &Peer,
        view: &ListenerView,
        refusal: Refusal<'_>,
    ) {
        socket.reset();
        drop(socket);
        self.model.ends.add(refusal.cause);
        let reason = EndReason { cause: refusal.cause, phase: Phase::Accept };
        tracing::debug!(
            target: LOG,
            listener = &*view.listener.name,
            %client,
            guard = refusal.guard,
            %reason,
            "session refused",
        );
    }
}
