//! How many instructions the parts of the data plane take, counted by callgrind.
//!
//! Counts do not depend on how busy the machine is, so a change of a few hundredths can be told
//! from noise. `benches/instructions.sh` compares them with those kept in
//! `benches/instructions.toml`. What is set up and what is torn down is not counted.

#![allow(missing_docs, clippy::disallowed_methods, reason = "the macros make modules and main")]

use std::hint::black_box;
use std::sync::Arc;

use forebay::config::Loaded;
use forebay::model::{Picked, PoolView};
use forebay::plugin::Registry;
use gungraun::{library_benchmark, library_benchmark_group, main};

#[path = "parts/ask.rs"]
mod ask;
#[path = "parts/file.rs"]
mod file;
#[path = "parts/pool.rs"]
mod pool;
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

use ask::ask;
use pool::pool_of_100;
use relaying::{Relay, SCRATCH};
use sessions::{Entry, SESSIONS, full_table, full_wheel, next};
use table::{Key, Table};
use wheel::Wheel;

/// How often a short piece of work is done, so that what surrounds it does not show.
const TIMES: u32 = 1_000;

type Sessions = (Table<Entry>, Vec<Key>);

#[library_benchmark(setup = pool_of_100)]
#[bench::first("first")]
#[bench::least_connections("least_connections")]
#[bench::random_two("random_two")]
#[bench::round_robin("round_robin")]
#[bench::source_hash("source_hash")]
fn pick(pool: Arc<PoolView>) -> Arc<PoolView> {
    for number in 0..TIMES {
        let picked = pool.pick(black_box(&ask(number)), &[], black_box(0));
        assert!(matches!(black_box(picked), Picked::Backend(..)));
    }
    pool
}

#[library_benchmark]
#[bench::all(full_wheel())]
fn arm(mut wheel: Wheel) -> Wheel {
    let mut index = 0;
    for _ in 0..SESSIONS {
        index = next(index);
        wheel.arm(index, black_box(30_000 + index as u64));
    }
    wheel
}

// Milliseconds in which some fire and are armed anew.
#[library_benchmark]
#[bench::all(full_wheel())]
fn expire(mut wheel: Wheel) -> Wheel {
    let mut fired = Vec::with_capacity(SESSIONS);
    for now in 1..=10_000 {
        wheel.expire(black_box(now), &mut fired);
        fired.drain(..).for_each(|index| wheel.arm(index, now + 30_000));
    }
    wheel
}

#[library_benchmark]
#[bench::all(full_table())]
fn find((mut table, keys): Sessions) -> Sessions {
    let mut index = 0;
    for _ in 0..SESSIONS {
        index = next(index);
        black_box(table.get_mut(black_box(keys[index])).map(|entry| entry[0] += 1));
    }
    (table, keys)
}

#[library_benchmark]
#[bench::all(full_table())]
fn replace((mut table, mut keys): Sessions) -> Sessions {
    let mut index = 0;
    for _ in 0..SESSIONS {
        index = next(index);
        let entry = table.remove(black_box(keys[index]));
        keys[index] = table.next_key();
        black_box(entry.map(|entry| table.insert(black_box(entry))));
    }
    (table, keys)
}

#[library_benchmark(setup = Relay::new)]
#[bench::bytes_64(64)]
#[bench::bytes_16k(16 << 10)]
#[bench::all_of_the_scratch(SCRATCH - 1)]
fn turns(mut relay: Relay) -> Relay {
    for _ in 0..TIMES {
        black_box(relay.turn());
    }
    relay
}

fn text(pools: usize) -> (String, Registry) {
    (file::large_file(pools, ":80"), Registry::with_builtins())
}

// 1,000 listeners and 10,000 backends.
#[library_benchmark(setup = text)]
#[bench::pools_1000(1_000)]
#[bench::one_pool(1)]
fn parse((text, registry): (String, Registry)) -> (Loaded, String, Registry) {
    let loaded = file::read(black_box(&text));
    assert!(loaded.config.is_ok() && registry.check(&loaded.choices).is_empty());
    (loaded, text, registry)
}

library_benchmark_group!(name = balance, benchmarks = pick);
library_benchmark_group!(name = timers, benchmarks = [arm, expire]);
library_benchmark_group!(name = entries, benchmarks = [find, replace]);
library_benchmark_group!(name = relay, benchmarks = turns);
library_benchmark_group!(name = config, benchmarks = parse);
main!(library_benchmark_groups = [balance, timers, entries, relay, config]);
