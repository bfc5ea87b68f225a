//! What a world is made with: the bounds, the memory, the sockets, and what the peers will do.

use std::time::Duration;

use super::Micros;
use super::chance::Chance;
use super::kernel::Family;
use super::world::World;
use crate::config::{Connect, Splice, Timeouts};

/// What an application does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Write(u64),
    Urgent,
    Pause(Micros),
    HalfClose,
    Close,
    Reset,
    Vanish,
    /// Only its network was away.
    Return,
    StopReading,
    ResumeReading,
    /// Reads what has come, once.
    Sip,
}

/// How an attempt to connect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    AtOnce,
    After(Micros),
    Refused,
    RefusedAfter(Micros),
    Never,
    /// Connects and is reset before a byte went either way.
    ResetUnused(Micros),
}

/// What a world is made with.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) chance: Chance,
    pub(super) timeouts: Timeouts,
    pub(super) connect: Connect,
    pub(super) splice: Splice,
    /// Many others are served by the same worker.
    pub(super) crowded: bool,
    pub(super) buffer: usize,
    /// Buffers that the budget has room for.
    pub(super) budget: u64,
    /// Somebody else takes and gives back buffers.
    pub(super) hog: bool,
    pub(super) pipes: usize,
    pub(super) pipe_capacity: usize,
    pub(super) families: [Family; 2],
    pub(super) socket_buffer: usize,
    /// Of the peers, if another than `socket_buffer`.
    pub(super) receive_buffer: Option<usize>,
    pub(super) moody: bool,
    pub(super) client_first: bool,
    /// Longest that the network, a peer or the worker takes for a step.
    pub(super) pace: Micros,
    pub(super) attempts: Vec<Attempt>,
    pub(super) scripts: [Vec<Step>; 2],
}

impl Setting {
    /// Nothing out of the ordinary; a connect succeeds at once.
    pub(super) fn new(client: Vec<Step>, upstream: Vec<Step>) -> Self {
        let seconds = |count| Some(Duration::from_secs(count));
        Self {
            chance: Chance::of_seed(1),
            timeouts: Timeouts {
                idle: seconds(600),
                half_closed: seconds(30),
                lifetime: None,
                lifetime_jitter: 0,
                abort: Duration::from_secs(10),
                dead_peer: seconds(30),
            },
            connect: Connect {
                timeout: Duration::from_secs(1),
                attempts: 3,
                retry_budget: 20,
                hedge: None,
                deadline: Duration::from_secs(3),
            },
            splice: Splice::Auto,
            crowded: false,
            buffer: 1024,
            budget: 1000,
            hog: false,
            pipes: 4,
            pipe_capacity: 4096,
            families: [Family::Tcp; 2],
            socket_buffer: 4096,
            receive_buffer: None,
            moody: false,
            client_first: false,
            pace: 100,
            attempts: vec![Attempt::AtOnce],
            scripts: [client, upstream],
        }
    }

    /// Runs it to the end, under the eyes of the oracle.
    pub(super) fn run(self) -> World {
        let mut world = World::new(self);
        world.begin();
        world.run();
        world
    }
}
