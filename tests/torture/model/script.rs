//! What both ends of one connection do, derived from one number.

use std::time::Duration;

use fastrand::Rng;

/// One step of an end. Reading goes on beside the steps unless a step says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send so many bytes.
    Write(u64),
    /// Let so much time pass.
    Pause(Duration),
    /// Wait for so many more bytes, at most so long.
    Await(u64, Duration),
    /// Read nothing for so long; the next step comes at once.
    StopReading(Duration),
    /// For so long, read only so many bytes at a time with pauses between; the next step comes at once.
    ReadSlowly(usize, Duration),
    /// Send a FIN and go on reading.
    HalfClose,
    /// close(2).
    Close,
    /// close(2) with SO_LINGER 0.
    Reset,
}

/// One end's part.
#[derive(Debug, Clone)]
pub struct Side {
    /// The steps; the last ends at least the sending.
    pub steps: Vec<Step>,
    /// SO_SNDBUF
    pub send_buffer: Option<usize>,
    /// SO_RCVBUF
    pub receive_buffer: Option<usize>,
    /// The most bytes of one write(2).
    pub write_most: usize,
    /// The most bytes of one read(2).
    pub read_most: usize,
    /// True exactly when it waits for a reset once the other's FIN has come, unless it has sent its own
    /// FIN by then.
    pub awaits_reset: bool,
    /// Seed of the sizes of single reads and writes.
    pub seed: u64,
}

/// Both parts.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its number in the run.
    pub number: u64,
    /// True exactly when the client begins before the backend has accepted.
    pub eager: bool,
    /// The client's part.
    pub client: Side,
    /// The backend's part.
    pub upstream: Side,
}

impl Script {
    /// Script `number` of the run with this seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random =
            Rng::with_seed(seed.wrapping_add(number).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let bulk = random.u32(..100) < 4;
        let eager = random.u32(..3) == 0;
        let mut client = Side::random(&mut random, bulk);
        let mut upstream = Side::random(&mut random, bulk);
        // Both would wait for ever.
        if random.bool() {
            client.awaits_reset = upstream.resets_after_its_fin();
        } else {
            upstream.awaits_reset = client.resets_after_its_fin();
        }
        Self { number, eager, client, upstream }
    }
}

impl Side {
    fn random(random: &mut Rng, bulk: bool) -> Self {
        let mut steps: Vec<Step> =
            (0..random.usize(0..7)).map(|_| Step::random(random, bulk)).collect();
        steps.extend(match random.u32(..100) {
            0..45 => vec![Step::HalfClose],
            45..55 => vec![Step::HalfClose, Step::Pause(time(random, 30)), Step::Reset],
            55..60 => vec![Step::HalfClose, Step::Pause(time(random, 30)), Step::Close],
            60..78 => vec![Step::Close],
            _ => vec![Step::Reset],
        });
        Self {
            steps,
            send_buffer: random.bool().then(|| size(random, 4 * 1024, 512 * 1024)),
            receive_buffer: random.bool().then(|| size(random, 16 * 1024, 512 * 1024)),
            write_most: size(random, 1, 128 * 1024),
            read_most: size(random, 256, 128 * 1024),
            awaits_reset: false,
            seed: random.u64(..),
        }
    }

    fn resets_after_its_fin(&self) -> bool {
        let fin = self.steps.iter().position(|step| *step == Step::HalfClose);
        fin.is_some_and(|fin| self.steps[fin..].contains(&Step::Reset))
    }
}

impl Step {
    fn random(random: &mut Rng, bulk: bool) -> Self {
        match random.u32(..100) {
            0..8 if bulk => Self::Write(random.u64(1 << 20..4 << 20)),
            0..45 => Self::Write(size(random, 1, 256 * 1024) as u64),
            45..60 => Self::Pause(time(random, 30)),
            60..75 => Self::Await(size(random, 1, 64 * 1024) as u64, time(random, 60)),
            75..88 => Self::StopReading(time(random, 120)),
            _ => Self::ReadSlowly(size(random, 1, 8 * 1024), time(random, 60)),
        }
    }
}

/// Small sizes as likely as large ones.
fn size(random: &mut Rng, least: usize, most: usize) -> usize {
    let most_bits = (most / least).ilog2();
    let low = least << random.u32(..=most_bits);
    random.usize(low..=(low * 2).min(most).max(low))
}

fn time(random: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(..=most))
}
