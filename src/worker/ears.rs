//! The listening sockets of one worker: which of them to accept from now, and which to leave alone
//! for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::model::{Listener, ListenerView, Snapshot, SocketId};
use crate::net::ListeningSocket;

/// Hand-overs of one worker in a second. Each costs a wake-up of a sleeping thread, which long
/// sessions repay and short ones do not.
const HAND_OVERS: u32 = 256;

/// A listening socket as one worker hears it.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) id: SocketId,
    pub(super) socket: Arc<ListeningSocket>,
    /// The listener that it serves, or served last if the file does not name it any more.
    pub(super) view: Arc<ListenerView>,
    pub(super) retiring: Option<Retiring>,
    /// True exactly when it is registered with the poll.
    pub(super) heard: bool,
    state: State,
    /// True exactly when it was paused for want of a permit since the last one came free.
    waited: bool,
}

/// What to do about a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing waits there; an event will tell.
    Quiet,
    /// Something may wait: accept.
    Hot,
    /// Something may wait, and is let in at this moment at the earliest.
    Paused(Instant),
}

/// The socket is to be let go of when nothing waits any more; past `reset_after`, what waits is
/// reset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retiring {
    pub(super) reset_after: Option<Instant>,
}

/// Why accepting from a socket stops for this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing waits.
    Empty,
    /// Something waits, and others have their turn.
    Batch,
    /// Nobody can be let in before this, unless a permit comes free.
    Full(Instant),
    /// Nobody can be let in before this.
    Paused(Instant),
}

/// The listening sockets of one worker.
#[derive(Debug)]
pub(super) struct Ears {
    ears: Slab<Ear>,
    hot: Vec<usize>,
    paused: Vec<usize>,
    /// Those that wait for a permit, for when one comes free.
    waited: Vec<usize>,
    /// Hand-overs that may still be made in this second.
    hand_overs: u32,
    second: Instant,
}

impl Ears {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            ears: Slab::new(),
            hot: Vec::new(),
            paused: Vec::new(),
            waited: Vec::new(),
            hand_overs: HAND_OVERS,
            second: now,
        }
    }

    /// Adds a socket and returns its place, or stays with one that was to be let go of. Something
    /// may wait there already.
    pub(super) fn add(
        &mut self,
        id: SocketId,
        socket: Arc<ListeningSocket>,
        view: Arc<ListenerView>,
    ) -> usize {
        if let Some(index) = self.find(&socket)
            && let Some(ear) = self.ears.get_mut(index)
        {
            (ear.view, ear.retiring) = (view, None);
            return index;
        }
        let state = State::Hot;
        let (retiring, heard, waited) = (None, false, false);
        let ear = Ear { id, socket, view, retiring, heard, state, waited };
        let index = self.ears.insert(ear);
        self.hot.push(index);
        index
    }

    /// The place of a socket.
    pub(super) fn find(&self, socket: &Arc<ListeningSocket>) -> Option<usize> {
        let (index, _) = self.ears.iter().find(|(_, ear)| Arc::ptr_eq(&ear.socket, socket))?;
        Some(index)
    }

    /// All places.
    pub(super) fn all(&self) -> Vec<usize> {
        self.ears.iter().map(|(index, _)| index).collect()
    }

    /// Takes a new snapshot into use. Returns the listeners that sockets have left.
    pub(super) fn see(&mut self, snapshot: &Snapshot) -> Vec<Arc<Listener>> {
        let mut left = Vec::new();
        for (_, ear) in &mut self.ears {
            let Some(view) = snapshot.listeners.get(&ear.id) else { continue };
            let before = std::mem::replace(&mut ear.view, Arc::clone(view));
            if !Arc::ptr_eq(&before.listener, &view.listener) {
                left.push(Arc::clone(&before.listener));
            }
        }
        left
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.ears.try_remove(index);
        self.hot.retain(|&hot| hot != index);
        self.paused.retain(|&paused| paused != index);
        self.waited.retain(|&waited| waited != index);
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Ear> {
        self.ears.get_mut(index)
    }

    /// An event: something waits. A paused socket stays paused.
    pub(super) fn heard(&mut self, index: usize) {
        if let Some(ear) = self.ears.get_mut(index)
            && ear.state == State::Quiet
        {
            ear.state = State::Hot;
            self.hot.push(index);
        }
    }

    pub(super) fn retire(&mut self, id: SocketId, reset_after: Option<Instant>) {
        for (index, ear) in &mut self.ears {
            if ear.id != id {
                continue;
            }
            ear.retiring = Some(Retiring { reset_after });
            if ear.state != State::Hot {
                ear.state = State::Hot;
                self.hot.push(index);
            }
        }
        self.drop_stale();
    }

    pub(super) fn are_hot(&self) -> bool {
        !self.hot.is_empty()
    }

    /// When a paused socket is to be looked at.
    pub(super) fn resume_at(&self) -> Option<Instant> {
        let moment = |&index: &usize| match self.ears.get(index)?.state {
            State::Paused(until) => Some(until),
            State::Quiet | State::Hot => None,
        };
        self.paused.iter().filter_map(moment).min()
    }

    /// Takes the sockets to accept from in this turn.
    pub(super) fn take_hot(&mut self, now: Instant) -> Vec<usize> {
        if !self.paused.is_empty() {
            for &index in &self.paused {
                if let Some(ear) = self.ears.get_mut(index)
                    && matches!(ear.state, State::Paused(until) if now >= until)
                {
                    ear.state = State::Hot;
                    self.hot.push(index);
                }
            }
            self.drop_stale();
        }
        std::mem::take(&mut self.hot)
    }

    /// A permit came free: makes hot what waits for one, and returns it.
    pub(super) fn permit_free(&mut self) -> Vec<usize> {
        let waited = std::mem::take(&mut self.waited);
        for &index in &waited {
            let Some(ear) = self.ears.get_mut(index) else { continue };
            ear.waited = false;
            if matches!(ear.state, State::Paused(_)) {
                ear.state = State::Hot;
                self.hot.push(index);
            }
        }
        self.drop_stale();
        waited
    }

    /// Notes why accepting from a socket stopped.
    pub(super) fn stopped(&mut self, index: usize, stop: Stop) {
        let Some(ear) = self.ears.get_mut(index) else { return };
        if matches!(stop, Stop::Full(_)) && !ear.waited {
            ear.waited = true;
            self.waited.push(index);
        }
        match stop {
            Stop::Empty => ear.state = State::Quiet,
            Stop::Batch => {
                ear.state = State::Hot;
                self.hot.push(index);
            }
            Stop::Full(until) | Stop::Paused(until) => {
                ear.state = State::Paused(until);
                self.paused.push(index);
            }
        }
    }

    fn drop_stale(&mut self) {
        let ears = &self.ears;
        let is_paused = |index: &usize| {
            ears.get(*index).is_some_and(|ear| matches!(ear.state, State::Paused(_)))
        };
        self.paused.retain(is_paused);
    }

    /// True exactly when one more session may be handed over in this second.
    pub(super) fn may_hand_over(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.hand_overs = HAND_OVERS;
        }
        let may = self.hand_overs > 0;
        self.hand_overs = self.hand_overs.saturating_sub(1);
        may
    }
}
