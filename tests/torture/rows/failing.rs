//! C: a backend fails, and clients do not notice.

use std::time::{Duration, Instant};

use super::load::{Load, Visit};
use crate::crowd::{milliseconds, percentile};
use crate::outcome::Ending;
use crate::proxy::{Kind, Setup};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::side::Side;
use crate::stage::Stage;
use crate::support::{Backend, Child, Peer, SessionLine, pause, serve_if_asked};

pub const ROWS: &[Row] = &[Row {
    name: "C1",
    what: "one of 3 backends is killed beside 30 sessions with bytes on the way, under 1,250 new connections a second for 10 s (2 s at every \
           commit); no probes",
    should: "0 of those who come after that fail; the sessions of the dead one get RST within 0.1 s, no other breaks; at least 800 come a \
             second; who fails had been accepted by the dead backend, and the log says so (at every commit: the middle RST, in one of 3 \
             tries, on a machine that lets so many come without a proxy)",
    when: When::Commit,
    peers: true,
    play: c1,
}];

/// Started again by `Child`, this test is a backend in a process of its own.
#[test]
fn backend_process() {
    serve_if_asked();
}

#[test]
fn c1_no_client_sees_the_death_of_one_of_three_backends() {
    must_hold("C1");
}

/// A client is to be told of its backend's death within this.
const SOON_TOLD: Duration = Duration::from_millis(100);

/// So many must come a second: in the long run, and at every commit.
const RATE: f64 = 1000.0;
const RATE_SHORT: f64 = 800.0;

const LOAD: Load = Load { threads: 10, every: Duration::from_millis(8) };

fn c1(kind: Kind, length: Length) -> Verdict {
    if length == Length::Long {
        let seen = Seen::play(kind, Duration::from_secs(5), Duration::from_secs(5));
        let met = seen.right && seen.rate >= RATE && seen.slowest <= SOON_TOLD;
        return Verdict { figure: seen.figure, met };
    }
    let (before, after) = (Duration::from_millis(500), Duration::from_secs(2));
    let is_fast = |it: &Seen| it.rate >= RATE_SHORT && it.middle <= SOON_TOLD;
    let (mut seen, mut busy) = (Seen::play(kind, before, after), false);
    for _ in 1..3 {
        if !seen.right || is_fast(&seen) {
            break;
        }
        busy |= straight() < RATE_SHORT;
        seen = Seen::play(kind, before, after);
    }
    // A machine that was busy with something else in one of the tries says nothing about times.
    busy |= !is_fast(&seen) && straight() < RATE_SHORT;
    let in_time = is_fast(&seen) || busy && seen.slowest <= Duration::from_secs(1);
    Verdict { figure: seen.figure, met: seen.right && in_time }
}

/// How many come a second where there is no proxy.
fn straight() -> f64 {
    let backend = Backend::echo();
    let began = Instant::now();
    let (visits, ()) = LOAD.at(backend.address(), || pause(Duration::from_secs(1)));
    visits.len() as f64 / began.elapsed().as_secs_f64()
}

/// What was seen of a backend's death.
struct Seen {
    figure: String,
    /// True exactly when nobody failed or broke who may not.
    right: bool,
    rate: f64,
    /// Until the dead one's clients were reset.
    middle: Duration,
    slowest: Duration,
}

impl Seen {
    fn play(kind: Kind, before: Duration, after: Duration) -> Self {
        let start = || Child::start("rows::failing::backend_process");
        let mut backends: Vec<Child> = (0..3).map(|_| start()).collect();
        let addresses: Vec<_> = backends.iter().map(Child::address).collect();
        let address = addresses[0].to_string();
        let mut stage = Stage::new(kind);
        stage.start(&Setup::before(&addresses));
        let mut held: Vec<Peer> = (0..30).filter_map(|_| stage.try_connect()).collect();
        let asked = held.iter_mut().filter_map(|client| client.ask(b"hello").ok()).count();
        held.iter_mut().for_each(|client| client.send(b"more"));
        let come = Instant::now();
        let (visits, (dead, ends)) = LOAD.during(&stage, || {
            pause(before);
            let (began, victim) = (Instant::now(), backends.remove(0));
            // Before it is dead, so that the first end is seen too.
            std::thread::scope(|scope| {
                let waits: Vec<_> = held
                    .iter()
                    .map(|client| scope.spawn(move || end_of(client, began, after)))
                    .collect();
                victim.kill();
                let dead = Instant::now();
                (dead, waits.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>())
            })
        });
        let rate = visits.len() as f64 / come.elapsed().as_secs_f64();
        // Whoever was there before that may have been the dead backend's.
        let (late_ones, early): (Vec<&Visit>, Vec<&Visit>) =
            visits.iter().partition(|it| it.began > dead);
        let (failed, of) =
            (late_ones.iter().filter(|it| it.failure.is_some()).count(), late_ones.len());
        let cut_short: Vec<&Visit> = early.into_iter().filter(|it| it.failure.is_some()).collect();
        let cut: Vec<_> = ends.iter().filter(|(ending, _)| *ending != Ending::Never).collect();
        let resets = cut.iter().filter(|(ending, _)| *ending == Ending::Reset).count();
        let mut times: Vec<Duration> = cut.iter().map(|(_, after)| *after).collect();
        let (middle, slowest) = (percentile(&mut times, 50), percentile(&mut times, 100));
        let figure = format!(
            "{failed} of {of} failed, {} of those before them; of 30 sessions {resets} got RST, {} FIN, after {} (middle) and at most {}; \
         {rate:.0} connections/s",
            cut_short.len(),
            cut.len() - resets,
            milliseconds(middle),
            milliseconds(slowest),
        );
        drop(held);
        // In turn, ten of them were the dead one's; workers of peers may take turns each for itself.
        let only_the_dead = cut.len() == 10 || !kind.is_forebay() && !cut.is_empty();
        let only_the_dead = only_the_dead && resets == cut.len();
        let right = asked == 30 && failed == 0 && of > 100 && only_the_dead;
        if kind.is_forebay() && right {
            stage.expect_nothing_left("C1");
            expect_told(&stage.proxy().said(), &cut_short, &address);
        }
        Self { figure, right, rate, middle, slowest }
    }
}

/// Panics unless the log says of each of these visits that the backend ended it: by a reset, or, as the kernel
/// does of who dies with nothing unread, by a FIN, which a reset may follow.
fn expect_told(said: &str, cut_short: &[&Visit], backend: &str) {
    let sessions: Vec<SessionLine> = said.lines().filter_map(SessionLine::read).collect();
    let unconnected = sessions.iter().find(|it| it.reason.starts_with("connect"));
    assert!(unconnected.is_none(), "{unconnected:?}");
    for visit in cut_short {
        let is_its = |it: &&SessionLine| it.client == visit.from && it.backend == backend;
        let reasons = sessions.iter().filter(is_its).map(|it| &it.reason).collect::<Vec<_>>();
        let fin = visit.failure.as_ref().is_some_and(|failure| failure.contains("Eof"));
        let is_told = |reason: &&String| {
            reason.starts_with("upstream_reset") || fin && reason.starts_with("finished")
        };
        let told = reasons.into_iter().any(|it| is_told(&it));
        assert!(told, "{visit:?} at {backend} in:\n{said}");
    }
}

/// How the client's session ends within this time, and how long after.
fn end_of(client: &Peer, began: Instant, within: Duration) -> (Ending, Duration) {
    let side = Side::of(client);
    client.within(within);
    (side.receive(0, 0).ending, began.elapsed())
}
