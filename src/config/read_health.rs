//! Reads `probe`, `eject`, `queue` and `when_down` of a pool.

use std::time::Duration;

use super::address;
use super::problem::Problem;
use super::read_choice::choice;
use super::reader::Section;
use super::{Choice, Eject, ProbeSettings, Queue, Rate, WhenDown};

/// What is measured if nothing else is asked for.
const KIND: &str = "tcp";

pub(super) fn probe(section: &Section<'_>) -> Option<ProbeSettings> {
    let table = section.switch("probe", false)?;
    let interval = table.duration("interval").unwrap_or(Duration::from_secs(2));
    Some(ProbeSettings {
        kind: choice(&table, "kind").unwrap_or_else(|| Choice::named(KIND)),
        interval,
        fast_interval: table.duration("fast_interval").unwrap_or(interval / 4),
        timeout: table.duration("timeout").unwrap_or(Duration::from_secs(1)),
        rise: table.count("rise").unwrap_or(2),
        fall: table.count("fall").unwrap_or(3),
        port: table.count("port").and_then(|port| u16::try_from(port).ok()),
        address: table.text("address", address::ip),
    })
}

pub(super) fn eject(section: &Section<'_>) -> Option<Eject> {
    let table = section.switch("eject", true)?;
    let time = table.duration("time").unwrap_or(Duration::from_secs(10));
    let max_time = table.duration("max_time");
    if let Some(item) = table.find("max_time").filter(|_| max_time.is_some_and(|it| it < time)) {
        let message = "`max_time` has no effect: it is under `time`";
        table.notes().add(Problem::warning(item.place(), message));
    }
    Some(Eject {
        failures: table.count("failures").unwrap_or(5),
        time,
        max_time: max_time.unwrap_or(Duration::from_secs(300).max(time)),
        max_ejected: table.text("max_ejected", super::units::percent).unwrap_or(50),
    })
}

pub(super) fn queue(section: &Section<'_>) -> Option<Queue> {
    let table = section.switch("queue", false)?;
    Some(Queue {
        max: table.count("max").unwrap_or(1000),
        timeout: table.duration("timeout").unwrap_or(Duration::from_secs(5)),
    })
}

pub(super) fn when_down(section: &Section<'_>) -> Option<WhenDown> {
    let table = section.switch("when_down", false)?;
    let thousand = Rate { count: 1000, per: Duration::from_secs(1) };
    Some(WhenDown {
        hold: table.duration("hold").unwrap_or(Duration::from_secs(10)),
        max: table.count("max").unwrap_or(5000),
        release_rate: table.text("release_rate", super::units::rate).unwrap_or(thousand),
    })
}
