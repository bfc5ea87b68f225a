//! A setting at random: sockets, memory, bounds, and what the peers will do.

use std::time::Duration;

use super::chance::Chance;
use super::kernel::Family;
use super::setting::{Attempt, Setting, Step};
use super::{MILLISECOND, Micros, SECOND};
use crate::config::Splice;

/// A world of which chance decides everything.
pub(super) fn setting(mut chance: Chance) -> Setting {
    let random = &mut chance;
    let socket_buffer = one(random, &[1, 10, 100, 1000, 10_000]);
    let buffer = one(random, &[1, 7, 64, 1024, 8192]);
    let pipe_capacity = one(random, &[1, 50, 1024, 16_384]);
    // So many bytes at once that everything overflows, and not so many that a script takes long.
    let most = 20 * [socket_buffer, buffer, pipe_capacity].into_iter().min().unwrap_or(1);
    let mut setting = Setting::new(script(random, most as u64), script(random, most as u64));
    setting.chance = match random {
        Chance::Seed(random) => Chance::of_seed(random.u64(..)),
        Chance::Bytes(_) => random.fork(),
    };
    setting.socket_buffer = socket_buffer;
    setting.buffer = buffer;
    setting.pipe_capacity = pipe_capacity;
    setting.splice = one(random, &[Splice::Auto, Splice::Always, Splice::Never]);
    setting.budget = one(random, &[0, 1, 2, 1000]);
    setting.hog = random.u8(..4) == 0;
    setting.pipes = one(random, &[0, 1, 2, 8]);
    setting.moody = random.bool();
    setting.client_first = random.bool();
    setting.pace = one(random, &[0, 50, MILLISECOND, 20 * MILLISECOND]);
    let unix = |random: &mut Chance| if random.u8(..4) == 0 { Family::Unix } else { Family::Tcp };
    setting.families = [unix(random), unix(random)];
    setting.attempts = attempts(random);
    setting.connect.deadline = Duration::from_millis(one(random, &[1500, 3000]));
    setting.timeouts.idle = Some(Duration::from_secs(one(random, &[20, 60, 600])));
    setting.timeouts.half_closed = Some(Duration::from_secs(one(random, &[5, 30])));
    if random.u8(..10) == 0 {
        setting.timeouts.lifetime = Some(Duration::from_secs(10));
    }
    setting.crowded = random.bool();
    setting
}

fn one<T: Copy>(random: &mut Chance, among: &[T]) -> T {
    among[random.usize(..among.len())]
}

fn attempts(random: &mut Chance) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    while attempts.len() < 3 && random.u8(..5) == 0 {
        let length = random.u64(..1200) * MILLISECOND;
        attempts.push(match random.u8(..4) {
            0 => Attempt::Refused,
            1 => Attempt::RefusedAfter(length),
            2 => Attempt::Never,
            _ => Attempt::ResetUnused(length),
        });
    }
    if attempts.len() < 3 {
        let length = random.u64(..50) * MILLISECOND;
        attempts.push(if random.bool() { Attempt::AtOnce } else { Attempt::After(length) });
    }
    attempts
}

fn pause(random: &mut Chance) -> Micros {
    match random.u8(..40) {
        0 => random.u64(..100) * SECOND,
        1..5 => random.u64(..1000) * MILLISECOND,
        _ => random.u64(..2000),
    }
}

fn script(random: &mut Chance, most: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let urgent = random.u8(..5) == 0;
    let lazy = random.u8(..4) == 0;
    for _ in 0..random.usize(..6) {
        steps.push(Step::Write(random.u64(1..=most)));
        steps.push(Step::Pause(pause(random)));
        if urgent && random.bool() {
            steps.extend([Step::Urgent, Step::Write(random.u64(1..=most))]);
        }
        if lazy && random.bool() {
            steps.extend([Step::StopReading, Step::Pause(pause(random))]);
            if random.u8(..10) > 0 {
                steps.push(Step::ResumeReading);
            }
        }
    }
    match random.u8(..40) {
        0..20 => steps.push(Step::HalfClose),
        20..24 => steps.extend([Step::HalfClose, Step::Pause(pause(random)), Step::Reset]),
        24..28 => steps.extend([Step::HalfClose, Step::Pause(pause(random)), Step::Close]),
        28..32 => steps.push(Step::Close),
        32..37 => steps.push(Step::Reset),
        37..39 => steps.push(Step::Vanish),
        _ => {}
    }
    steps
}
