//! A worker with one session, its network and its clock.
//!
//! Plays `src/worker`: delivers edges, gives turns, does what the session wants, keeps its timer,
//! registers for what is wanted, and not any more for what came in vain.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::kernel::READ;
use super::link::{Link, Shared};
use super::setting::{Attempt, Setting, Step};
use super::stream::{FakePipe, FakeStream, PIPES, PIPES_MOST};
use super::{MILLISECOND, Micros, oracle};
use crate::model::Budget;
use crate::plugin::EndReason;
use crate::session::{Buffers, ConnectFailure, Pipes, Session};

/// More steps than any script needs; beyond it something spins.
const STEPS: u32 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Bring(usize),
    Take(usize),
    Read(usize),
    Script(usize),
    Established(usize),
    Refused(usize),
    Poll,
    Hog,
}

/// A worker with one session.
pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) clock: Rc<Cell<Micros>>,
    epoch: Instant,
    chance: Chance,
    heap: BinaryHeap<Reverse<(Micros, u32, Action)>>,
    steps: u32,
    /// The client's connection, then those to upstreams; the last is the one in use.
    pub(super) links: Vec<Shared>,
    pending: Vec<Action>,
    pub(super) attempts: VecDeque<Attempt>,
    scripts: Vec<VecDeque<Step>>,
    pub(super) session: Option<Session<FakeStream>>,
    pub(super) scratch: Vec<u8>,
    pub(super) lent: Option<(Buffers, Pipes<FakePipe>)>,
    budget: Arc<Budget>,
    hogged: u64,
    pub(super) timer: Option<Micros>,
    pub(super) queued: bool,
    pub(super) idle_turns: u32,
    /// When bytes or a FIN were moved last.
    pub(super) moved_at: Micros,
    pub(super) moved: (u64, u64, bool, bool),
    pub(super) spliced: u64,
    pub(super) failures: Vec<ConnectFailure>,
    pub(super) ended: Option<(Micros, EndReason)>,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let clock = Rc::new(Cell::new(0));
        let budget = Arc::new(Budget::new(setting.budget * setting.buffer as u64));
        PIPES_MOST.set(setting.pipes);
        let epoch = Instant::now();
        let buffers = Buffers::new(setting.buffer, Arc::clone(&budget));
        let mut world = Self {
            clock,
            epoch,
            chance: setting.chance.clone(),
            heap: BinaryHeap::new(),
            steps: 0,
            links: Vec::new(),
            pending: Vec::new(),
            attempts: setting.attempts.iter().copied().collect(),
            scripts: Vec::new(),
            session: None,
            scratch: vec![0; setting.buffer],
            lent: Some((buffers, Pipes::new(FakePipe::open))),
            budget,
            hogged: 0,
            timer: None,
            queued: false,
            idle_turns: 0,
            moved_at: 0,
            moved: (0, 0, false, false),
            spliced: 0,
            failures: Vec::new(),
            ended: None,
            setting,
        };
        let client = world.link(0);
        client.borrow_mut().kernel.register(READ);
        world.begin_script(0);
        let timeouts = Arc::new(world.setting.timeouts.clone());
        let mut session = Session::new(FakeStream(client), timeouts, epoch, 0);
        session.connect_by(epoch + world.setting.connect.deadline);
        world.session = Some(session);
        if world.setting.hog {
            world.plan(Action::Hog, 1000);
        }
        world
    }

    pub(super) fn link(&mut self, family: usize) -> Shared {
        let name = u8::try_from(self.links.len()).unwrap();
        let mut link =
            Link::new(name, u8::from(name == 0), self.setting.families[family], &self.clock);
        let size = self.setting.socket_buffer;
        link.chance = self.chance.fork();
        link.moody = self.setting.moody;
        link.pipe_capacity = self.setting.pipe_capacity;
        let least = if link.moody { size.div_ceil(10) } else { size };
        link.kernel.receive_buffer = self.chance.usize(least..=size);
        link.kernel.send_buffer = self.chance.usize(least..=size);
        let receive_buffer = self.chance.usize(least..=size);
        link.peer.receive_buffer = self.setting.receive_buffer.unwrap_or(receive_buffer);
        let link = Rc::new(RefCell::new(link));
        self.links.push(Rc::clone(&link));
        self.scripts.push(VecDeque::new());
        link
    }

    pub(super) fn begin_script(&mut self, index: usize) {
        self.scripts[index] = self.setting.scripts[index.min(1)].iter().copied().collect();
        self.plan(Action::Script(index), self.setting.pace);
    }

    /// The connection to the upstream that is in use, or was last.
    pub(super) fn upstream(&self) -> Option<&Shared> {
        self.links.last().filter(|_| self.links.len() > 1)
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.get()
    }

    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }

    pub(super) fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now())
    }

    /// Does `action` within `most` from now.
    fn plan(&mut self, action: Action, most: Micros) {
        let when = self.now() + self.chance.u64(0..=most);
        self.at(when, action);
    }

    pub(super) fn at(&mut self, when: Micros, action: Action) {
        self.pending.push(action);
        self.steps += 1;
        self.heap.push(Reverse((when, self.steps, action)));
    }

    /// The client is let in and an upstream looked for.
    pub(super) fn begin(&mut self) {
        if let Some(mut session) = self.session.take() {
            if self.setting.client_first {
                session.expect_data();
                self.with_turn(|turn| session.read_early(turn));
            }
            self.session = Some(session);
            self.connect();
        }
    }

    /// Runs until nothing will ever happen again, and judges what came of it.
    pub(super) fn run(&mut self) {
        while self.step() {
            assert!(self.steps < STEPS, "does not come to rest");
        }
        self.lent = None;
        assert_eq!(self.budget.used(), self.hogged, "the budget gets everything back");
        assert_eq!(PIPES.get(), 0, "pipes are closed with their worker");
        oracle::judge(self);
    }

    /// One step; false when nothing will ever happen again.
    fn step(&mut self) -> bool {
        self.plan_what_can_happen();
        let next = self.heap.peek().map(|Reverse((when, ..))| *when);
        let timer = self.timer.filter(|_| self.session.is_some());
        if self.is_at_rest() {
            oracle::at_rest(self);
            assert!(next.or(timer).is_some(), "a session without a timer sleeps for ever");
        }
        match (next, timer) {
            (next, Some(timer)) if next.is_none_or(|next| timer < next) => {
                self.clock.set(self.now().max(timer));
                self.timer = None;
                self.queued = true;
                true
            }
            (Some(_), _) => {
                let Some(Reverse((when, _, action))) = self.heap.pop() else { return false };
                self.clock.set(when);
                self.pending.retain(|pending| *pending != action);
                self.act(action);
                true
            }
            (None, _) => false,
        }
    }

    /// True exactly when network, peers and worker have nothing to do until some timer fires.
    fn is_at_rest(&self) -> bool {
        let busy = |action: &Action| {
            matches!(action, Action::Bring(_) | Action::Take(_) | Action::Read(_) | Action::Poll)
        };
        self.session.is_some() && !self.pending.iter().any(busy)
    }

    fn plan_what_can_happen(&mut self) {
        let mut can = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            let link = link.borrow();
            can.extend([
                (link.can_bring(), Action::Bring(index)),
                (link.can_take(), Action::Take(index)),
                (link.can_read(), Action::Read(index)),
                (link.kernel.ready && self.session.is_some(), Action::Poll),
            ]);
        }
        can.push((self.queued && self.session.is_some(), Action::Poll));
        for (can, action) in can {
            if can && !self.pending.contains(&action) {
                self.plan(action, self.setting.pace);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Bring(index) => {
                let mut link = self.links[index].borrow_mut();
                if link.can_bring() {
                    link.bring();
                }
            }
            Action::Take(index) => {
                let mut link = self.links[index].borrow_mut();
                if link.can_take() {
                    link.take();
                }
            }
            Action::Read(index) => {
                let mut link = self.links[index].borrow_mut();
                if link.can_read() {
                    link.peer_reads();
                }
            }
            Action::Script(index) => self.script(index),
            Action::Established(index) => {
                let mut link = self.links[index].borrow_mut();
                if !link.dropped {
                    link.kernel.established();
                }
            }
            Action::Refused(index) => {
                let mut link = self.links[index].borrow_mut();
                if !link.dropped {
                    link.kernel.refused(ErrorKind::ConnectionRefused);
                }
            }
            Action::Poll => self.poll(),
            Action::Hog => self.hog(),
        }
    }

    fn script(&mut self, index: usize) {
        let Some(step) = self.scripts[index].pop_front() else { return };
        let mut link = self.links[index].borrow_mut();
        let mut pause = 0;
        match step {
            Step::Write(count) => link.peer_writes(count),
            Step::Urgent => link.peer_sends_urgent(),
            Step::Pause(length) => pause = length,
            Step::HalfClose => link.peer_half_closes(),
            Step::Close => link.peer_closes(),
            Step::Reset => link.peer_resets(),
            Step::Vanish => link.peer_vanishes(),
            Step::Return => link.peer.vanished = None,
            Step::StopReading => link.peer_stops_reading(),
            Step::ResumeReading => link.peer.reading = true,
            Step::Sip => link.peer_sips(),
        }
        drop(link);
        let when = self.now() + pause + self.chance.u64(0..=self.setting.pace);
        self.at(when, Action::Script(index));
    }

    fn hog(&mut self) {
        let bytes = self.setting.buffer as u64;
        if self.hogged > 0 {
            self.budget.give(bytes);
            self.hogged -= bytes;
        } else if self.budget.take(bytes) {
            self.hogged += bytes;
        }
        if self.session.is_some() && self.steps < 500 {
            self.plan(Action::Hog, 5 * MILLISECOND);
        }
    }
}
