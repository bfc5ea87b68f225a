//! What must be true of every session, whatever its script (the promises of ARCHITECTURE.md).
//!
//! That what is received is a prefix of what was sent is held byte by byte in `link`.

use super::kernel::Family;
use super::link::{Link, Shared};
use super::world::World;
use super::{MILLISECOND, Micros, micros};
use crate::plugin::{Cause, EndReason, Phase};

/// Within this a reset is passed on once nothing is left to be acknowledged.
const PASSED_ON: Micros = 250 * MILLISECOND;

fn halves(world: &World) -> Vec<(&Shared, &Shared)> {
    let client = &world.links[0];
    world.upstream().map_or(Vec::new(), |up| vec![(client, up), (up, client)])
}

/// Nothing can happen before some timer fires: whoever is willing has everything.
pub(super) fn at_rest(world: &World) {
    let session = world.session.as_ref().unwrap();
    if session.phase() != Phase::Relay {
        return;
    }
    for (from, to) in halves(world) {
        let (from, to) = (from.borrow(), to.borrow());
        let reads = to.peer.reading && !to.peer.closed && to.peer.vanished.is_none();
        if !reads || to.kernel.closed && to.family() == Family::Tcp || from.reset_at.is_some() {
            continue;
        }
        let what = format!("from {} to {} at {}", from.name, to.name, world.now());
        if from.peer.vanished.is_none() {
            assert_eq!(from.peer.carried, from.peer.written, "frozen: not taken in, {what}");
        }
        assert_eq!(to.peer.received, from.peer.carried, "frozen: not passed on, {what}");
        assert_eq!(to.peer.saw_fin, from.fin_arrived, "frozen: the FIN, {what}");
    }
}

/// The session is over and the network empty.
pub(super) fn judge(world: &World) {
    let (at, reason) = world.ended.unwrap();
    let finished = reason.cause == Cause::Finished;
    for link in world.links.iter().map(|link| link.borrow()) {
        assert!(link.dropped, "a socket outlives its session");
        assert_eq!(link.linger_zero, !finished || is_left(world, &link), "{reason}");
    }
    for left in world.links.iter().map(|link| link.borrow()).filter(|link| is_left(world, link)) {
        let none = left.peer.carried == 0 && left.peer.received == 0 && left.peer.queued == 0;
        assert!(none, "left for another though bytes had moved");
    }
    for (from, to) in halves(world) {
        let (from, to) = (&*from.borrow(), &*to.borrow());
        let tcp = to.family() == Family::Tcp;
        let what = format!("from {} to {}, {reason}", from.name, to.name);
        if to.peer.saw_fin && (tcp || finished) {
            assert!(from.fin_arrived, "a FIN that nobody sent, {what}");
            assert_eq!(to.peer.received, from.peer.carried, "a FIN before the end, {what}");
        }
        match reason.cause {
            Cause::Finished => finished_well(from, to, &what),
            Cause::ClientReset if from.name == 0 => aborted(world, from, to, at),
            Cause::UpstreamReset if from.name != 0 => aborted(world, from, to, at),
            _ => {}
        }
    }
    justified(world, at, reason);
}

fn is_left(world: &World, link: &Link) -> bool {
    link.name != 0 && usize::from(link.name) + 1 < world.links.len()
}

fn finished_well(from: &Link, to: &Link, what: &str) {
    assert!(from.fin_arrived, "finished without a FIN, {what}");
    if to.peer.willing {
        assert_eq!(to.peer.received, from.peer.written, "not all was delivered, {what}");
        assert!(to.peer.saw_fin && !to.peer.saw_reset, "no clean end, {what}");
    }
}

/// `from` has aborted: `to` gets what had arrived, a FIN if there was one, and a reset.
fn aborted(world: &World, from: &Link, to: &Link, at: Micros) {
    let what = format!("from {} to {}", from.name, to.name);
    // A unix socket that is closed says EPIPE, which is all that a session can know of it.
    let gone = from.family() == Family::Unix && from.fin_arrived && from.peer.closed;
    let reset_at = from.reset_at.map(|(when, _)| when).or(gone.then_some(at));
    let reset_at = reset_at.unwrap_or_else(|| panic!("nobody aborted, {what}"));
    if !to.peer.willing || to.reset_at.is_some() {
        return;
    }
    assert_eq!(to.peer.received, from.peer.carried, "what had arrived is delivered, {what}");
    if to.family() == Family::Tcp {
        // A connection of which both directions are over cannot be reset any more.
        let over = to.fin_arrived && to.peer.saw_fin;
        assert!(to.peer.saw_reset || over, "a reset is passed on, {what}");
        // What a unix socket tells of a FIN is lost once its peer has closed with bytes unread.
        let hidden = from.family() == Family::Unix || from.error_lost;
        assert!(hidden || to.peer.saw_fin == from.fin_arrived, "a FIN before the reset, {what}");
    }
    let latest = reset_at.max(to.last_taken) + PASSED_ON + 10 * world.setting.pace;
    assert!(at <= latest, "passed on at {at}, not by {latest}, {what}");
}

/// An end by a bound in time has its reason.
fn justified(world: &World, at: Micros, reason: EndReason) {
    let timeouts = &world.setting.timeouts;
    let client = world.links[0].borrow();
    let upstream = world.upstream().map(|upstream| upstream.borrow());
    let taken = upstream.as_ref().map_or(0, |link| link.last_taken).max(client.last_taken);
    let vanished = upstream.as_ref().and_then(|link| link.peer.vanished);
    let since = |moment: Micros| at.saturating_sub(moment);
    match reason.cause {
        // It bounds the whole of an abort.
        Cause::Idle if reason.phase == Phase::Abort => {
            let began =
                world.links.iter().filter_map(|link| link.borrow().reset_at).min().unwrap().0;
            assert!(since(began) >= micros(timeouts.idle.unwrap()));
        }
        Cause::Idle => assert!(since(world.moved_at) >= micros(timeouts.idle.unwrap())),
        Cause::HalfClosed => {
            let bound = micros(timeouts.half_closed.unwrap());
            assert!(since(world.moved_at) >= bound, "half-closed for {}", since(world.moved_at));
            assert!(since(taken) >= bound / 2, "bytes were still acknowledged");
        }
        Cause::DeadPeer => {
            let gone = vanished.into_iter().chain(client.peer.vanished).min().unwrap();
            assert!(since(gone) * 10 >= micros(timeouts.dead_peer.unwrap()) * 9);
        }
        Cause::AbortTimeout => assert!(since(taken) >= micros(timeouts.abort)),
        Cause::ClientLeft => assert!(client.reset_at.is_some()),
        Cause::Lifetime => assert!(at >= micros(timeouts.lifetime.unwrap())),
        Cause::ConnectFailed | Cause::ConnectTimeout => {
            assert!(world.links[1..].iter().all(|link| is_left(world, &link.borrow())
                || link.borrow().kernel.connecting
                || link.borrow().kernel.closed));
        }
        _ => {}
    }
}
