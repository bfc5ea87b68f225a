//! Changes of what the whole process shares.

use super::super::{Limits, Reload, Runtime, Shutdown};
use super::found::{Found, cap_note};
use super::show;
use super::{Change, Subject};

pub(super) fn limits(old: &Limits, new: &Limits, changes: &mut Vec<Change>) {
    let Limits { max_connections, buffers, buffer } = old;
    let mut found = Found::of(Subject::Process("limits"), changes);
    let caps = (max_connections, &new.max_connections);
    let note = cap_note(*max_connections, new.max_connections);
    found.field_noted("max_connections", caps, show::or_auto, note);
    found.field("buffers", (buffers, &new.buffers), show::size_or_auto);
    let bytes = |size: &usize| show::size(&u64::try_from(*size).unwrap_or(u64::MAX));
    found.field("buffer", (buffer, &new.buffer), bytes);
}

pub(super) fn shutdown(old: &Shutdown, new: &Shutdown, changes: &mut Vec<Change>) {
    let Shutdown { timeout, delay } = old;
    let mut found = Found::of(Subject::Process("shutdown"), changes);
    found.field("timeout", (timeout, &new.timeout), show::length);
    found.field("delay", (delay, &new.delay), show::length);
}

pub(super) fn reload(old: &Reload, new: &Reload, changes: &mut Vec<Change>) {
    let Reload { watch, interval } = old;
    let mut found = Found::of(Subject::Process("reload"), changes);
    found.field("watch", (watch, &new.watch), show::plain);
    found.field("interval", (interval, &new.interval), show::length);
}

pub(super) fn runtime(old: &Runtime, new: &Runtime, changes: &mut Vec<Change>) {
    let Runtime { workers, pin_cpus, spin, spread, splice } = old;
    let mut found = Found::of(Subject::Process("runtime"), changes);
    found.field("workers", (workers, &new.workers), show::or_auto);
    found.field("pin_cpus", (pin_cpus, &new.pin_cpus), show::plain);
    found.field("spin", (spin, &new.spin), show::length_or_off);
    found.field("spread", (spread, &new.spread), show::plain);
    found.field("splice", (splice, &new.splice), show::plain);
}
