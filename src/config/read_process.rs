//! Reads `[limits]`, `[shutdown]`, `[reload]`, `[runtime]` and `[defaults]`.

use std::time::Duration;

use super::keys::{DEFAULTS, Key};
use super::notes::Notes;
use super::read_listener::read_settings as read_listener_settings;
use super::read_pool::read_settings as read_pool_settings;
use super::reader::{Item, Section};
use super::suggest::quoted;
use super::units::{self, Fault};
use super::{Limits, Reload, Runtime, Shutdown, Splice, Watch};

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let buffer = section.size("buffer").and_then(|bytes| usize::try_from(bytes).ok());
    Limits {
        max_connections: section.count("max_connections"),
        buffers: section.size("buffers"),
        buffer: buffer.unwrap_or(64 << 10),
    }
}

pub(super) fn shutdown(section: &Section<'_>) -> Shutdown {
    Shutdown {
        timeout: section.delay("timeout").unwrap_or(Duration::from_secs(30)),
        delay: section.delay("delay").unwrap_or(Duration::ZERO),
    }
}

pub(super) fn reload(section: &Section<'_>) -> Reload {
    let watch = match section.word("watch") {
        Some("poll") => Watch::Poll,
        Some("off") => Watch::Off,
        _ => Watch::Auto,
    };
    Reload { watch, interval: section.duration("interval").unwrap_or(Duration::from_secs(5)) }
}

pub(super) fn runtime(section: &Section<'_>) -> Runtime {
    let workers = section.count("workers").and_then(|count| usize::try_from(count).ok());
    Runtime {
        workers,
        pin_cpus: section.flag("pin_cpus").unwrap_or(false),
        spin: section.text("spin", spin).unwrap_or(None),
        spread: section.flag("spread").unwrap_or(true),
        splice: match section.word("splice") {
            Some("always") => Splice::Always,
            Some("never") => Splice::Never,
            _ => Splice::Auto,
        },
    }
}

/// The longest that a worker may look for more to do before it sleeps.
const SPIN_MAX: Duration = Duration::from_millis(1);

/// No timer keeps it, so it may be shorter than any other time.
fn spin(text: &str) -> Result<Option<Duration>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    let length = units::duration(text)?;
    if length > SPIN_MAX {
        let help = "at most \"1ms\"; about as long as an answer takes, such as \"50us\"";
        return Err(Fault::new(format!("{} is too long", quoted(text)), help));
    }
    Ok(Some(length).filter(|length| *length > Duration::ZERO))
}

/// Notes what is wrong in the defaults themselves, whether a table uses them or not.
pub(super) fn check_defaults(listener: Option<Item<'_>>, pool: Option<Item<'_>>, notes: &Notes) {
    let keys = |name: &str| -> &'static [Key] {
        DEFAULTS.iter().find(|key| key.name == name).map_or(&[], |key| key.kind.keys())
    };
    if listener.is_some() {
        read_listener_settings(&Section::absent(notes, keys("listener")).over(listener));
    }
    if pool.is_some() {
        read_pool_settings(&Section::absent(notes, keys("pool")).over(pool));
    }
}
