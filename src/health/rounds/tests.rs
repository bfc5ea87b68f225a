//! When backends are probed, on virtual time: it goes on only when every task waits.

use std::sync::Mutex;

use tokio::runtime::Builder;

use super::*;
use crate::config;
use crate::model::{NoWaiters, Objects, Resolved};
use crate::plugin::Measuring;
use crate::plugin::at_once::AtOnce;

/// What the probes of a script say, one after the other; the last again and again.
const GOOD: Result<(), &str> = Ok(());
const BAD: Result<(), &str> = Err("told to");

/// A probe that takes so long and says so, and what was seen of it.
struct Script {
    takes: Duration,
    says: &'static [Result<(), &'static str>],
    /// When each probe of an address began, in milliseconds from the start.
    begun: Mutex<HashMap<String, Vec<u64>>>,
    at_once: AtOnce,
    start: Instant,
}

struct Scripted(Arc<Script>);

impl Probe for Scripted {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        let number = self.0.note(&target.address.to_string());
        Box::pin(async move {
            let _under_way = self.0.at_once.enter();
            target.wait_for("a word");
            sleep(self.0.takes).await;
            let says = self.0.says;
            let said = says.get(number).or(says.last()).expect("a script");
            assert_ne!(*said, Err("panic"), "told to");
            said.map_err(str::to_owned)
        })
    }
}

impl Script {
    fn note(&self, address: &str) -> usize {
        let mut begun = self.begun.lock().unwrap();
        let all = begun.entry(address.to_owned()).or_default();
        all.push(milliseconds(self.start.elapsed()));
        all.len() - 1
    }

    /// When the probe of this number of each backend began.
    fn nth(&self, number: usize) -> Vec<u64> {
        let begun = self.begun.lock().unwrap();
        let mut all: Vec<u64> = begun.values().filter_map(|it| it.get(number).copied()).collect();
        all.sort_unstable();
        all
    }

    fn of(&self, address: &str) -> Vec<u64> {
        self.begun.lock().unwrap().get(address).cloned().unwrap_or_default()
    }

    /// From one probe of this backend to the next.
    fn gaps(&self, address: &str) -> Vec<u64> {
        self.of(address).windows(2).map(|two| two[1] - two[0]).collect()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

/// Backends that are probed by a script, and what is told of them.
struct Bench {
    script: Arc<Script>,
    rounds: Rounds,
    objects: Objects,
    registry: Registry,
    told: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Bench {
    /// Within a runtime whose time stands still.
    fn new(takes: Duration, says: &'static [Result<(), &'static str>], file: &str) -> Self {
        let start = Instant::now();
        let script = Arc::new(Script {
            takes,
            says,
            begun: Mutex::default(),
            at_once: AtOnce::default(),
            start,
        });
        let mut registry = Registry::with_builtins();
        let of_it = Arc::clone(&script);
        registry.probe("script", move |_| Ok(Scripted(Arc::clone(&of_it))));
        let mut objects = Objects::new(Arc::new(NoWaiters), start.into_std());
        let config = read(file);
        let first = objects.assemble(&config, &Resolved::new(), &[], &registry).unwrap();
        let model = Arc::new(Model::new(first, 1, Arc::new(NoWaiters), start.into_std()));
        let told = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&told);
        let tell = Arc::new(move |changed: Changed| {
            let state = changed.backend.health.record().state.unwrap();
            let at = milliseconds(start.elapsed());
            to.lock().unwrap().push((at, state.reason));
        });
        let rounds = Rounds::new(model, tell, Handle::current());
        let mut bench = Self { script, rounds, objects, registry, told };
        bench.rounds.follow(&config, &bench.registry);
        bench
    }

    /// As a reload does.
    fn follow(&mut self, file: &str) {
        let config = read(file);
        let next = self.objects.assemble(&config, &Resolved::new(), &[], &self.registry).unwrap();
        self.rounds.model.snapshot.store(Arc::new(next));
        self.rounds.follow(&config, &self.registry);
    }

    fn told(&self) -> Vec<(u64, String)> {
        self.told.lock().unwrap().clone()
    }
}

fn read(file: &str) -> Config {
    config::parse(file, "f", &|_| None).config.unwrap()
}

/// A pool of so many backends, the first of which is `ADDRESS`, with these settings of its probe.
fn pool(name: &str, backends: usize, probe: &str) -> String {
    let all: Vec<String> =
        (0..backends).map(|it| format!("\"10.0.{}.{}:80\"", it / 250, it % 250 + 1)).collect();
    let all = all.join(", ");
    format!("pool.{name} = {{ backends = [{all}], probe = {{ kind = \"script\", {probe} }} }}\n")
}

const ADDRESS: &str = "10.0.0.1:80";
const LISTENER: &str = "listener.l = { address = \"127.0.0.1:1\", pool = \"p\" }\n";

/// A listener before pool `p` of so many backends.
fn file(backends: usize, probe: &str) -> String {
    format!("{LISTENER}{}", pool("p", backends, probe))
}

/// Plays on virtual time. What is drawn by lot is the same each time.
fn play<T>(what: impl Future<Output = T>) -> T {
    fastrand::seed(7);
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(what)
}

const MOMENT: Duration = Duration::from_millis(30);

#[test]
fn probes_follow_each_other_by_the_interval_and_faster_in_doubt() {
    const SAYS: &[Result<(), &str>] =
        &[GOOD, GOOD, BAD, BAD, BAD, BAD, GOOD, GOOD, GOOD, BAD, GOOD];
    let probe = "interval = '1s', fast_interval = '100ms', rise = 2, fall = 3";
    play(async {
        let bench = Bench::new(MOMENT, SAYS, &file(1, probe));
        sleep(Duration::from_secs(12)).await;
        let begun = bench.script.of(ADDRESS);
        assert!(begun[0] <= 1000, "{begun:?}");
        let gaps = bench.script.gaps(ADDRESS);
        assert!((500..=1001).contains(&gaps[0]), "{gaps:?}");
        // The third speaks against the state, the fifth is the last that is needed; so do the seventh
        // and the tenth, which the eleventh does not bear out.
        assert_eq!(gaps[1..11], [1000, 100, 100, 1000, 1000, 100, 1000, 1000, 100, 1000]);
        let told = [(0, "the probe succeeded"), (4, "told to"), (7, "the probe succeeded")];
        let told = told.map(|(number, why)| (begun[number] + milliseconds(MOMENT), why.to_owned()));
        assert_eq!(bench.told(), told);
    });
}

#[test]
fn a_row_of_failures_is_as_long_as_ever_with_a_reload_each_100_ms() {
    const SAYS: &[Result<(), &str>] = &[GOOD, BAD];
    let probe = "interval = '400ms', fast_interval = '400ms', rise = 1, fall = 5";
    play(async {
        // The file differs each time, the probe does not.
        let listener = "address = \"127.0.0.1:1\", pool = \"p\"";
        let other = |number| {
            let listener = format!("listener.l = {{ {listener}, max_connections = {number} }}\n");
            listener + &pool("p", 1, probe)
        };
        let mut bench = Bench::new(MOMENT, SAYS, &other(1));
        for reload in 0..40 {
            sleep(Duration::from_millis(100)).await;
            bench.follow(&other(2 + reload));
        }
        let begun = bench.script.of(ADDRESS);
        let gaps = bench.script.gaps(ADDRESS);
        assert_eq!(gaps[1..6], [400; 5], "no reload disturbs it");
        let told = [(0, "the probe succeeded"), (5, "told to")];
        let told = told.map(|(number, why)| (begun[number] + milliseconds(MOMENT), why.to_owned()));
        assert_eq!(bench.told(), told);
    });
}

#[test]
fn a_probe_that_never_ends_is_given_up_at_its_timeout() {
    let probe = "interval = '1s', timeout = '300ms'";
    play(async {
        let bench = Bench::new(Duration::MAX, &[GOOD], &file(1, probe));
        sleep(Duration::from_secs(6)).await;
        let begun = bench.script.of(ADDRESS);
        let why = "timed out after 300ms at a word".to_owned();
        assert_eq!(bench.told(), [(begun[0] + 300, why)]);
        assert_eq!(bench.script.gaps(ADDRESS)[1..4], [1000, 1000, 1000]);
    });
    // One that takes longer than the interval is followed by the next at once, not by two.
    play(async {
        let probe = "interval = '100ms', timeout = '300ms'";
        let bench = Bench::new(Duration::MAX, &[GOOD], &file(1, probe));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(bench.script.gaps(ADDRESS)[..5], [300; 5]);
        assert_eq!(bench.script.at_once.most(), 1);
    });
}

#[test]
fn a_probe_that_panics_has_failed_and_is_made_again() {
    const SAYS: &[Result<(), &str>] = &[GOOD, Err("panic"), Err("panic"), GOOD];
    let probe = "interval = '1s', fast_interval = '100ms', rise = 1, fall = 2";
    play(async {
        let bench = Bench::new(MOMENT, SAYS, &file(1, probe));
        sleep(Duration::from_secs(6)).await;
        let told: Vec<String> = bench.told().into_iter().map(|(_, why)| why).collect();
        assert_eq!(told, ["the probe succeeded", PANICKED, "the probe succeeded"]);
        assert_eq!(bench.script.gaps(ADDRESS)[1..4], [100, 1000, 1000]);
    });
}

#[test]
fn first_probes_are_spread_over_a_second_and_later_ones_over_the_interval() {
    let begun = |interval: &str, plays: Duration| {
        play(async move {
            let bench =
                Bench::new(MOMENT, &[GOOD], &file(400, &format!("interval = '{interval}'")));
            sleep(plays).await;
            [0, 1].map(|number| bench.script.nth(number))
        })
    };
    let [first, second] = begun("10s", Duration::from_secs(12));
    assert_spread(&first, 0, 1000);
    // Half of the interval to all of it after the first, which is itself spread.
    assert_spread(&second, 5000, 11_000);
    let [first, _] = begun("200ms", Duration::from_secs(1));
    assert_spread(&first, 0, 200);
}

/// All 400 are from `from` to `to`, and no tenth of that is empty or has more than a quarter of them.
#[track_caller]
fn assert_spread(instants: &[u64], from: u64, to: u64) {
    let mut tenths = [0; 10];
    for instant in instants {
        assert!((from..=to + 1).contains(instant), "{instant}");
        let tenth = (instant - from) * 10 / (to + 2 - from);
        tenths[usize::try_from(tenth).unwrap()] += 1;
    }
    assert_eq!(instants.len(), 400);
    assert!(tenths.iter().all(|count| (1..100).contains(count)), "{tenths:?}");
}

#[test]
fn no_more_probes_are_under_way_than_may_be_and_everybody_has_a_turn() {
    const ALL: usize = AT_ONCE + 500;
    play(async {
        let probe = "interval = '1s', timeout = '1s'";
        let bench = Bench::new(Duration::MAX, &[GOOD], &file(ALL, probe));
        sleep(Duration::from_secs(4)).await;
        assert_eq!(bench.script.at_once.most(), AT_ONCE);
        let told = bench.told();
        assert_eq!(told.len(), ALL);
        assert!(told.iter().all(|(_, why)| why == "timed out after 1s at a word"));
    });
}

#[test]
fn who_is_added_is_probed_from_then_on_and_who_is_removed_no_more() {
    let probe = "interval = '1s'";
    play(async {
        let mut bench = Bench::new(MOMENT, &[GOOD], &file(1, probe));
        sleep(Duration::from_millis(4_321)).await;
        bench.follow(&file(2, probe));
        sleep(Duration::from_secs(5)).await;
        let second = bench.script.of("10.0.0.2:80");
        assert!((4_321..=5_321).contains(&second[0]) && second.len() >= 4, "{second:?}");
        bench.follow(&file(1, probe));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(bench.script.of("10.0.0.2:80"), second);
        assert!(bench.script.gaps(ADDRESS)[1..].iter().all(|gap| *gap == 1000));
    });
}

#[test]
fn other_settings_of_one_pools_probe_leave_the_rhythm_of_others_alone() {
    let files = |interval: &str| {
        let other = pool("q", 1, "interval = '1s', port = 99");
        format!("{}{other}", file(1, &format!("interval = '{interval}'")))
    };
    play(async {
        let mut bench = Bench::new(MOMENT, &[GOOD], &files("1s"));
        sleep(Duration::from_millis(4_321)).await;
        bench.follow(&files("300ms"));
        sleep(Duration::from_secs(5)).await;
        let changed = bench.script.gaps(ADDRESS);
        assert_eq!(changed.iter().rev().take(10).copied().collect::<Vec<_>>(), [300; 10]);
        let other = bench.script.gaps("10.0.0.1:99");
        assert!(other.len() >= 7 && other[1..].iter().all(|gap| *gap == 1000), "{other:?}");
        // The same file again concerns nobody.
        bench.follow(&files("300ms"));
        sleep(Duration::from_secs(5)).await;
        let changed = bench.script.gaps(ADDRESS);
        assert_eq!(changed.iter().rev().take(26).copied().collect::<Vec<_>>(), [300; 26]);
    });
}
