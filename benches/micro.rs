//! What the parts of the data plane cost without a kernel: timers, the session table, a relay
//! between two streams that are arrays.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::config::{Splice, Timeouts};
use forebay::model::Budget;
use forebay::net::{Liveness, Stream};
use forebay::session::{Buffers, Pipes, Readiness, Session, Turn, Want, Who};
use slab::Slab;

/// The very file: nothing of the worker needs to be public for this.
#[path = "../src/worker/wheel.rs"]
#[allow(dead_code, unused_imports, reason = "its tests come along and are not measured")]
mod wheel;

/// Sessions that a full worker has.
const SESSIONS: usize = 10_000;

const SCRATCH: usize = 64 << 10;

/// A stream that always gives `give` bytes and takes all.
struct Fake {
    give: usize,
    left: usize,
}

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.left.min(buffer.len());
        self.left -= count;
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What is written is what the next turn finds to read.
        self.left = self.give;
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Fake {
    type Pipe = ();

    fn splices(&self) -> bool {
        false
    }

    fn take_connect_error(&mut self) -> Option<io::Error> {
        None
    }

    fn peek(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}

    fn unacknowledged(&self) -> io::Result<usize> {
        Ok(0)
    }

    fn liveness(&self) -> io::Result<Liveness> {
        Ok(Liveness { last_acknowledgement: Duration::ZERO, unanswered: 0 })
    }

    fn splice_from(&mut self, (): &mut ()) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn splice_to(&mut self, (): &mut (), _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn unsplice((): &mut (), _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    let full = || {
        let mut wheel = wheel::Wheel::new();
        (0..SESSIONS).for_each(|index| wheel.arm(index, 1 + index as u64 * 7 % 30_000));
        wheel
    };
    let mut wheel = full();
    let mut index = 0;
    group.bench_function("arm", |bencher| {
        bencher.iter(|| {
            index = (index + 7_919) % SESSIONS;
            wheel.arm(index, black_box(30_000 + index as u64));
        });
    });
    let mut wheel = full();
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

fn table(criterion: &mut Criterion) {
    // The worker's table is a slab whose entries carry a generation; an entry is about this large.
    let mut entries: Slab<(u32, [u64; 48])> = (0..SESSIONS).map(|at| (at, (7, [0; 48]))).collect();
    let mut group = criterion.benchmark_group("table");
    let mut index = 0;
    group.bench_function("find", |bencher| {
        bencher.iter(|| {
            index = (index + 7_919) % SESSIONS;
            let found = entries.get_mut(index).filter(|entry| entry.0 == black_box(7));
            found.map(|entry| entry.1[0] += 1)
        });
    });
    group.bench_function("remove and insert", |bencher| {
        bencher.iter(|| {
            index = (index + 7_919) % SESSIONS;
            let entry = entries.try_remove(index);
            entry.map(|entry| entries.insert(black_box(entry)))
        });
    });
    group.finish();
}

fn timeouts() -> Timeouts {
    Timeouts {
        idle: Some(Duration::from_secs(3_600)),
        half_closed: Some(Duration::from_secs(30)),
        lifetime: None,
        lifetime_jitter: 0,
        abort: Duration::from_secs(10),
        dead_peer: Some(Duration::from_secs(30)),
    }
}

fn relay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    let now = Instant::now();
    for give in [64, 16 << 10, SCRATCH - 1] {
        let fake = || Fake { give, left: give };
        let mut session = Session::new(fake(), Arc::new(timeouts()), now, 0);
        session.connected(fake(), now);
        let mut buffers = Buffers::new(SCRATCH, Arc::new(Budget::new(1 << 30)));
        let mut pipes = Pipes::new(|| None);
        let mut scratch = vec![0; SCRATCH];
        let readable = Readiness { readable: true, ..Readiness::default() };
        group.throughput(Throughput::Bytes(2 * give as u64));
        group.bench_function(format!("{give} bytes each way"), |bencher| {
            bencher.iter(|| {
                session.event(Who::Client, readable);
                session.event(Who::Upstream, readable);
                let want = session.advance(&mut Turn {
                    now,
                    scratch: &mut scratch,
                    buffers: &mut buffers,
                    pipes: &mut pipes,
                    splice: Splice::Auto,
                });
                debug_assert_eq!(want, Want::Nothing);
                session.deadline()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, timers, table, relay);
criterion_main!(benches);
