//! What a session costs in choices: one pick of each policy, one permit of a limit, one count of a
//! source.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use forebay::balance::{Balancer, RoundRobin, SourceHash};
use forebay::config::{PerSource, Rate};
use forebay::model::{Limit, NoWaiters, RateLimiter, Sources};

#[path = "parts/ask.rs"]
mod ask;
#[path = "parts/choices.rs"]
mod choices;

use ask::ask;
use choices::{candidate, member, policies};

fn picks(criterion: &mut Criterion) {
    for (name, policy) in policies() {
        let mut group = criterion.benchmark_group(format!("pick/{name}"));
        for count in [3, 100, 1_000] {
            let members: Vec<_> = (0..count).map(member).collect();
            let candidates: Vec<_> = (0..count).map(candidate).collect();
            let selector = policy.selector(&members);
            let mut number = 0_u32;
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    number = number.wrapping_add(1);
                    selector.pick(black_box(&ask(number)), black_box(&candidates))
                });
            });
        }
    }
}

fn selectors(criterion: &mut Criterion) {
    let members: Vec<_> = (0..1_000).map(member).collect();
    let mut group = criterion.benchmark_group("selector");
    group.sample_size(10);
    group.bench_function("source_hash/1000", |bencher| {
        bencher.iter(|| SourceHash::default().selector(black_box(&members)));
    });
    let policy = RoundRobin::default();
    group.bench_function("round_robin/1000", |bencher| {
        bencher.iter(|| policy.selector(black_box(&members)));
    });
}

fn limits(criterion: &mut Criterion) {
    let limit = Arc::new(Limit::new(Some(1_000), Arc::new(NoWaiters)));
    criterion.bench_function("limit/acquire and release", |bencher| {
        bencher.iter(|| drop(black_box(limit.acquire_or_wait(0))));
    });
    let epoch = Instant::now();
    let rate = Some(Rate { count: u32::MAX, per: Duration::from_secs(1) });
    let limiter = RateLimiter::new(rate, epoch);
    criterion.bench_function("rate/try_take", |bencher| {
        bencher.iter(|| black_box(limiter.try_take(black_box(epoch))).is_ok());
    });
    let settings = PerSource { max_connections: Some(100), rate, ipv6_prefix: 64 };
    let sources = Arc::new(Sources::new(&settings, epoch));
    let mut number = 0_u32;
    criterion.bench_function("sources/admit and release", |bencher| {
        bencher.iter(|| {
            number = (number + 1) % 10_000;
            let source = IpAddr::V4(Ipv4Addr::from_bits(number));
            drop(black_box(sources.admit(source, epoch)));
        });
    });
}

criterion_group!(benches, picks, selectors, limits);
criterion_main!(benches);
