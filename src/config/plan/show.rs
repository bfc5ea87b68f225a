//! Values as a plan shows them: without quotes, and in few words.

use std::fmt::Display;
use std::time::Duration;

use super::super::units::{show_duration, show_rate, show_size};
use super::super::{
    Choice, Eject, Keepalive, OnRemove, PerSource, ProbeSettings, Queue, Rate, WhenDown, dump,
};

/// Of more than this many, the rest is counted.
const SHOWN: usize = 5;

pub(super) fn plain<T: Display>(value: &T) -> String {
    value.to_string()
}

pub(super) fn or_none<T: Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(none, T::to_string)
}

/// For what the machine decides when nobody says it.
pub(super) fn or_auto<T: Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "auto".to_owned(), T::to_string)
}

pub(super) fn length(value: &Duration) -> String {
    show_duration(*value)
}

pub(super) fn length_or_off(value: &Option<Duration>) -> String {
    value.map_or_else(off, show_duration)
}

pub(super) fn size(bytes: &u64) -> String {
    show_size(*bytes)
}

pub(super) fn size_or_auto(bytes: &Option<u64>) -> String {
    bytes.map_or_else(|| "auto".to_owned(), show_size)
}

pub(super) fn rate(value: &Option<Rate>) -> String {
    value.map_or_else(none, show_rate)
}

pub(super) fn percent(value: &u8) -> String {
    format!("{value}%")
}

pub(super) fn mode(value: &Option<u32>) -> String {
    value.map_or_else(|| "by the umask".to_owned(), |mode| format!("{mode:04o}"))
}

pub(super) fn count_or_off(value: &Option<u32>) -> String {
    value.map_or_else(off, |count| count.to_string())
}

pub(super) fn per_source(value: &Option<PerSource>) -> String {
    value.as_ref().map_or_else(none, dump::per_source)
}

pub(super) fn keepalive(value: &Option<Keepalive>) -> String {
    value.map_or_else(off, |_| dump::keepalive(*value))
}

pub(super) fn choice(value: &Choice) -> String {
    match value.options.is_empty() {
        true => value.name.clone(),
        false => format!("{} {}", value.name, dump::inline(value.options.table())),
    }
}

pub(super) fn choices(all: &[Choice]) -> String {
    match all.is_empty() {
        true => none(),
        false => all.iter().map(choice).collect::<Vec<_>>().join(", "),
    }
}

pub(super) fn on_remove(value: &OnRemove) -> String {
    match value {
        OnRemove::Drain { timeout } => format!("drain {}", show_duration(*timeout)),
        OnRemove::Keep => "keep".to_owned(),
        OnRemove::Close => "close".to_owned(),
    }
}

pub(super) fn probe(value: &Option<ProbeSettings>) -> String {
    value.as_ref().map_or_else(off, dump::probe)
}

pub(super) fn eject(value: &Option<Eject>) -> String {
    value.as_ref().map_or_else(off, dump::eject)
}

pub(super) fn queue(value: &Option<Queue>) -> String {
    value.as_ref().map_or_else(off, dump::queue)
}

pub(super) fn when_down(value: &Option<WhenDown>) -> String {
    value.as_ref().map_or_else(off, dump::when_down)
}

/// The first of them, and how many more there are.
pub(super) fn few(all: &[impl Display]) -> String {
    let shown = if all.len() > SHOWN + 1 { SHOWN } else { all.len() };
    let mut text = all.iter().take(shown).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if shown < all.len() {
        text.push_str(&format!(" and {} more", all.len() - shown));
    }
    text
}

/// `backend 10.0.0.1:80`, or `backends` and some of them.
pub(super) fn named(what: &str, plural: &str, all: &[impl Display]) -> String {
    let what = if all.len() == 1 { what } else { plural };
    format!("{what} {}", few(all))
}

fn none() -> String {
    "none".to_owned()
}

fn off() -> String {
    "off".to_owned()
}
