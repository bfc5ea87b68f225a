//! Sessions that wait for a backend to have room: first come, first served, across all workers.
//!
//! Whoever gives a permit of the pool or of one of its backends back looks whether anybody waits, and
//! calls the first, who alone may pick. Nobody is called twice for one permit, and none is lost:
//! what comes free while the first is called already is kept for who is first after it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicUsize, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Wake;

/// The line before a pool. It outlives the snapshots that name the pool.
pub struct Queue {
    line: Mutex<Line>,
    /// Those in the line; read without the lock by whoever gives a permit back.
    waiting: AtomicUsize,
    wake: Arc<dyn Wake>,
}

/// The lock is held for a bounded number of instructions: no allocation, no system call.
#[derive(Default)]
struct Line {
    /// By number, the first in front. Its room is reserved by `set_max`.
    places: VecDeque<Place>,
    /// Places of those who have left from the middle.
    left: usize,
    next: u64,
    max: usize,
    /// True exactly when the first was called and has not heard it yet.
    called: bool,
    /// It has heard it, and has not looked for room since.
    heard: bool,
    /// Permits that came free meanwhile.
    more: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    who: Waiter,
    left: bool,
}

/// A session that waits, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// The number of its worker.
    pub worker: usize,
    /// What the worker knows it by.
    pub session: usize,
}

/// A place in the line. Dropping it leaves the line.
#[must_use]
pub struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Queue {
    /// One in which nobody may wait yet.
    pub fn new(wake: Arc<dyn Wake>) -> Self {
        Self { line: Mutex::default(), waiting: AtomicUsize::new(0), wake }
    }

    /// Sets how many may wait. Those who do may stay.
    pub fn set_max(&self, max: Option<u32>) {
        let max = max.map_or(0, |max| max as usize);
        // Made before the lock is taken, and the one before is freed after.
        let mut places = VecDeque::with_capacity(max.max(self.waiting() * 2));
        let mut line = self.lock();
        line.max = max;
        if line.places.capacity() < max && line.places.len() <= places.capacity() {
            places.extend(line.places.drain(..));
            std::mem::swap(&mut line.places, &mut places);
        }
        drop(line);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// A place at the end of the line, if there is one. Whoever is the first now has to look for room
    /// once more: what came free before went unnoticed.
    pub fn join(self: &Arc<Self>, who: Waiter) -> Option<Ticket> {
        let mut line = self.lock();
        if line.places.len() - line.left >= line.max {
            return None;
        }
        line.make_room();
        let number = line.next;
        line.next += 1;
        line.places.push_back(Place { number, who, left: false });
        self.waiting.fetch_add(1, SeqCst);
        drop(line);
        // The other half of `room`: it gives back and then looks who waits; here is waited, and then
        // looked for what was given back.
        fence(SeqCst);
        Some(Ticket { queue: Arc::clone(self), number })
    }

    /// Tells that there is room for so many more.
    pub fn room(&self, places: usize) {
        if places == 0 || self.waiting.load(SeqCst) == 0 {
            return;
        }
        let first = self.lock().call(places);
        self.call(first);
    }

    fn call(&self, first: Option<Waiter>) {
        if let Some(Waiter { worker, session }) = first {
            self.wake.call(worker, session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the limits of the pool and of its backends. Nobody else waits for those.
impl Wake for Queue {
    fn wake(&self, _worker: usize) {}

    fn freed(&self, permits: usize) {
        self.room(permits);
    }
}

impl Ticket {
    /// True exactly when it is of this line.
    pub fn is_of(&self, queue: &Arc<Queue>) -> bool {
        Arc::ptr_eq(&self.queue, queue)
    }

    /// True exactly when nobody has waited for longer.
    pub fn is_first(&self) -> bool {
        self.queue.lock().is_first(self.number)
    }

    /// It was called.
    pub fn hear(&self) {
        let mut line = self.queue.lock();
        if line.is_first(self.number) {
            line.called = false;
            line.heard = true;
        }
    }

    /// True exactly when it may look for room now: it is the first. If it was not called for that, and
    /// finds some, there may be more that nobody has told of.
    pub fn looks(&self) -> bool {
        let mut line = self.queue.lock();
        let first = line.is_first(self.number);
        if first && !std::mem::take(&mut line.heard) {
            line.more = usize::MAX;
        }
        first
    }

    /// It has looked and found no room, and goes on waiting.
    pub fn stay(&self) {
        let mut line = self.queue.lock();
        // What came free since it began to look has called it anew.
        if line.is_first(self.number) && !line.called {
            line.more = 0;
        }
    }

    /// The session has gone to another worker.
    pub fn moved(&self, who: Waiter) {
        let mut line = self.queue.lock();
        line.at(self.number).into_iter().for_each(|place| place.who = who);
        if line.is_first(self.number) && line.called {
            // What it was called by may have been lost on the way.
            line.called = false;
            let first = line.call(1);
            drop(line);
            self.queue.call(first);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        let first = line.is_first(self.number);
        line.leave(self.number);
        self.queue.waiting.fetch_sub(1, SeqCst);
        let next = first.then(|| line.pass_on()).flatten();
        drop(line);
        self.queue.call(next);
    }
}

impl Line {
    fn is_first(&self, number: u64) -> bool {
        self.places.front().is_some_and(|place| place.number == number)
    }

    fn at(&mut self, number: u64) -> Option<&mut Place> {
        let index = self.places.binary_search_by_key(&number, |place| place.number).ok()?;
        self.places.get_mut(index)
    }

    /// Who is to be called, now that there is room for so many more.
    fn call(&mut self, places: usize) -> Option<Waiter> {
        if places == 0 {
            return None;
        }
        if self.called {
            self.more = self.more.saturating_add(places);
            return None;
        }
        let first = self.places.front()?.who;
        self.called = true;
        self.more = self.more.saturating_add(places - 1);
        Some(first)
    }

    /// The first has left: what it has not heard of, and what came free meanwhile, is the next one's.
    fn pass_on(&mut self) -> Option<Waiter> {
        self.heard = false;
        let unheard = usize::from(std::mem::take(&mut self.called));
        let more = std::mem::take(&mut self.more).saturating_add(unheard);
        self.call(more)
    }

    fn leave(&mut self, number: u64) {
        let Some(place) = self.at(number) else { return };
        place.left = true;
        self.left += 1;
        while self.places.front().is_some_and(|place| place.left) {
            self.places.pop_front();
            self.left -= 1;
        }
    }

    /// Puts those together that are there, if the room is used up by those that have left.
    fn make_room(&mut self) {
        if self.places.len() == self.places.capacity() {
            self.places.retain(|place| !place.left);
            self.left = 0;
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
