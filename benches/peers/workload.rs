//! What is measured, and in what unit.

use std::io;

use crate::arguments::Arguments;
use crate::subject::{Kind, Subject};

/// What the server behind the proxy does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Sends back what comes.
    Echo,
    /// The same, and the proxy knows that the client speaks first.
    First,
    /// Sends for ever.
    Source,
    /// Takes all and sends nothing.
    Sink,
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Echo, Self::First, Self::Source, Self::Sink];

    /// Its name in the proxies' files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::First => "first",
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

/// What a client does once it has sent and received what it had to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The same again.
    Again,
    /// Close, and the same on a new connection.
    Reconnect,
    /// Stay connected and do nothing.
    Rest,
}

/// What one client does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Bytes to send; `usize::MAX` for ever.
    pub(crate) send: usize,
    /// Bytes to receive; `usize::MAX` for ever.
    pub(crate) receive: usize,
    pub(crate) then: Then,
}

/// What goes on besides the clients' plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    Nothing,
    /// Further sessions that rest.
    BesideIdle(usize),
    /// The proxy is reloaded each second.
    Reloads,
    /// All clients rest once they have done it.
    Rests,
    /// The clients read far less than is sent to them.
    ReadsSlowly,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Proxy CPU seconds per 10^9 bytes.
    Gigabyte,
    /// Proxy CPU seconds per million round trips.
    MillionTrips,
    /// Proxy CPU seconds per thousand connections.
    ThousandConnections,
    /// Median of one round trip in microseconds.
    Latency,
    /// What the proxy adds to the median of a connection and its first round trip, in microseconds.
    Added,
    /// Bytes of memory of the process per idle session.
    Session,
    /// Bytes of memory of the process per session that is read slowly.
    Reader,
}

impl Unit {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Gigabyte => "CPU s/GB",
            Self::MillionTrips => "CPU s/million",
            Self::ThousandConnections => "CPU s/thousand",
            Self::Latency => "p50 µs",
            Self::Added => "p50 µs added",
            Self::Session | Self::Reader => "bytes/session",
        }
    }

    /// Units of work that CPU time is told for.
    pub(crate) fn scale(self) -> f64 {
        match self {
            Self::Gigabyte | Self::Reader => 1e9,
            Self::MillionTrips | Self::Latency => 1e6,
            Self::ThousandConnections | Self::Added => 1e3,
            Self::Session => 1.0,
        }
    }
}

/// One kind of work.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    pub(crate) plan: Plan,
    pub(crate) unit: Unit,
    pub(crate) scene: Scene,
    /// Exchanges a second that are due where latencies are measured; below what the slowest can do.
    pub(crate) rate: Option<f64>,
}

impl Workload {
    /// True exactly when this is measured with that proxy.
    pub(crate) fn suits(&self, subject: &Subject) -> bool {
        let special = self.scene != Scene::Nothing || self.service == Service::First;
        match subject.kind {
            Kind::Direct => !special,
            // Its file is not read again. Changes come from a control plane (xDS), and another file by
            // a hot restart, which a program around it drives.
            Kind::Envoy => self.scene != Scene::Reloads,
            Kind::Spinning => matches!(self.name, "trips-1-64" | "trips-1-16k" | "connect"),
            Kind::Forebay | Kind::Other | Kind::Nginx | Kind::Haproxy => true,
        }
    }
}

/// What the arguments ask for.
pub(crate) fn chosen(arguments: &Arguments) -> io::Result<Vec<Workload>> {
    let all = all(arguments);
    let wanted = &arguments.work;
    if let Some(name) = wanted.iter().find(|name| all.iter().all(|work| work.name != **name)) {
        return Err(io::Error::other(format!("there is no work called {name}")));
    }
    let is_wanted = |work: &Workload| wanted.is_empty() || wanted.iter().any(|it| it == work.name);
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn all(arguments: &Arguments) -> Vec<Workload> {
    let mut all = steady();
    let resting =
        |connections| Plan { connections, send: 1 << 20, receive: 1 << 20, then: Then::Rest };
    let idle = if arguments.quick { 100 } else { 1_000 };
    all.push(Workload {
        name: "idle",
        service: Service::Echo,
        plan: resting(arguments.sessions()),
        unit: Unit::Session,
        scene: Scene::Rests,
        rate: None,
    });
    all.push(Workload {
        name: "idle-active",
        scene: Scene::BesideIdle(idle),
        ..trips("", 10, 64, 5_000.0)
    });
    all.push(Workload { name: "reload", scene: Scene::Reloads, ..short("", 64, 1_000.0) });
    all.push(Workload {
        name: "slow-readers",
        service: Service::Source,
        plan: Plan { connections: idle, send: 0, receive: usize::MAX, then: Then::Again },
        unit: Unit::Reader,
        scene: Scene::ReadsSlowly,
        rate: None,
    });
    all
}

/// What goes on in one way from its begin to its end.
fn steady() -> Vec<Workload> {
    vec![
        bulk("bulk-1-down", 1, Service::Source),
        bulk("bulk-1-up", 1, Service::Sink),
        bulk("bulk-8-down", 8, Service::Source),
        bulk("bulk-8-up", 8, Service::Sink),
        Workload { unit: Unit::Latency, ..trips("trips-1-64", 1, 64, 2_000.0) },
        trips("trips-64-64", 64, 64, 5_000.0),
        trips("trips-1000-64", 1_000, 64, 5_000.0),
        Workload { unit: Unit::Latency, ..trips("trips-1-16k", 1, 16 << 10, 2_000.0) },
        trips("trips-64-16k", 64, 16 << 10, 4_000.0),
        trips("trips-1000-16k", 1_000, 16 << 10, 4_000.0),
        short("short", 64, 1_000.0),
        Workload { service: Service::First, ..short("short-client-first", 64, 1_000.0) },
        Workload { unit: Unit::Added, ..short("connect", 1, 500.0) },
    ]
}

fn bulk(name: &'static str, connections: usize, service: Service) -> Workload {
    let (send, receive) = if service == Service::Sink { (usize::MAX, 0) } else { (0, usize::MAX) };
    Workload {
        name,
        service,
        plan: Plan { connections, send, receive, then: Then::Again },
        unit: Unit::Gigabyte,
        scene: Scene::Nothing,
        rate: None,
    }
}

fn trips(name: &'static str, connections: usize, size: usize, rate: f64) -> Workload {
    Workload {
        name,
        service: Service::Echo,
        plan: Plan { connections, send: size, receive: size, then: Then::Again },
        unit: Unit::MillionTrips,
        scene: Scene::Nothing,
        rate: Some(rate),
    }
}

fn short(name: &'static str, connections: usize, rate: f64) -> Workload {
    Workload {
        name,
        service: Service::Echo,
        plan: Plan { connections, send: 64, receive: 64, then: Then::Reconnect },
        unit: Unit::ThousandConnections,
        scene: Scene::Nothing,
        rate: Some(rate),
    }
}
