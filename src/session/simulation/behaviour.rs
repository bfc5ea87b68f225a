//! What one side does and what the other sees of it, order by order.

use super::MILLISECOND;
use super::SECOND;
use super::kernel::Family;
use super::setting::{Attempt, Setting, Step};
use super::world::World;
use crate::config::Splice;
use crate::plugin::{Cause, Phase};
use crate::session::ConnectFailure;

/// A session that relays, of peers who wait to be told what to do.
fn relaying(change: impl FnOnce(&mut Setting)) -> World {
    let mut setting = Setting::new(vec![], vec![]);
    change(&mut setting);
    let mut world = World::new(setting);
    world.begin();
    world.poll();
    world
}

impl World {
    /// The peer of one connection writes, and all of it arrives.
    fn writes(&self, index: usize, count: u64) {
        self.links[index].borrow_mut().peer_writes(count);
        self.arrives(index);
    }

    fn arrives(&self, index: usize) {
        let mut link = self.links[index].borrow_mut();
        while link.can_bring() {
            link.bring();
        }
    }

    fn half_closes(&self, index: usize) {
        self.links[index].borrow_mut().peer_half_closes();
        self.arrives(index);
    }

    fn resets(&self, index: usize) {
        self.links[index].borrow_mut().peer_resets();
        self.arrives(index);
    }

    /// What happened since the poll is in the next one.
    fn hides(&self, index: usize) {
        self.links[index].borrow_mut().kernel.ready = false;
    }

    fn saw(&self, index: usize) -> (u64, bool, bool) {
        let peer = &self.links[index].borrow().peer;
        (peer.received, peer.saw_fin, peer.saw_reset)
    }

    pub(super) fn cause(&self) -> Cause {
        self.ended.unwrap().1.cause
    }
}

#[test]
fn half_close_keeps_the_other_direction_open() {
    let upstream = vec![Step::Pause(SECOND), Step::Write(5000), Step::HalfClose];
    let world = Setting::new(vec![Step::Write(100), Step::HalfClose], upstream).run();
    assert_eq!((world.saw(0), world.saw(1)), ((5000, true, false), (100, true, false)));
    assert_eq!(world.cause(), Cause::Finished);
}

#[test]
fn a_fin_that_comes_with_hup_is_not_missed() {
    let mut world = relaying(|_| {});
    world.half_closes(0);
    world.poll();
    // Both directions being over, the event of these bytes says HUP, and no other event follows.
    world.links[1].borrow_mut().peer_writes(100);
    world.half_closes(1);
    world.run();
    assert_eq!(world.saw(0), (100, true, false));
    assert!(world.now() < SECOND, "took until {}", world.now());
}

#[test]
fn rdhup_with_error_is_not_a_fin() {
    let mut world = relaying(|_| {});
    world.writes(1, 100);
    world.resets(1);
    world.run();
    assert_eq!(world.saw(0), (100, false, true));
    assert_eq!(world.cause(), Cause::UpstreamReset);
}

#[test]
fn reset_met_by_a_write_is_not_a_fin() {
    for splice in [Splice::Never, Splice::Always] {
        let mut world = relaying(|setting| setting.splice = splice);
        world.writes(0, 10);
        world.writes(1, 100);
        world.resets(1);
        world.hides(1);
        world.poll();
        world.run();
        assert_eq!(world.saw(0), (100, false, true));
        assert_eq!(world.cause(), Cause::UpstreamReset);
    }
}

#[test]
fn reset_met_by_a_shutdown_is_not_a_fin() {
    let mut world = relaying(|_| {});
    world.half_closes(0);
    world.writes(1, 100);
    world.resets(1);
    world.hides(1);
    world.poll();
    world.run();
    assert_eq!(world.saw(0), (100, false, true));
}

/// The poll, a write and a shutdown in turn are the first to meet the reset.
#[test]
fn fin_then_reset_is_a_fin_then_a_reset() {
    for meets in 0..3 {
        let mut world = relaying(|_| {});
        match meets {
            0 => {}
            1 => world.writes(0, 10),
            _ => world.half_closes(0),
        }
        world.writes(1, 100);
        world.half_closes(1);
        world.resets(1);
        if meets > 0 {
            world.hides(1);
            world.poll();
        }
        world.run();
        // Whoever has sent a FIN and got one has no connection left to be reset.
        assert_eq!(world.saw(0), (100, true, meets < 2), "met by {meets}");
        assert_eq!(world.cause(), Cause::UpstreamReset);
    }
}

/// The second FIN is left to close(2), but not where the session is about to be reset.
#[test]
fn a_fin_before_a_reset_is_passed_on_though_it_is_the_second() {
    let mut world = relaying(|_| {});
    world.half_closes(0);
    world.poll();
    // The first is on its way, unacknowledged: a connection that was over could not be reset.
    world.writes(1, 100);
    world.half_closes(1);
    world.resets(1);
    world.run();
    assert_eq!(world.saw(0), (100, true, false));
    assert_eq!(world.cause(), Cause::UpstreamReset);
}

#[test]
fn a_fin_seen_before_any_other_error_is_passed_on() {
    let mut world = relaying(|setting| setting.socket_buffer = 1000);
    world.links[0].borrow_mut().peer_stops_reading();
    world.links[1].borrow_mut().peer_writes(3000);
    // A third is with the client's socket, a third held, a third and the FIN still to be read.
    for _ in 0..2 {
        world.arrives(1);
        world.poll();
    }
    world.half_closes(1);
    world.poll();
    // Keepalive gives up: no reset, so no EPIPE.
    world.links[1].borrow_mut().reset_at = Some((world.now(), 3000));
    world.links[1].borrow_mut().kernel.fail(std::io::ErrorKind::TimedOut);
    world.hides(1);
    world.writes(0, 10);
    world.poll();
    world.links[0].borrow_mut().peer.reading = true;
    world.run();
    assert_eq!(world.saw(0), (3000, true, true));
}

#[test]
fn a_reset_of_the_client_reaches_the_upstream_after_its_bytes() {
    for splice in [Splice::Never, Splice::Always] {
        let mut setting = Setting::new(vec![], vec![Step::Write(100_000)]);
        setting.scripts[0] = vec![Step::Write(20_000), Step::Pause(SECOND), Step::Reset];
        setting.splice = splice;
        let world = setting.run();
        assert_eq!(world.saw(1), (20_000, false, true));
        assert_eq!(world.cause(), Cause::ClientReset);
    }
}

#[test]
fn urgent_data_does_not_truncate() {
    for splice in [Splice::Never, Splice::Auto, Splice::Always] {
        for end in [Step::HalfClose, Step::Reset, Step::Close] {
            let script = [100, 3000, 1, 500].map(|count| [Step::Write(count), Step::Urgent]);
            let mut setting = Setting::new(vec![Step::HalfClose], script.concat());
            setting.scripts[1].extend([Step::Write(700), Step::Pause(SECOND), end]);
            setting.splice = splice;
            let world = setting.run();
            let fin = end != Step::Reset;
            assert_eq!(world.saw(0), (4301, fin, !fin), "{splice:?}, {end:?}");
        }
    }
    // All in one event.
    let mut world = relaying(|_| {});
    world.writes(1, 100);
    world.links[1].borrow_mut().peer_sends_urgent();
    world.writes(1, 200);
    world.half_closes(1);
    world.half_closes(0);
    world.run();
    assert_eq!(world.saw(0), (300, true, false));
}

#[test]
fn a_splice_that_urgent_data_stops_leaves_nothing_behind() {
    let mut world = relaying(|setting| setting.splice = Splice::Always);
    world.writes(1, 100);
    world.poll();
    world.writes(1, 10);
    // Seen as readable, and then all at once before the splice.
    let seen = world.links[1].borrow_mut().kernel.poll().unwrap();
    world.session.as_mut().unwrap().event(crate::session::Who::Upstream, seen);
    world.queued = true;
    world.links[1].borrow_mut().peer_sends_urgent();
    world.writes(1, 200);
    world.resets(1);
    world.poll();
    world.run();
    assert_eq!(world.saw(0), (310, false, true));
}

#[test]
fn a_reset_that_a_splice_kept_to_itself_is_not_a_fin() {
    let mut world = relaying(|setting| setting.splice = Splice::Always);
    world.writes(1, 100);
    world.writes(0, 10);
    world.links[1].borrow_mut().peer_resets();
    world.links[1].borrow_mut().moody = true;
    world.poll();
    assert!(world.links[1].borrow().error_lost);
    world.run();
    assert_eq!(world.saw(0), (100, false, true));
}

#[test]
fn over_the_budget_all_is_passed_on_and_nothing_held() {
    for splice in [Splice::Never, Splice::Always] {
        let steps = vec![Step::Write(50_000), Step::HalfClose];
        let mut setting = Setting::new(steps.clone(), steps);
        setting.budget = 0;
        setting.splice = splice;
        let world = setting.run();
        assert_eq!((world.saw(0), world.saw(1)), ((50_000, true, false), (50_000, true, false)));
    }
}

#[test]
fn bulk_is_spliced_and_small_messages_are_not() {
    let run = |count| {
        let steps = vec![Step::Write(count), Step::HalfClose];
        let mut setting = Setting::new(steps.clone(), steps);
        setting.buffer = 64;
        setting.run().spliced
    };
    assert_eq!(run(50), 0);
    assert!(run(100_000) > 50_000);
}

#[test]
fn of_questions_and_answers_only_large_ones_are_spliced_unless_there_is_a_crowd() {
    // Of 1,024 bytes of scratch memory 128 are a lot, and 512 of an answer.
    let exchange = |size: u64, crowded: bool| {
        let mut world = relaying(|setting| setting.crowded = crowded);
        for _ in 0..10 {
            for index in [0, 1] {
                world.writes(index, size);
                world.poll();
            }
        }
        world.half_closes(0);
        world.half_closes(1);
        world.run();
        assert_eq!((world.saw(0).0, world.saw(1).0), (10 * size, 10 * size));
        world.spliced
    };
    assert_eq!(exchange(127, true), 0);
    assert!(exchange(1024, false) >= 5 * 1024, "all of the scratch memory");
    assert!(exchange(1280, false) >= 5 * 1280, "more than that: what is left over is part of it");
    assert_eq!(exchange(511, false), 0);
    assert!(exchange(128, true) >= 5 * 128, "a crowd");
    assert!(exchange(512, false) >= 5 * 512, "large ones");
}

#[test]
fn streams_both_ways_at_once_are_no_answers() {
    let mut world = relaying(|_| ());
    for _ in 0..10 {
        world.writes(0, 200);
        world.writes(1, 200);
        world.poll();
    }
    assert!(world.spliced >= 10 * 200, "{}", world.spliced);
}

#[test]
fn a_stream_that_follows_questions_and_answers_is_spliced_until_they_go_on() {
    let mut world = relaying(|_| ());
    let spliced = |world: &mut World, index: usize, count: u64| {
        let before = world.spliced;
        world.writes(index, count);
        world.poll();
        world.spliced > before
    };
    for _ in 0..3 {
        assert!(!spliced(&mut world, 0, 200) && !spliced(&mut world, 1, 200), "in turns");
    }
    let stream: Vec<bool> = (0..6).map(|_| spliced(&mut world, 1, 200)).collect();
    assert_eq!(stream, [false, false, false, true, true, true]);
    let turns: Vec<bool> =
        (0..4).map(|_| spliced(&mut world, 0, 200) | spliced(&mut world, 1, 200)).collect();
    assert_eq!(turns, [true, true, true, false]);
}

#[test]
fn a_unix_peer_that_leaves_bytes_unread_is_no_fin() {
    for written_to in [false, true] {
        let mut world = relaying(|setting| setting.families[1] = Family::Unix);
        world.writes(1, 100);
        world.resets(1);
        if written_to {
            world.writes(0, 10);
            world.hides(1);
            world.poll();
        }
        world.run();
        assert_eq!(world.saw(0), (100, false, true));
    }
}

#[test]
fn a_reset_before_any_byte_moves_on_and_replays_early_bytes() {
    let mut setting = Setting::new(vec![], vec![Step::HalfClose]);
    setting.client_first = true;
    setting.attempts = vec![Attempt::ResetUnused(MILLISECOND), Attempt::AtOnce];
    let mut world = World::new(setting);
    world.writes(0, 300);
    world.begin();
    // The handshake and the reset come in one event.
    world.links[1].borrow_mut().kernel.established();
    world.arrives(1);
    world.poll();
    assert_eq!(world.failures, [ConnectFailure::ResetUnused]);
    world.half_closes(0);
    world.run();
    assert_eq!((world.saw(1).0, world.saw(2)), (0, (300, true, false)));
    assert_eq!(world.cause(), Cause::Finished);
}

#[test]
fn a_greeting_before_the_reset_is_delivered() {
    let mut world = relaying(|setting| setting.attempts = vec![Attempt::After(SECOND)]);
    world.links[1].borrow_mut().kernel.established();
    world.writes(1, 40);
    world.resets(1);
    world.run();
    assert_eq!(world.saw(0), (40, false, true));
    assert!(world.failures.is_empty());
}

#[test]
fn a_client_that_resets_while_connecting_takes_the_upstream_along() {
    let mut world = relaying(|setting| setting.attempts = vec![Attempt::Never]);
    world.resets(0);
    world.run();
    let (at, reason) = world.ended.unwrap();
    assert_eq!((reason.cause, reason.phase), (Cause::ClientLeft, Phase::Connect));
    assert!(at < 100 * MILLISECOND);
}
