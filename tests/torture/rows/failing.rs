//! C: a backend fails, and clients do not notice.

use std::time::{Duration, Instant};

use super::load::Load;
use crate::outcome::Ending;
use crate::proxy::{Kind, Setup};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::side::Side;
use crate::stage::Stage;
use crate::support::{Child, Peer, pause, serve_if_asked};

pub const ROWS: &[Row] = &[Row {
    name: "C1",
    what: "one of 3 backends is killed beside 30 sessions with bytes on the way, under 1,000 new connections a second for 10 s (2 s at every \
           commit); no probes",
    should: "0 of those who come after that fail; the sessions of the dead one get RST within 0.1 s (1 s at every \
             commit), no other breaks",
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

fn c1(kind: Kind, length: Length) -> Verdict {
    let (before, after, bound) = match length {
        Length::Long => {
            (Duration::from_secs(5), Duration::from_secs(5), Duration::from_millis(100))
        }
        Length::Short => {
            (Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(1))
        }
    };
    let start = || Child::start("rows::failing::backend_process");
    let mut backends: Vec<Child> = (0..3).map(|_| start()).collect();
    let addresses: Vec<_> = backends.iter().map(Child::address).collect();
    let mut stage = Stage::new(kind);
    stage.start(&Setup::before(&addresses));
    let mut held: Vec<Peer> = (0..30).filter_map(|_| stage.try_connect()).collect();
    let asked = held.iter_mut().filter_map(|client| client.ask(b"hello").ok()).count();
    held.iter_mut().for_each(|client| client.send(b"more"));
    let load = Load { threads: 8, every: Duration::from_millis(8) };
    let (visits, (dead, ends)) = load.during(&stage, || {
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
    // Whoever was there before that may have been the dead backend's.
    let failed = visits.iter().filter(|it| it.began > dead && it.failure.is_some()).count();
    let of = visits.iter().filter(|it| it.began > dead).count();
    let cut: Vec<_> = ends.iter().filter(|(ending, _)| *ending != Ending::Never).collect();
    let resets = cut.iter().filter(|(ending, _)| *ending == Ending::Reset).count();
    let slowest = cut.iter().map(|(_, after)| *after).max().unwrap_or_default();
    let figure = format!(
        "{failed} of {of} failed; of 30 sessions {resets} got RST, {} FIN, after at most {:.0} ms",
        cut.len() - resets,
        slowest.as_secs_f64() * 1000.0,
    );
    drop(held);
    // In turn, ten of them were the dead one's; workers of peers may take turns each for itself.
    let only_the_dead = cut.len() == 10 || !kind.is_forebay() && !cut.is_empty();
    let only_the_dead = only_the_dead && resets == cut.len() && slowest <= bound;
    let met = asked == 30 && failed == 0 && of > 100 && only_the_dead;
    if kind.is_forebay() && met {
        stage.expect_nothing_left("C1");
        let reasons = stage.proxy().reasons();
        assert!(!reasons.iter().any(|reason| reason.starts_with("connect")), "{reasons:?}");
    }
    Verdict { figure, met }
}

/// How the client's session ends within this time, and how long after.
fn end_of(client: &Peer, began: Instant, within: Duration) -> (Ending, Duration) {
    let side = Side::of(client);
    client.within(within);
    (side.receive(0, 0).ending, began.elapsed())
}
