//! What is measured, and in what unit.

use crate::arguments::Arguments;
use crate::subject::{Kind, Subject};

/// What the server behind the proxy does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Sends back what comes.
    Echo,
    /// The same, and the proxy knows that the client speaks first.
    EchoClientFirst,
    /// Sends for ever.
    Source,
    /// Takes all and sends nothing.
    Sink,
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Echo, Self::EchoClientFirst, Self::Source, Self::Sink];
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
    /// Bytes of memory of the process per idle session.
    Session,
}

impl Unit {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Gigabyte => "CPU s/GB",
            Self::MillionTrips => "CPU s/million",
            Self::ThousandConnections => "CPU s/thousand",
            Self::Latency => "p50 µs",
            Self::Session => "bytes/session",
        }
    }

    /// Units of work that the figure is told for.
    pub(crate) fn scale(self) -> f64 {
        match self {
            Self::Gigabyte => 1e9,
            Self::MillionTrips | Self::Latency => 1e6,
            Self::ThousandConnections => 1e3,
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
    /// True exactly when two workers are measured with it too.
    two_workers: bool,
}

impl Workload {
    pub(crate) fn suits(&self, subject: &Subject) -> bool {
        match subject.kind {
            Kind::TwoWorkers => self.two_workers,
            Kind::Direct => self.unit != Unit::Session && self.service != Service::EchoClientFirst,
            Kind::Forebay | Kind::Other | Kind::Nginx | Kind::Haproxy => true,
        }
    }
}

/// What the arguments ask for.
pub(crate) fn chosen(arguments: &Arguments) -> Vec<Workload> {
    let wanted = &arguments.work;
    all(arguments.sessions())
        .into_iter()
        .filter(|work| wanted.is_empty() || wanted.iter().any(|name| name == work.name))
        .collect()
}

fn all(sessions: usize) -> Vec<Workload> {
    let bulk = |name, connections, service| Workload {
        name,
        service,
        plan: Plan {
            connections,
            send: if service == Service::Sink { usize::MAX } else { 0 },
            receive: if service == Service::Sink { 0 } else { usize::MAX },
            then: Then::Again,
        },
        unit: Unit::Gigabyte,
        two_workers: connections > 1 && service == Service::Source,
    };
    let trips = |name, connections, size, unit| Workload {
        name,
        service: Service::Echo,
        plan: Plan { connections, send: size, receive: size, then: Then::Again },
        unit,
        two_workers: size == 64 && connections > 1,
    };
    let short = |name, service| Workload {
        name,
        service,
        plan: Plan { connections: 64, send: 64, receive: 64, then: Then::Reconnect },
        unit: Unit::ThousandConnections,
        two_workers: service == Service::Echo,
    };
    let million = 1 << 20;
    vec![
        bulk("bulk-1-down", 1, Service::Source),
        bulk("bulk-8-down", 8, Service::Source),
        bulk("bulk-8-up", 8, Service::Sink),
        trips("trips-64", 64, 64, Unit::MillionTrips),
        trips("trips-1000", 1_000, 64, Unit::MillionTrips),
        trips("trips-16-16k", 16, 16 << 10, Unit::MillionTrips),
        short("short", Service::Echo),
        short("short-client-first", Service::EchoClientFirst),
        trips("one", 1, 64, Unit::Latency),
        Workload {
            name: "idle",
            service: Service::Echo,
            plan: Plan { connections: sessions, send: million, receive: million, then: Then::Rest },
            unit: Unit::Session,
            two_workers: false,
        },
    ]
}
