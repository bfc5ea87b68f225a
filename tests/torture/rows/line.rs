//! D: the line between the proxy and one of its sides is bad, or dies.

use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use super::minimal::minimal;
use crate::outcome::Ending;
use crate::proxy::{Kind, Setup};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::side::{DOWN, Side, UP};
use crate::stage::Stage;
use crate::support::{Backend, LEFT, Line, Netns, Peer, RIGHT, SOON, comes_true, root_or_left_out};

pub const ROWS: &[Row] = &[
    Row {
        name: "D1",
        what: "transfers over a line, before or behind the proxy, with a round trip of 0, 20, 100 ms, 0, 1, 5 % of packets \
               lost, 1 % twice, some overtaken (a fifth of jitter, and 2 % that skip the delay)",
        should: "0 of 504 transfers wrong; 95 % of the goodput of two sockets and two threads that splice, on the same line \
                 at the same time (mean over the lines)",
        when: When::LongRun,
        peers: true,
        play: d1,
    },
    Row {
        name: "D2",
        what: "the line to the client, or to the upstream, dies in the middle of a transfer; `timeout.dead_peer` is 5 s",
        should: "both ends closed after that, within 10 %, the reason logged (asked of Forebay)",
        when: When::Commit,
        peers: true,
        play: d2,
    },
];

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn d1_a_bad_line_changes_no_byte() {
    if !root_or_left_out() {
        must_hold("D1");
    }
}

#[test]
fn d2_a_dead_line_is_found_in_time() {
    if !root_or_left_out() {
        must_hold("D2");
    }
}

/// Where the bad line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Between the client and the proxy.
    Before,
    /// Between the proxy and its backend.
    Behind,
}

/// Two networks joined by a line: clients in one, backends in the other, the proxy in either.
struct Ends {
    clients: Netns,
    backends: Netns,
    place: Where,
}

impl Ends {
    fn new(place: Where) -> Self {
        Self { clients: Netns::new(), backends: Netns::new(), place }
    }

    /// Where the proxy is.
    fn proxy(&self) -> (&Netns, IpAddr) {
        match self.place {
            Where::Before => (&self.backends, RIGHT.into()),
            Where::Behind => (&self.clients, LEFT.into()),
        }
    }
}

/// Transfers over each of the 18 lines.
const TRANSFERS: usize = 28;

/// Bytes of one transfer, up and then down.
const MUCH: u64 = 256 << 10;

/// The longest silence on the worst line: a SYN may get lost four times.
const SLOW: Duration = Duration::from_secs(30);

fn d1(kind: Kind, _length: Length) -> Verdict {
    let (mut wrong, mut of, mut ratios) = (0, 0, Vec::new());
    for place in [Where::Before, Where::Behind] {
        for round_trip in [0, 20, 100] {
            for lost in [0, 10, 50] {
                let delay = Duration::from_millis(round_trip) / 2;
                let line = Line {
                    delay,
                    jitter: delay / 5,
                    lost,
                    repeated: 10,
                    early: 20,
                    seed: round_trip + u64::from(lost),
                    ..Line::default()
                };
                let times = transfer_over(line, place, kind);
                wrong += times.wrong;
                of += TRANSFERS;
                ratios.push(times.least / times.own);
                println!("D1 {kind:?} {place:?} {round_trip} ms {lost}: {times:?}");
            }
        }
    }
    let mean = (ratios.iter().map(|it| it.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let figure = format!(
        "{wrong} of {of} transfers wrong; goodput {:.0} %, on the worst line {:.0} %",
        mean * 100.0,
        worst * 100.0
    );
    Verdict { figure, met: wrong == 0 && mean >= 0.95 }
}

/// What came of the transfers over one line.
#[derive(Debug)]
struct Times {
    wrong: usize,
    /// The middle one's seconds, through the proxy and through the least that one can be.
    own: f64,
    least: f64,
}

fn transfer_over(line: Line, place: Where, kind: Kind) -> Times {
    let ends = Ends::new(place);
    let _line = line.join(&ends.clients, &ends.backends);
    // Whoever gets its bytes down knows that all came up.
    let serve = |peer: &mut Peer| {
        let side = Side::of(peer);
        peer.within(SLOW);
        if side.receive_first(UP, MUCH).is_whole() {
            side.send(DOWN, MUCH);
        }
    };
    let backend = ends.backends.enter(|| Backend::at((RIGHT, 0).into(), serve));
    let (network, address) = ends.proxy();
    let mut stage = Stage::new(kind);
    stage.start(&Setup {
        connect: Some(SLOW),
        within: Some((network, address)),
        ..Setup::before(&[backend.address()])
    });
    let least = network.enter(|| minimal((address, 0).into(), backend.address()));
    let (own, compared) = ends.clients.enter(|| {
        std::thread::scope(|scope| {
            let all = |address| {
                let one = |_| scope.spawn(move || transfer(address));
                (0..TRANSFERS).map(one).collect::<Vec<_>>()
            };
            let (own, least) = (all(stage.address()), all(least.address()));
            let times = |threads: Vec<std::thread::ScopedJoinHandle<'_, Option<f64>>>| {
                threads.into_iter().filter_map(|it| it.join().unwrap()).collect::<Vec<f64>>()
            };
            (times(own), times(least))
        })
    });
    let wrong = TRANSFERS - own.len();
    if kind.is_forebay() {
        stage.count_clients(TRANSFERS);
        stage.expect_nothing_left("D1");
    }
    Times { wrong, own: middle(own), least: middle(compared) }
}

/// One transfer's seconds; `None` if a byte was wrong or missing.
fn transfer(address: SocketAddr) -> Option<f64> {
    let began = Instant::now();
    let client = Peer::try_connect(address).ok()?;
    let side = Side::of(&client);
    client.within(SLOW);
    side.send(UP, MUCH);
    let received = side.receive(DOWN, MUCH);
    (received.is_whole() && received.ending == Ending::Fin).then(|| began.elapsed().as_secs_f64())
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// The longest that is waited for a proxy to find out.
const PATIENT: Duration = Duration::from_secs(15);

fn d2(kind: Kind, _length: Length) -> Verdict {
    let dead_peer = Duration::from_secs(5);
    let late = dead_peer / 10;
    let places = [Where::Before, Where::Behind];
    let found = std::thread::scope(|scope| {
        let one = |place| scope.spawn(move || dies(kind, place, dead_peer));
        places.map(one).map(|it| it.join().unwrap())
    });
    let in_time = |it: &Option<Duration>| {
        it.is_some_and(|it| it >= dead_peer.mul_f64(0.9) && it <= dead_peer + late)
    };
    let text = |it: &Option<Duration>| match it {
        Some(time) => format!("after {:.1} s", time.as_secs_f64()),
        None => format!("not within {} s", PATIENT.as_secs()),
    };
    let figure = format!(
        "client's line: {}; upstream's: {} (of {} s)",
        text(&found[0]),
        text(&found[1]),
        dead_peer.as_secs()
    );
    Verdict { figure, met: found.iter().all(in_time) }
}

/// How long after the death of the line the proxy has closed both ends.
fn dies(kind: Kind, place: Where, dead_peer: Duration) -> Option<Duration> {
    let ends = Ends::new(place);
    let line = Line::round_trip(Duration::from_millis(4)).join(&ends.clients, &ends.backends);
    // Who is beside the proxy sends for as long as it is let; who is beyond the line reads.
    let script = move |peer: &mut Peer| match place {
        Where::Before => drop(peer.blast()),
        Where::Behind => drop(Side::of(peer).receive(0, u64::MAX)),
    };
    let backend = ends.backends.enter(|| Backend::at((RIGHT, 0).into(), script));
    let mut stage = Stage::new(kind);
    stage.start(&Setup {
        dead_peer: Some(dead_peer),
        within: Some(ends.proxy()),
        ..Setup::before(&[backend.address()])
    });
    let client = ends.clients.enter(|| stage.try_connect())?;
    let after = std::thread::scope(|scope| {
        scope.spawn(|| match place {
            Where::Before => drop(Side::of(&client).receive(0, u64::MAX)),
            Where::Behind => drop(Side::of(&client).send(0, u64::MAX)),
        });
        comes_true(SOON, || line.counts().0 > 200);
        line.cut();
        let began = Instant::now();
        let after = comes_true(PATIENT, || stage.holds_nobody()).then(|| began.elapsed());
        // The thread beside this one may wait yet.
        let _ = client.stream().shutdown(Shutdown::Both);
        after
    });
    if kind.is_forebay() {
        stage.expect_nothing_left("D2");
        let reasons = stage.proxy().reasons();
        let dead = |reason: &String| reason.starts_with("dead_peer");
        assert!(reasons.len() == 1 && reasons.iter().all(dead), "{reasons:?}");
    }
    after
}
