//! Reads `[pool.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use super::address;
use super::problem::Problem;
use super::read_backends::{RawBackend, read_backends};
use super::read_choice::{choice, one_kind};
use super::read_health;
use super::reader::Section;
use super::source::Place;
use super::units::{self, Fault};
use super::{Choice, Connect, Keepalive, OnRemove, Pool, Timeouts};

/// The rule of choice that holds without `balance`.
const BALANCE: &str = "round_robin";

/// Who looks host names up without `resolver`. It knows no services.
pub(super) const RESOLVER: &str = "system";

/// A pool, and where the parts stand that are checked against others.
#[derive(Debug)]
pub(super) struct RawPool {
    /// Its backends are in `backends`.
    pub(super) pool: Pool,
    /// The name in `[pool.NAME]`.
    pub(super) place: Place,
    pub(super) source: Option<Place>,
    pub(super) fallback: Option<Place>,
    pub(super) backends: Vec<RawBackend>,
}

pub(super) fn read_pool(name: Arc<str>, place: Place, section: &Section<'_>) -> RawPool {
    if section.find("backends").is_none() {
        let problem = Problem::error(place.clone(), format!("pool `{name}` has no `backends`"));
        let help = "add backends = [\"10.0.0.11:9000\", \"10.0.0.12:9000\"]";
        section.notes().add_absence(problem.help(help));
    }
    read_pool_of(name, place, section)
}

/// What the section says, complete or not.
pub(super) fn read_pool_of(name: Arc<str>, place: Place, section: &Section<'_>) -> RawPool {
    let mut pool = read_settings(section);
    pool.fallback = section.text("fallback", |text| Ok(Arc::from(text)));
    pool.name = name;
    let fallback = section.find("fallback").filter(|_| pool.fallback.is_some());
    RawPool {
        place,
        source: section.find("source").map(|item| item.place()),
        fallback: fallback.map(|item| item.place()),
        backends: read_backends(section),
        pool,
    }
}

/// What `[pool.NAME]` and `[defaults.pool]` share.
pub(super) fn read_settings(section: &Section<'_>) -> Pool {
    Pool {
        name: Arc::from(""),
        balance: choice(section, "balance").unwrap_or_else(|| Choice::named(BALANCE)),
        connect: connect(&section.table("connect")),
        timeout: timeouts(&section.table("timeout")),
        max_connections: section.count("max_connections"),
        fallback: None,
        source: section.text("source", address::source),
        keepalive: keepalive(section),
        congestion: section.kernel_name("congestion"),
        socket_buffer: section.size("socket_buffer"),
        resolver: choice(section, "resolver").unwrap_or_else(|| Choice::named(RESOLVER)),
        resolve_interval: section.duration("resolve_interval").unwrap_or(Duration::from_secs(30)),
        on_remove: on_remove(section, "on_remove", OnRemove::Drain { timeout: DRAIN }),
        probe: read_health::probe(section),
        eject: read_health::eject(section),
        on_unhealthy: on_remove(section, "on_unhealthy", OnRemove::Keep),
        panic_threshold: section.text("panic_threshold", units::percent).unwrap_or(0),
        slow_start: section.timeout("slow_start").unwrap_or(None),
        queue: read_health::queue(section),
        when_down: read_health::when_down(section),
        backends: Vec::new(),
    }
}

/// How long the sessions of a backend that is gone may live on.
const DRAIN: Duration = Duration::from_secs(3600);

fn on_remove(section: &Section<'_>, name: &str, otherwise: OnRemove) -> OnRemove {
    match one_kind(section, name) {
        Some(("keep", _)) => OnRemove::Keep,
        Some(("close", _)) => OnRemove::Close,
        Some((_, drain)) => OnRemove::Drain { timeout: drain.duration("timeout").unwrap_or(DRAIN) },
        None => otherwise,
    }
}

fn connect(section: &Section<'_>) -> Connect {
    let timeout = section.duration("timeout").unwrap_or(Duration::from_secs(5));
    let attempts = section.count("attempts").unwrap_or(3);
    let all = timeout.saturating_mul(attempts);
    let deadline = section.duration("deadline").unwrap_or(all);
    if let Some(item) = section.find("deadline").filter(|_| deadline < timeout) {
        let message = "`deadline` ends before the first attempt may: it is under `timeout`";
        section.notes().add(Problem::warning(item.place(), message));
    }
    let retry_budget = section.text("retry_budget", units::percent).unwrap_or(20);
    let hedge = section.timeout("hedge").unwrap_or(None);
    if let Some(item) = section.find("hedge").filter(|_| hedge.is_some_and(|it| it >= timeout)) {
        let message = "`hedge` has no effect: an attempt ends before by `timeout`";
        section.notes().add(Problem::warning(item.place(), message));
    }
    Connect { timeout, attempts, retry_budget, hedge, deadline }
}

fn timeouts(section: &Section<'_>) -> Timeouts {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let timeouts = Timeouts {
        idle: section.timeout("idle").unwrap_or(seconds(3600)),
        half_closed: section.timeout("half_closed").unwrap_or(seconds(30)),
        lifetime: section.timeout("lifetime").unwrap_or(None),
        lifetime_jitter: section.text("lifetime_jitter", units::percent).unwrap_or(0),
        abort: section.duration("abort").unwrap_or(Duration::from_secs(10)),
        dead_peer: section.timeout("dead_peer").unwrap_or(seconds(30)),
    };
    note_useless(section, &timeouts);
    timeouts
}

/// Notes what is said but cannot matter.
fn note_useless(section: &Section<'_>, timeouts: &Timeouts) {
    let warn = |name: &str, message: &str| {
        if let Some(item) = section.find(name).filter(|_| section.says(name)) {
            section.notes().add_absence(Problem::warning(item.place(), message));
        }
    };
    if timeouts.lifetime.is_none() && timeouts.lifetime_jitter > 0 {
        warn("lifetime_jitter", "`lifetime_jitter` has no effect without `lifetime`");
    }
    let (idle, half_closed) = (timeouts.idle, timeouts.half_closed);
    if idle.zip(half_closed).is_some_and(|(idle, half_closed)| half_closed > idle) {
        warn(
            "half_closed",
            "`half_closed` has no effect: `idle` is shorter and ends the session first",
        );
    }
}

/// TCP keepalive that is on unasked.
const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), count: 6 };

fn keepalive(section: &Section<'_>) -> Option<Keepalive> {
    let table = section.switch("keepalive", true)?;
    Some(Keepalive {
        idle: whole_seconds(&table, "idle").unwrap_or(KEEPALIVE.idle),
        interval: whole_seconds(&table, "interval").unwrap_or(KEEPALIVE.interval),
        count: table.count("count").unwrap_or(KEEPALIVE.count),
    })
}

/// The kernel counts these in seconds, up to MAX_TCP_KEEPIDLE (tcp(7)).
fn whole_seconds(section: &Section<'_>, name: &str) -> Option<Duration> {
    let length = section.duration(name)?;
    if length.subsec_nanos() == 0 && length <= Duration::from_secs(32767) {
        return Some(length);
    }
    let message = format!("`{name}` of a keepalive must be whole seconds, at most 32767");
    section.find(name).into_iter().for_each(|item| {
        section.note(item, Fault::new(message.clone(), "write \"60s\""));
    });
    None
}
