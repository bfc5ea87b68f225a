//! How control reaches a worker, and a worker another worker: a closed set of commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use mio::{Registry, Token, Waker};

use super::entry::{Entrance, Entry};
use super::token::About;
use crate::model::{Backend, ListenerView, Model, PoolView, SocketId, Wake};
use crate::net::{ListeningSocket, Peer, Socket, Stream};
use crate::plugin::Cause;

/// Something for a worker to do.
#[derive(Debug)]
pub enum Command {
    /// Accept from this socket from now on, also if it was to be let go of.
    Adopt {
        /// Its address.
        id: SocketId,
        /// The socket.
        socket: Arc<ListeningSocket>,
        /// The listener that it serves until a snapshot says something else.
        view: Arc<ListenerView>,
    },
    /// Leave this socket to another worker at once.
    LetGo(Arc<ListeningSocket>),
    /// Accept from this socket until nothing waits there, then let go of it. Past `reset_after`
    /// what waits is accepted and reset.
    Retire {
        /// Which.
        id: SocketId,
        /// When patience ends; never, if none.
        reset_after: Option<Instant>,
    },
    /// Serve this client, which another worker has accepted.
    Serve(Box<Accepted>),
    /// Go on with this session, which another worker had.
    Take(Box<Moving>),
    /// There may be room for the session of this token, which is the first that waits for it.
    GoOn(Token),
    /// Reset sessions.
    EndSessions(Whom, Cause),
    /// Give all sessions to other workers, then leave the loop.
    Leave,
    /// Leave the loop. Sessions that are left are reset.
    Stop,
    /// Die of a fault, for tests of what follows from one.
    #[cfg(test)]
    Fault,
}

impl Command {
    /// The count of a client or a session that is on its way to another worker.
    pub(super) fn counted(&mut self) -> Option<&mut Counted> {
        match self {
            Self::Serve(accepted) => Some(&mut accepted.counted),
            Self::Take(moving) => Some(&mut moving.counted),
            _ => None,
        }
    }
}

/// Which sessions.
#[derive(Debug, Clone)]
pub enum Whom {
    /// All.
    All,
    /// Those that these backends serve, or are asked to, by the backends' addresses in memory.
    Of(Arc<HashMap<usize, Arc<Backend>>>),
}

/// A session on its way to another worker. Dropped on the way, it resets both sides.
#[derive(Debug)]
pub struct Moving {
    pub(super) entry: Entry,
    /// Whose gauge of sessions counts it while it is on its way.
    pub(super) counted: Counted,
}

/// A client that has been let in.
#[derive(Debug)]
pub struct Accepted {
    /// Taken by whoever serves it.
    pub(super) socket: Option<Socket>,
    pub(super) client: Peer,
    pub(super) listener: Arc<ListenerView>,
    /// Where it goes.
    pub(super) pool: Arc<PoolView>,
    pub(super) entrance: Option<Entrance>,
    pub(super) at: Instant,
    /// Whose gauge of sessions counts it while it is on its way.
    pub(super) counted: Counted,
}

/// One session in the gauge of a worker, until it is taken over or dropped.
#[derive(Debug)]
pub(super) struct Counted {
    model: Arc<Model>,
    worker: Option<usize>,
}

impl Counted {
    /// Counts one for `worker`.
    pub(super) fn new(model: &Arc<Model>, worker: usize) -> Self {
        model.gauges[worker].sessions.fetch_add(1, Relaxed);
        Self { model: Arc::clone(model), worker: Some(worker) }
    }

    /// Takes over one that is counted for `worker` already.
    pub(super) fn of(model: &Arc<Model>, worker: usize) -> Self {
        Self { model: Arc::clone(model), worker: Some(worker) }
    }

    /// Leaves the count to the worker.
    pub(super) fn keep(&mut self) {
        self.worker = None;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(worker) = self.worker {
            self.model.gauges[worker].sessions.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        // Dropped on the way, it was never served: it must not look like an end.
        if let Some(socket) = &mut self.socket {
            socket.reset();
        }
    }
}

/// Where one worker is reached.
#[derive(Debug)]
struct Post {
    queue: Sender<Command>,
    waker: Waker,
    /// True exactly when a permit came free that this worker was waiting for.
    permit_free: AtomicBool,
}

/// All workers, by number. A number whose worker is gone takes no commands.
#[derive(Debug)]
pub struct Fleet {
    posts: Box<[ArcSwapOption<Post>]>,
    workers: AtomicUsize,
}

/// The worker's end of its post.
#[derive(Debug)]
pub(super) struct Inbox {
    commands: Receiver<Command>,
    post: Arc<Post>,
}

impl Fleet {
    /// Room for `most` workers, none of which is there yet; `workers` of them are to be.
    pub fn new(most: usize, workers: usize) -> Self {
        let posts = (0..most).map(|_| ArcSwapOption::empty()).collect();
        Self { posts, workers: AtomicUsize::new(workers) }
    }

    /// Workers that there are to be: their numbers are below this.
    pub fn workers(&self) -> usize {
        self.workers.load(Relaxed)
    }

    /// Sets how many workers there are to be.
    pub fn set_workers(&self, workers: usize) {
        self.workers.store(workers, Relaxed);
    }

    /// True exactly when that worker takes commands.
    pub fn is_there(&self, worker: usize) -> bool {
        self.posts.get(worker).is_some_and(|post| post.load().is_some())
    }

    /// Gives `command` to a worker and wakes it.
    ///
    /// # Errors
    /// The command comes back if that worker is gone.
    pub fn send(&self, worker: usize, command: Command) -> Result<(), Command> {
        let Some(post) = self.posts.get(worker).and_then(|post| post.load_full()) else {
            return Err(command);
        };
        post.queue.send(command).map_err(|returned| returned.0)?;
        // The queue holds the command; a waker fails only when its poll is gone, and with it the
        // worker, whose successor finds no queue.
        let _ = post.waker.wake();
        Ok(())
    }

    /// Wakes a worker to look at the snapshot.
    pub fn nudge(&self, worker: usize) {
        if let Some(post) = self.posts.get(worker).and_then(|post| post.load_full()) {
            let _ = post.waker.wake();
        }
    }

    /// Opens the post of `worker`.
    pub(super) fn open(&self, worker: usize, registry: &Registry) -> std::io::Result<Inbox> {
        let (queue, commands) = channel();
        let waker = Waker::new(registry, About::Waker.into())?;
        let post = Arc::new(Post { queue, waker, permit_free: AtomicBool::new(false) });
        if let Some(place) = self.posts.get(worker) {
            place.store(Some(Arc::clone(&post)));
        }
        Ok(Inbox { commands, post })
    }

    /// Closes the post of `inbox`: what comes from now on goes back to the sender.
    pub(super) fn close(&self, worker: usize, inbox: &Inbox) {
        if let Some(place) = self.posts.get(worker)
            && place.load().as_ref().is_some_and(|post| Arc::ptr_eq(post, &inbox.post))
        {
            place.store(None);
        }
    }
}

impl Wake for Fleet {
    fn wake(&self, worker: usize) {
        if let Some(post) = self.posts.get(worker).and_then(|post| post.load_full()) {
            post.permit_free.store(true, Ordering::Release);
            let _ = post.waker.wake();
        }
    }

    fn call(&self, worker: usize, session: usize) {
        // One that is on its way to another worker looks for room once it is there.
        let _ = self.send(worker, Command::GoOn(Token(session)));
    }
}

impl Inbox {
    pub(super) fn next(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// True exactly when nobody is about to send a command any more, once the post is closed.
    pub(super) fn is_silent(&self) -> bool {
        Arc::strong_count(&self.post) == 1
    }

    /// True exactly when a permit came free since the last call.
    pub(super) fn permit_is_free(&self) -> bool {
        self.post.permit_free.swap(false, Ordering::AcqRel)
    }
}
