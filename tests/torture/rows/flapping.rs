//! C, of backends that come and go faster than anybody could follow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::load::Load;
use crate::proxy::{Kind, Setup};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::stage::Stage;
use crate::support::{Backend, Peer, Process, pause};

pub const ROWS: &[Row] = &[Row {
    name: "C4",
    what: "20 backends close and open their port each 0.2 s, for a minute (2 s at every commit), under ten clients a second; probes each 1 s, \
           0.5 s in doubt, `rise` and `fall` 2",
    should: "at most 3 in 100 find no backend; of each at most 2 changes and one each 1.5 s, which is what the probes need for one, and 1 log line a \
             second; under 5 % CPU (in the long run of a release build)",
    when: When::Commit,
    peers: false,
    play: c4,
}];

#[test]
fn c4_backends_that_flap_cost_next_to_nothing() {
    must_hold("C4");
}

/// Backends, about half of them up at any time.
const BACKENDS: u8 = 20;

/// How long each is up, and how long it is down.
const FLAP: Duration = Duration::from_millis(200);

/// From one client of a thread to its next. As each backend is down for half of the time, each client needs one
/// retry, and some need many: so few come that the budget of retries has room for twice as many.
const COME: Duration = Duration::from_millis(400);

/// From one change of a backend to its next: the interval, for the first probe against what is known, and
/// then `fast_interval`, for the second.
const SHORTEST: Duration = Duration::from_millis(1500);

const POOL: &str = "connect = { timeout = \"1s\", attempts = 20, retry_budget = \"100%\", deadline = \"20s\" }\n\
     probe = { interval = \"1s\", fast_interval = \"500ms\", timeout = \"500ms\", rise = 2, fall = 2 }\n";

/// In hundredths. Each backend is down for half of the time, whatever the probes have last seen of it; of those
/// that are in use, seven or so, all are down for a moment now and then.
const MOST_FAILED: usize = 3;

/// How the reason begins of a session that found none: by its cause.
const NO_BACKEND: [&str; 2] = ["connect", "no_backend"];

fn answer(peer: &mut Peer) {
    if let Ok(bytes) = peer.read_some(64) {
        // It may be closed meanwhile.
        let _ = std::io::Write::write_all(&mut peer.stream(), &bytes);
    }
}

fn c4(kind: Kind, length: Length) -> Verdict {
    let long = length == Length::Long;
    let time = Duration::from_secs(if long { 60 } else { 2 });
    // No connection of anybody is made from these addresses, so that each port stays free.
    let first = |last| Some(Backend::at(([127, 0, 1, last], 0).into(), answer));
    let mut backends: Vec<Option<Backend>> = (1..=BACKENDS).map(first).collect();
    let addresses: Vec<SocketAddr> = backends.iter().flatten().map(Backend::address).collect();
    let mut stage = Stage::new(kind);
    stage.start(&Setup { pool: POOL, ..Setup::before(&addresses) });
    backends.iter_mut().step_by(2).for_each(|backend| drop(backend.take()));
    let used = || stage.proxy().processes().into_iter().map(Process::cpu).sum::<Duration>();
    let load = Load { threads: 4, every: COME };
    let (began, before) = (Instant::now(), used());
    let (visits, flaps) = load.during(&stage, || {
        let mut flaps = 0;
        for turn in (0..backends.len()).cycle().take_while(|_| began.elapsed() < time) {
            let backend = &mut backends[turn];
            *backend = match backend.take() {
                Some(_) => None,
                None => Some(Backend::at(addresses[turn], answer)),
            };
            flaps += 1;
            pause(FLAP / u32::from(BACKENDS));
        }
        flaps
    });
    let (took, cpu) = (began.elapsed(), used() - before);
    let reasons = stage.proxy().reasons();
    let failed = reasons.iter().filter(|it| NO_BACKEND.iter().any(|no| it.starts_with(no)));
    let failed = failed.count();
    let said = stage.proxy().said();
    let most = |wanted: &dyn Fn(&str) -> bool| {
        let of = |address: &SocketAddr| {
            let name = format!("\"{address}\"");
            said.lines().filter(|line| line.contains(&name) && wanted(line)).count()
        };
        addresses.iter().map(of).max().unwrap_or_default()
    };
    let changes = most(&|line| line.contains("healthy"));
    let lines = most(&|line| !line.contains("\"DEBUG\""));
    let load = cpu.as_secs_f64() / took.as_secs_f64() * 100.0;
    let figure = format!(
        "{failed} of {} found no backend in {flaps} flaps; of one backend at most {changes} changes and {lines} lines in {:.0} s; {load:.1} % CPU",
        visits.len(),
        took.as_secs_f64(),
    );
    // The first probe tells of a state, too, and the bounds hold for whole times.
    let in_all = |each: Duration| usize::try_from(took.as_millis() / each.as_millis()).unwrap() + 2;
    let bounded = changes <= in_all(SHORTEST) && lines <= in_all(Duration::from_secs(1));
    let cheap = !long || cfg!(debug_assertions) || load < 5.0;
    // Of those that are due; a machine that is busy plays fewer.
    let due = took.as_millis() / (FLAP / u32::from(BACKENDS)).as_millis();
    let played = visits.len() > 10 && flaps as u128 * 2 > due;
    let met = played && failed * 100 <= MOST_FAILED * reasons.len() && bounded && cheap;
    if met {
        stage.expect_nothing_left("C4");
    }
    Verdict { figure, met }
}
