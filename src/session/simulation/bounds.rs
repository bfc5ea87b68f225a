//! Bounds in time: what they end, and what they must not end.

use std::time::Duration;

use super::setting::{Attempt, Setting, Step};
use super::{MILLISECOND, Micros, SECOND};
use crate::plugin::Cause;

/// Takes a little now and then.
fn reads_slowly(times: usize, pause: Micros) -> Vec<Step> {
    let mut steps = vec![Step::StopReading];
    for _ in 0..times {
        steps.extend([Step::Pause(pause), Step::Sip]);
    }
    steps
}

#[track_caller]
fn assert_about(at: Micros, expected: Micros) {
    assert!(at.abs_diff(expected) * 10 <= expected, "at {at}, not about {expected}");
}

#[test]
fn a_live_peer_that_does_not_read_is_not_dead() {
    let client = vec![Step::StopReading, Step::Pause(90 * SECOND), Step::ResumeReading];
    let mut setting = Setting::new(client, vec![Step::Write(100_000), Step::HalfClose]);
    setting.scripts[0].push(Step::HalfClose);
    setting.timeouts.half_closed = None;
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Finished);
    assert_eq!(world.links[0].borrow().peer.received, 100_000);
}

#[test]
fn a_silent_peer_is_dead_at_dead_peer() {
    for pause in [0, 7 * SECOND, 100 * SECOND] {
        for length in [1, 100_000] {
            let client = vec![Step::Pause(pause), Step::Vanish];
            let upstream = vec![Step::Pause(pause + SECOND / 10), Step::Write(length)];
            let world = Setting::new(client, upstream).run();
            assert_eq!(world.cause(), Cause::DeadPeer);
            assert_about(world.ended.unwrap().0 - pause, 30 * SECOND);
        }
    }
}

#[test]
fn a_peer_that_dies_while_one_writes_on_is_found_at_dead_peer() {
    for pace in [SECOND / 20, SECOND / 4, SECOND, 5 * SECOND] {
        for phase in 0..20 {
            let writing =
                (0..100 * SECOND / pace).flat_map(|_| [Step::Write(1), Step::Pause(pace)]);
            let death = 20 * SECOND + phase * SECOND / 3;
            let dying = vec![Step::Pause(death), Step::Vanish];
            let world = Setting::new(dying, writing.collect()).run();
            assert_eq!(world.cause(), Cause::DeadPeer);
            let owed = world.links[0].borrow().sent;
            assert!(owed >= death && owed <= death + pace + SECOND / 10, "owed since {owed}");
            assert_about(world.ended.unwrap().0 - owed, 30 * SECOND);
        }
    }
}

#[test]
fn silence_before_anything_was_owed_is_no_death() {
    // The client says nothing for long, and is away for a while when something is sent to it.
    let client = vec![Step::Pause(29 * SECOND), Step::Vanish, Step::Pause(15 * SECOND)];
    let upstream = vec![Step::Write(10), Step::Pause(29 * SECOND + SECOND / 10), Step::Write(10)];
    let mut setting = Setting::new(client, upstream);
    setting.scripts[0].extend([Step::Return, Step::Pause(40 * SECOND), Step::HalfClose]);
    setting.scripts[1].extend([Step::Pause(40 * SECOND), Step::HalfClose]);
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Finished);
}

#[test]
fn abort_timeout_is_without_progress() {
    let client = vec![Step::Write(3000), Step::Pause(SECOND), Step::Reset];
    let mut setting = Setting::new(client.clone(), reads_slowly(8, 6 * SECOND));
    setting.socket_buffer = 1000;
    setting.receive_buffer = Some(200);
    let slow = setting.run();
    let (at, _) = slow.ended.unwrap();
    assert!(slow.links[1].borrow().peer.received > 1000 && at > 20 * SECOND, "at {at}");
    let mut setting = Setting::new(client, vec![Step::StopReading]);
    setting.socket_buffer = 1000;
    let stuck = setting.run();
    assert_eq!(stuck.cause(), Cause::AbortTimeout);
    assert_about(stuck.ended.unwrap().0, 11 * SECOND);
}

#[test]
fn a_reset_is_passed_on_soon_after_the_last_byte() {
    let client = vec![Step::Write(3000), Step::Pause(10 * SECOND), Step::Reset];
    let mut setting = Setting::new(client, vec![Step::StopReading, Step::Pause(11 * SECOND)]);
    setting.scripts[1].push(Step::ResumeReading);
    setting.receive_buffer = Some(10);
    setting.pace = 10 * MILLISECOND;
    let world = setting.run();
    let last = world.links[1].borrow().last_taken;
    assert_eq!(world.links[1].borrow().peer.received, 3000);
    assert!(last > 12 * SECOND, "{last}");
    assert!(world.ended.unwrap().0 - last < 100 * MILLISECOND);
}

#[test]
fn idle_timeout_fires_while_data_is_stuck() {
    let mut setting = Setting::new(vec![Step::StopReading], vec![Step::Write(100_000)]);
    setting.timeouts.idle = Some(Duration::from_secs(60));
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Idle);
    assert_about(world.ended.unwrap().0, 60 * SECOND);
}

#[test]
fn idle_timeout_bounds_the_whole_of_an_abort() {
    let client = vec![Step::Write(3000), Step::Pause(SECOND), Step::Reset];
    let mut setting = Setting::new(client, reads_slowly(100, SECOND));
    setting.socket_buffer = 1000;
    setting.receive_buffer = Some(50);
    setting.timeouts.idle = Some(Duration::from_secs(8));
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Idle);
    assert_about(world.ended.unwrap().0, 9 * SECOND);
}

#[test]
fn half_closed_timeout_counts_from_the_fin() {
    let client = vec![Step::Write(10), Step::Pause(100 * SECOND), Step::HalfClose];
    let upstream = vec![Step::Pause(120 * SECOND), Step::Write(10), Step::HalfClose];
    let world = Setting::new(client.clone(), upstream).run();
    assert_eq!(world.cause(), Cause::Finished);
    let world = Setting::new(client, vec![]).run();
    assert_eq!(world.cause(), Cause::HalfClosed);
    assert_about(world.ended.unwrap().0, 130 * SECOND);
}

#[test]
fn half_closed_timeout_spares_a_slow_reader() {
    // The upstream is done, all that it sent is in the kernel, and the client takes minutes.
    let mut setting = Setting::new(reads_slowly(20, 10 * SECOND), vec![Step::Write(2000)]);
    setting.scripts[0].extend([Step::ResumeReading, Step::HalfClose]);
    setting.scripts[1].push(Step::HalfClose);
    setting.receive_buffer = Some(40);
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Finished);
    assert_eq!(world.links[0].borrow().peer.received, 2000);
    assert!(world.ended.unwrap().0 > 100 * SECOND);
}

#[test]
fn lifetime_ends_a_busy_session() {
    let steps = (0..100).flat_map(|_| [Step::Write(10), Step::Pause(SECOND)]).collect::<Vec<_>>();
    let mut setting = Setting::new(steps.clone(), steps);
    setting.timeouts.lifetime = Some(Duration::from_secs(50));
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Lifetime);
    assert_about(world.ended.unwrap().0, 50 * SECOND);
    assert!(world.links.iter().all(|link| link.borrow().peer.saw_reset));
}

#[test]
fn lifetime_ends_a_session_in_which_data_is_stuck() {
    let mut setting = Setting::new(vec![Step::StopReading], vec![Step::Write(100_000)]);
    setting.timeouts.lifetime = Some(Duration::from_secs(50));
    let world = setting.run();
    assert_eq!(world.cause(), Cause::Lifetime);
    assert_about(world.ended.unwrap().0, 50 * SECOND);
}

#[test]
fn connect_timeout_moves_on_and_the_deadline_is_absolute() {
    let mut setting = Setting::new(vec![Step::HalfClose], vec![Step::HalfClose]);
    setting.attempts = vec![Attempt::Never, Attempt::RefusedAfter(SECOND / 2), Attempt::AtOnce];
    let world = setting.clone().run();
    assert_eq!(world.cause(), Cause::Finished);
    assert_about(world.ended.unwrap().0, 3 * SECOND / 2);
    setting.attempts = vec![Attempt::Never; 5];
    setting.connect.deadline = Duration::from_millis(2500);
    let world = setting.run();
    assert_eq!(world.links.len(), 1 + 3, "nothing is tried beyond the deadline");
    assert_eq!(world.cause(), Cause::ConnectTimeout);
    assert_about(world.ended.unwrap().0, 2500 * MILLISECOND);
}
