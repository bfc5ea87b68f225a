//! One measurement: a proxy, a kind of work, a length of time.

use std::io;
use std::time::{Duration, Instant};

use crate::account::{self, Memory};
use crate::arguments::Arguments;
use crate::client::{Clients, Tally};
use crate::server::Server;
use crate::subject::{Subject, pause};
use crate::workload::{Plan, Service, Unit, Workload};

/// Opening and using thousands of sessions that shall idle may take so long.
const TO_OPEN: Duration = Duration::from_secs(120);

/// What was measured once.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) subject: &'static str,
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
    /// Microseconds that an exchange took: median and 99th percentile.
    pub(crate) latency: (f64, f64),
    /// How the memory of the proxy grew.
    pub(crate) memory: Memory,
}

impl Row {
    /// The figure that proxies are compared by; smaller is better.
    pub(crate) fn figure(&self) -> f64 {
        match self.unit {
            Unit::Latency => self.latency.0,
            Unit::Session => self.memory.proportional / self.units,
            Unit::Gigabyte | Unit::MillionTrips | Unit::ThousandConnections => {
                self.cpu / self.units * self.unit.scale()
            }
        }
    }

    /// Busy time of all CPUs for one unit of work.
    pub(crate) fn busy_figure(&self) -> f64 {
        self.busy / self.units * self.unit.scale()
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

impl Mark {
    fn take(proxy: &[u32], clients: &Clients, server: &Server) -> Self {
        Self {
            at: Instant::now(),
            cpu: account::cpu(proxy),
            own: account::cpu(&[std::process::id()]),
            busy: account::busy(),
            tally: clients.tally,
            sunk: server.sunk(),
        }
    }
}

pub(crate) fn measure(
    arguments: &Arguments,
    server: &Server,
    work: &Workload,
    subject: &Subject,
) -> io::Result<Row> {
    let running = subject.start(arguments, server)?;
    let address = running.address(work.service);
    let proxy = running.processes();
    if work.unit == Unit::Session {
        // One session in advance: what the first one costs is not what each costs.
        let once = Plan { connections: 1, ..work.plan };
        Clients::new(address, once)?.run(TO_OPEN)?;
        pause(Duration::from_millis(200));
    }
    let mut clients = Clients::new(address, work.plan)?;
    let memory = account::memory(&proxy);
    let before_idle = work.unit == Unit::Session;
    clients.run(if before_idle { TO_OPEN } else { arguments.duration() / 4 })?;
    clients.latency.reset();
    let begin = Mark::take(&proxy, &clients, server);
    if before_idle {
        pause(arguments.duration());
    } else {
        clients.run(arguments.duration())?;
    }
    let end = Mark::take(&proxy, &clients, server);
    let now = account::memory(&proxy);
    let grown = Memory {
        resident: now.resident - memory.resident,
        proportional: now.proportional - memory.proportional,
    };
    Ok(row((work, subject), (begin, end), &clients, grown))
}

fn row(
    (work, subject): (&Workload, &Subject),
    (begin, end): (Mark, Mark),
    clients: &Clients,
    memory: Memory,
) -> Row {
    let cpu = end.cpu - begin.cpu;
    let busy = end.busy - begin.busy;
    let exchanges = end.tally.exchanges - begin.tally.exchanges;
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let units = match work.unit {
        Unit::Gigabyte if work.service == Service::Sink => (end.sunk - begin.sunk) as f64,
        Unit::Gigabyte => (end.tally.received - begin.tally.received) as f64,
        Unit::Session => end.tally.exchanges as f64,
        Unit::MillionTrips | Unit::ThousandConnections | Unit::Latency => exchanges as f64,
    };
    #[allow(clippy::cast_precision_loss, reason = "a minute in nanoseconds is below 2^53")]
    let microseconds = |quantile| clients.latency.value_at_quantile(quantile) as f64 / 1e3;
    Row {
        work: work.name,
        subject: subject.name,
        unit: work.unit,
        units,
        seconds: (end.at - begin.at).as_secs_f64(),
        cpu,
        busy,
        others: (busy - cpu - (end.own - begin.own)).max(0.0),
        errors: end.tally.errors,
        latency: (microseconds(0.5), microseconds(0.99)),
        memory,
    }
}
