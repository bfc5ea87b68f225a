//! What outlives snapshots, and for how long.

use std::time::Duration;

use super::*;
use crate::model::{NoWaiters, WHOLE};

struct Bench {
    objects: Objects,
    registry: Registry,
}

impl Bench {
    fn new() -> Self {
        let objects = Objects::new(Arc::new(NoWaiters), Instant::now());
        Self { objects, registry: Registry::with_builtins() }
    }

    /// Listener `l` before the pool of this name, with these backends.
    fn assemble(&mut self, listener: &str, pool: &str, backends: &str) -> Arc<ListenerView> {
        let text = format!(
            "[listener.{listener}]\naddress = '127.0.0.1:1'\npool = '{pool}'\n\
             [pool.{pool}]\nbackends = [{backends}]\n"
        );
        let config = config::parse(&text, "f", &|_| None).config.unwrap();
        let places = [(SocketId(0), Arc::clone(&config.listeners[0].name))];
        let snapshot =
            self.objects.assemble(&config, &Resolved::new(), &places, &self.registry).unwrap();
        Arc::clone(&snapshot.listeners[&SocketId(0)])
    }

    fn departed(&self) -> Vec<String> {
        self.objects.departed().map(|(pool, backend)| format!("{pool} {}", backend.name)).collect()
    }
}

const A: &str = "'10.0.0.1:1'";
const B: &str = "'10.0.0.2:1'";

fn backend(view: &ListenerView) -> Arc<Backend> {
    Arc::clone(&view.pool.members[0].backend)
}

#[test]
fn the_same_names_are_the_same_objects() {
    let mut bench = Bench::new();
    let one = bench.assemble("l", "p", A);
    one.listener.counters.sessions.add(3);
    let two = bench.assemble("l", "p", &format!("{A}, {B}"));
    assert!(Arc::ptr_eq(&one.listener, &two.listener));
    assert!(Arc::ptr_eq(&one.pool.pool, &two.pool.pool));
    assert!(Arc::ptr_eq(&backend(&one), &backend(&two)));
    assert_eq!(two.listener.counters.sessions.value(), 3);
    let renamed = bench.assemble("other", "q", A);
    assert!(!Arc::ptr_eq(&renamed.listener, &two.listener));
    assert!(!Arc::ptr_eq(&renamed.pool.pool, &two.pool.pool));
    assert!(!Arc::ptr_eq(&backend(&renamed), &backend(&two)));
}

#[test]
fn a_backend_that_is_used_comes_back_as_the_same_one() {
    let mut bench = Bench::new();
    let used = backend(&bench.assemble("l", "p", A));
    assert!(bench.departed().is_empty());
    bench.assemble("l", "p", B);
    assert_eq!(bench.departed(), ["p 10.0.0.1:1"]);
    bench.assemble("l", "q", B);
    assert_eq!(bench.departed(), ["p 10.0.0.1:1"], "what nobody uses is forgotten");
    let again = backend(&bench.assemble("l", "p", A));
    assert!(Arc::ptr_eq(&again, &used));
    assert!(bench.departed().is_empty());
}

#[test]
fn what_neither_the_file_names_nor_anybody_uses_is_forgotten() {
    let mut bench = Bench::new();
    let old = Arc::downgrade(&bench.assemble("l", "p", A).listener);
    let used = bench.assemble("m", "q", B);
    assert!(old.upgrade().is_none());
    assert_eq!(bench.objects.listeners.len(), 1);
    bench.assemble("l", "p", A);
    assert_eq!(bench.objects.listeners.len(), 2, "one is still used");
    drop(used);
    bench.assemble("l", "p", A);
    assert_eq!((bench.objects.listeners.len(), bench.objects.pools.len()), (1, 1));
    assert_eq!(bench.objects.backends.len(), 1);
}

#[test]
fn a_backend_begins_slowly_once_and_not_with_each_file() {
    const HALF: u64 = 30 * 60 * 1000;
    let mut bench = Bench::new();
    // As if it ran for two hours.
    bench.objects.epoch -= Duration::from_millis(4 * HALF);
    bench.assemble("l", "p", A);
    let view = bench.assemble("l", "p", &format!("{A}, {B}"));
    let ramp = |view: &ListenerView, now| {
        let of = |index: usize| &view.pool.members[index].backend.health;
        [of(0), of(1)].map(|health| health.ramp(Duration::from_secs(3600), now))
    };
    assert_eq!(ramp(&view, 4 * HALF), [WHOLE, WHOLE / 10], "the second has just come");
    view.pool.members[1].backend.health.begin(3 * HALF);
    for file in [format!("{A}, {B}, '10.0.0.3:1'"), format!("{A}, {B}")] {
        let view = bench.assemble("l", "p", &file);
        assert_eq!(ramp(&view, 4 * HALF), [WHOLE, WHOLE / 2], "{file}");
    }
}
