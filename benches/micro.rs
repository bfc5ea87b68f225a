//! What the parts of the data plane cost without a kernel: timers, the session table, a relay
//! between two streams that are arrays; and what a large file costs a reload.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::config::{Config, Plan};
use forebay::plugin::Registry;

#[path = "parts/file.rs"]
mod file;
#[path = "parts/relay.rs"]
mod relaying;
#[path = "parts/sessions.rs"]
mod sessions;
/// The very files: nothing of the worker needs to be public for this.
#[path = "../src/worker/table.rs"]
#[allow(dead_code, unused_imports, reason = "its tests come along and are not measured")]
mod table;
#[path = "../src/worker/wheel.rs"]
#[allow(dead_code, unused_imports, reason = "its tests come along and are not measured")]
mod wheel;

use file::{large_file, read};
use relaying::{Relay, SCRATCH};
use sessions::{full_table, full_wheel, next};

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    let mut wheel = full_wheel();
    let mut index = 0;
    group.bench_function("arm", |bencher| {
        bencher.iter(|| {
            index = next(index);
            wheel.arm(index, black_box(30_000 + index as u64));
        });
    });
    let mut wheel = full_wheel();
    let (mut now, mut fired) = (0, Vec::new());
    group.bench_function("a millisecond in which some fire and are armed anew", |bencher| {
        bencher.iter(|| {
            now += 1;
            wheel.expire(now, &mut fired);
            fired.drain(..).for_each(|index| wheel.arm(index, now + 30_000));
        });
    });
    group.finish();
}

fn sessions_of_a_worker(criterion: &mut Criterion) {
    let (mut entries, mut keys) = full_table();
    let mut group = criterion.benchmark_group("table");
    let mut index = 0;
    group.bench_function("find", |bencher| {
        bencher.iter(|| {
            index = next(index);
            entries.get_mut(black_box(keys[index])).map(|entry| entry[0] += 1)
        });
    });
    group.bench_function("remove and insert", |bencher| {
        bencher.iter(|| {
            index = next(index);
            let entry = entries.remove(keys[index]);
            keys[index] = entries.next_key();
            entry.map(|entry| entries.insert(black_box(entry)))
        });
    });
    group.finish();
}

fn relay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    for give in [64, 16 << 10, SCRATCH - 1] {
        let mut relay = Relay::new(give);
        group.throughput(Throughput::Bytes(2 * give as u64));
        group.bench_function(format!("{give} bytes each way"), |bencher| {
            bencher.iter(|| relay.turn());
        });
    }
    group.finish();
}

fn config(criterion: &mut Criterion) {
    let good = |text: &str| -> Option<Config> { read(text).config.ok() };
    let registry = Registry::with_builtins();
    let mut group = criterion.benchmark_group("config");
    group.sample_size(10);
    for (name, pools, port) in
        [("1,000 pools", 1_000, ":80"), ("one pool", 1, ":80"), ("one pool that follows", 1, ":+1")]
    {
        let text = large_file(pools, port);
        let old = good(&text);
        group.bench_function(format!("read and check, {name}"), |bencher| {
            bencher.iter(|| {
                let loaded = read(&text);
                assert!(registry.check(&loaded.choices).is_empty());
                loaded.config.is_ok()
            });
        });
        let new = good(&text.replace("= 500", "= 600").replace("weight = 2", "weight = 3"));
        assert!(old.is_some() && new.is_some(), "{:?}", read(&text).config.err());
        group.bench_function(format!("plan, {name}"), |bencher| {
            bencher
                .iter(|| old.as_ref().zip(new.as_ref()).map(|(old, new)| Plan::between(old, new)));
        });
    }
    group.finish();
}

criterion_group!(benches, timers, sessions_of_a_worker, relay, config);
criterion_main!(benches);
