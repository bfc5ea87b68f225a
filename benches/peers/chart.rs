//! The medians as a picture: for each kind of work, where the peers are if Forebay is 1.

use crate::measure::Row;
use crate::picture::{self, Axis, COLOURS, dot, key, label, line};
use crate::summary::Section;

const WIDTH: f64 = 860.0;
/// Left of the axis stand the kinds of work, right of it the names.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 170.0;
/// Above the first kind of work, and below the last.
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
/// From one kind of work, or name, to the next.
const STEP: f64 = 22.0;

/// The axis's ends; what is beyond stands at the end.
const LEAST: f64 = 0.1;
const MOST: f64 = 10.0;

/// A dot: a kind of work by its line, a peer by its place, and its figure ÷ Forebay's.
type Dot = (f64, usize, f64);

#[allow(clippy::cast_precision_loss, reason = "a handful of lines")]
pub(crate) fn svg(rows: &[Row]) -> String {
    let sections = Section::all(rows);
    let height = |section: &Section<'_>| {
        let lines = section.work().len().max(section.proxies().len());
        TOP + STEP * lines as f64 + BOTTOM
    };
    let mut text = picture::begin(WIDTH, sections.iter().map(height).sum());
    let mut top = 0.0;
    for section in &sections {
        panel(&mut text, section, top + TOP);
        top += height(section);
    }
    text + "</svg>\n"
}

#[allow(clippy::cast_precision_loss, reason = "a handful of lines")]
fn panel(text: &mut String, section: &Section<'_>, top: f64) {
    let work = section.work();
    let peers: Vec<&str> =
        section.proxies().into_iter().filter(|name| *name != "forebay").collect();
    let mut dots: Vec<Dot> = Vec::new();
    for (at, (work, _)) in work.iter().enumerate() {
        let own = section.figure(work, "forebay");
        let ratios = peers.iter().map(|name| section.figure(work, name) / own).enumerate();
        let real = ratios.filter(|(_, ratio)| ratio.is_finite() && *ratio > 0.0);
        dots.extend(real.map(|(peer, ratio)| (top + STEP * (at as f64 + 0.5), peer, ratio)));
    }
    let across = Axis::over([LEAST, MOST].into_iter(), LEFT, WIDTH - RIGHT);
    let bottom = top + STEP * work.len() as f64;
    let title = format!(
        "The peers' figures ÷ Forebay's (over {MOST}: at {MOST}); workers of each: {}",
        section.workers
    );
    label(text, (f64::midpoint(LEFT, WIDTH - RIGHT), top - 20.0), "middle", &title);
    for value in across.powers().chain([0.2, 0.5, 2.0, 5.0]) {
        let x = across.place(value);
        line(text, (x, top), (x, bottom));
        label(text, (x, bottom + 20.0), "middle", &value.to_string());
    }
    for (at, (work, _)) in work.iter().enumerate() {
        let y = top + STEP * (at as f64 + 0.5);
        line(text, (LEFT, y), (WIDTH - RIGHT, y));
        label(text, (LEFT - 8.0, y + 4.0), "end", work);
    }
    for (y, peer, ratio) in dots {
        dot(text, (across.place(ratio.clamp(LEAST, MOST)), y), 4.0, COLOURS[peer % COLOURS.len()]);
    }
    for (at, name) in peers.iter().enumerate() {
        let place = (WIDTH - RIGHT + 12.0, top + STEP * (at as f64 + 0.5) + 4.0);
        key(text, place, COLOURS[at % COLOURS.len()], name);
    }
}
