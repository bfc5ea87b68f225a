//! One measurement: a proxy, a kind of work, a length of time.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::account::{self, Memory};
use crate::client::Tally;
use crate::clients::Clients;
use crate::slow::SlowReaders;
use crate::subject::{Running, Stage, Subject, pause};
use crate::workload::{Plan, Scene, Service, Then, Unit, Workload};

/// Opening and using thousands of sessions that shall idle may take so long.
const TO_OPEN: Duration = Duration::from_secs(300);

/// So often a measurement is made longer in which nothing was done, as it may be on a busy machine.
const TRIES: u32 = 20;

/// A proxy that is reloaded is so each second.
const RELOADS: Duration = Duration::from_secs(1);

/// The quantiles of the latencies that are told.
pub(crate) const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// What was measured once.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) subject: &'static str,
    /// Workers of the proxy.
    pub(crate) workers: usize,
    pub(crate) unit: Unit,
    /// Bytes, round trips, connections or sessions.
    pub(crate) units: f64,
    pub(crate) seconds: f64,
    /// CPU seconds of the proxy.
    pub(crate) cpu: f64,
    /// CPU seconds of all CPUs, whoever used them.
    pub(crate) busy: f64,
    /// Those of neither the proxy nor the load: what others did on this machine meanwhile.
    pub(crate) others: f64,
    pub(crate) errors: u64,
    /// Exchanges a second that were due when latencies were measured, and microseconds that one
    /// took, by `QUANTILES`.
    pub(crate) latency: Option<(f64, [f64; QUANTILES.len()])>,
    /// Sessions that were open.
    pub(crate) sessions: f64,
    /// The memory of the proxy in the end.
    pub(crate) memory: Memory,
    /// How it had grown.
    pub(crate) grown: Memory,
}

impl Row {
    /// The figure that proxies are compared by; smaller is better.
    pub(crate) fn figure(&self) -> f64 {
        match self.unit {
            Unit::Latency | Unit::Added => self.quantile(0),
            Unit::Session | Unit::Reader => self.grown.proportional / self.sessions,
            Unit::Gigabyte | Unit::MillionTrips | Unit::ThousandConnections => self.cpu_figure(),
        }
    }

    /// CPU seconds of the proxy for one unit of work.
    pub(crate) fn cpu_figure(&self) -> f64 {
        self.cpu / self.units * self.unit.scale()
    }

    /// Busy time of all CPUs for one unit of work.
    pub(crate) fn busy_figure(&self) -> f64 {
        self.busy / self.units * self.unit.scale()
    }

    /// Microseconds.
    pub(crate) fn quantile(&self, index: usize) -> f64 {
        self.latency.and_then(|(_, all)| all.get(index).copied()).unwrap_or(f64::NAN)
    }

    /// True exactly when the figure may be compared.
    pub(crate) fn counts(&self) -> bool {
        self.errors == 0 && self.units > 0.0
    }
}

/// A moment, and what had been used and done by then.
struct Mark {
    at: Instant,
    cpu: f64,
    own: f64,
    busy: f64,
    tally: Tally,
    sunk: u64,
}

/// Who does the work.
enum Load {
    Clients(Box<Clients>),
    SlowReaders(SlowReaders),
}

impl Load {
    fn run(&mut self, duration: Duration) -> io::Result<()> {
        match self {
            Self::Clients(clients) => clients.run(duration),
            Self::SlowReaders(readers) => readers.run(duration),
        }
    }

    fn tally(&self) -> Tally {
        match self {
            Self::Clients(clients) => clients.tally,
            Self::SlowReaders(readers) => readers.tally,
        }
    }
}

/// A measurement under way.
struct Measurement<'a> {
    stage: &'a Stage<'a>,
    work: &'a Workload,
    running: Running,
    load: Load,
    /// Sessions that rest beside those that work.
    resting: Option<Clients>,
    /// The memory of the proxy before any of them.
    before: Memory,
}

pub(crate) fn measure(stage: &Stage<'_>, work: &Workload, subject: &Subject) -> io::Result<Row> {
    let mut measurement = Measurement::open(stage, work, subject)?;
    let duration = stage.arguments.duration();
    let begin = measurement.mark();
    let mut end;
    let mut tries = 0;
    loop {
        match work.scene {
            Scene::Rests => pause(duration),
            Scene::Nothing | Scene::BesideIdle(_) | Scene::Reloads | Scene::ReadsSlowly => {
                measurement.go_on(|load| load.run(duration))?;
            }
        }
        end = measurement.mark();
        tries += 1;
        if units(work, &begin, &end) > 0.0 || tries == TRIES {
            break;
        }
    }
    let memory = account::memory(&measurement.running.processes());
    if let Some(rate) = work.rate {
        measurement.go_on(|load| match load {
            Load::Clients(clients) => clients.run_at(rate, duration),
            Load::SlowReaders(_) => Ok(()),
        })?;
    }
    measurement.row(subject, (begin, end), memory)
}

impl<'a> Measurement<'a> {
    /// Starts the proxy and lets the load get going.
    fn open(stage: &'a Stage<'a>, work: &'a Workload, subject: &Subject) -> io::Result<Self> {
        let running = subject.start(stage, work)?;
        let address = running.address(work.service);
        if matches!(work.scene, Scene::Rests | Scene::BesideIdle(_)) {
            // One session in advance: what the first one costs is not what each costs.
            let once = Plan { connections: 1, then: Then::Rest, ..work.plan };
            Clients::new(address, once)?.run(TO_OPEN)?;
            pause(Duration::from_millis(200));
        }
        let before = account::memory(&running.processes());
        let mut resting = None;
        if let Scene::BesideIdle(connections) = work.scene {
            let plan = Plan { connections, then: Then::Rest, ..work.plan };
            let clients = resting.insert(Clients::new(address, plan)?);
            clients.run(TO_OPEN)?;
        }
        let mut load = match work.scene {
            Scene::ReadsSlowly => {
                Load::SlowReaders(SlowReaders::connect(address, work.plan.connections)?)
            }
            Scene::Nothing | Scene::BesideIdle(_) | Scene::Reloads | Scene::Rests => {
                Load::Clients(Box::new(Clients::new(address, work.plan)?))
            }
        };
        let duration = stage.arguments.duration();
        load.run(match work.scene {
            Scene::Rests => TO_OPEN,
            // Until all that holds anything is full.
            Scene::ReadsSlowly => duration,
            Scene::Nothing | Scene::BesideIdle(_) | Scene::Reloads => duration / 4,
        })?;
        Ok(Self { stage, work, running, load, resting, before })
    }

    fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            cpu: self.running.cpu(),
            own: account::cpu(std::process::id()),
            busy: account::busy(),
            tally: self.load.tally(),
            sunk: self.stage.server.sunk(),
        }
    }

    /// Does this, while the proxy is reloaded if that belongs to the work.
    fn go_on(&mut self, act: impl FnOnce(&mut Load) -> io::Result<()>) -> io::Result<()> {
        if self.work.scene != Scene::Reloads {
            return act(&mut self.load);
        }
        let (running, load) = (&self.running, &mut self.load);
        let every = RELOADS.min(self.stage.arguments.duration() / 2);
        let (stop, stopped) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let reloads = scope.spawn(move || -> io::Result<()> {
                loop {
                    running.reload()?;
                    if stopped.recv_timeout(every) != Err(mpsc::RecvTimeoutError::Timeout) {
                        return Ok(());
                    }
                }
            });
            let done = act(load);
            drop(stop);
            let failed = || Err(io::Error::other("the thread that reloads has failed"));
            done.and(reloads.join().unwrap_or_else(|_| failed()))
        })
    }

    fn row(
        &mut self,
        subject: &Subject,
        (begin, end): (Mark, Mark),
        memory: Memory,
    ) -> io::Result<Row> {
        let (cpu, busy) = (end.cpu - begin.cpu, end.busy - begin.busy);
        if let (Scene::Rests, Load::Clients(clients)) = (self.work.scene, &mut self.load) {
            clients.look()?;
        }
        let mut errors = self.load.tally().errors;
        if let Some(resting) = &mut self.resting {
            resting.look()?;
            errors += resting.tally.errors;
        }
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let sessions = (self.work.plan.connections
            + match self.work.scene {
                Scene::BesideIdle(resting) => resting,
                Scene::Nothing | Scene::Reloads | Scene::Rests | Scene::ReadsSlowly => 0,
            }) as f64;
        Ok(Row {
            work: self.work.name,
            subject: subject.name,
            workers: self.stage.workers,
            unit: self.work.unit,
            units: units(self.work, &begin, &end),
            seconds: (end.at - begin.at).as_secs_f64(),
            cpu,
            busy,
            others: (busy - cpu - (end.own - begin.own)).max(0.0),
            errors,
            latency: self.latency(),
            sessions,
            memory,
            grown: Memory {
                resident: memory.resident - self.before.resident,
                proportional: memory.proportional - self.before.proportional,
            },
        })
    }

    fn latency(&self) -> Option<(f64, [f64; QUANTILES.len()])> {
        let Load::Clients(clients) = &self.load else { return None };
        #[allow(clippy::cast_precision_loss, reason = "a minute in nanoseconds is below 2^53")]
        let microseconds = |quantile| clients.latency.value_at_quantile(quantile) as f64 / 1e3;
        self.work.rate.map(|rate| (rate, QUANTILES.map(microseconds)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn units(work: &Workload, begin: &Mark, end: &Mark) -> f64 {
    let received = (end.tally.received - begin.tally.received) as f64;
    match work.unit {
        Unit::Gigabyte if work.service == Service::Sink => (end.sunk - begin.sunk) as f64,
        Unit::Gigabyte | Unit::Reader => received,
        Unit::Session => end.tally.exchanges as f64,
        Unit::MillionTrips | Unit::ThousandConnections | Unit::Latency | Unit::Added => {
            (end.tally.exchanges - begin.tally.exchanges) as f64
        }
    }
}
