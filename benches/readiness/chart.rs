//! The medians as a picture: time over idle connections, both axes logarithmic.

use std::fmt::Write;

use crate::methods::Method;
use crate::picture::{self, Axis, COLOURS, dot, key, label, line};
use crate::report::Row;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
/// Around the axes: what stands left, right, above and below.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

#[allow(clippy::cast_precision_loss, reason = "a count of connections is small")]
pub(crate) fn svg(rows: &[Row]) -> String {
    let across = Axis::over(rows.iter().map(|row| row.idle as f64), LEFT, WIDTH - RIGHT);
    let up = Axis::over(rows.iter().map(Row::median), HEIGHT - BOTTOM, TOP);
    let mut text = picture::begin(WIDTH, HEIGHT);
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    label(&mut text, (middle, 24.0), "middle", "An iteration with 10 active connections");
    label(&mut text, (middle, HEIGHT - 16.0), "middle", "idle connections");
    label(&mut text, (8.0, TOP - 16.0), "start", "µs");
    for value in across.powers() {
        let x = across.place(value);
        line(&mut text, (x, TOP), (x, HEIGHT - BOTTOM));
        label(&mut text, (x, HEIGHT - BOTTOM + 20.0), "middle", &value.to_string());
    }
    for value in up.powers() {
        let y = up.place(value);
        line(&mut text, (LEFT, y), (WIDTH - RIGHT, y));
        label(&mut text, (LEFT - 8.0, y + 4.0), "end", &value.to_string());
    }
    for (at, (method, colour)) in Method::ALL.into_iter().zip(COLOURS).enumerate() {
        let own = rows.iter().filter(|row| row.method == method);
        let points: Vec<(f64, f64)> =
            own.map(|row| (across.place(row.idle as f64), up.place(row.median()))).collect();
        let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let joined = joined.join(" ");
        let _ = writeln!(
            text,
            "<polyline points=\"{joined}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        points.into_iter().for_each(|point| dot(&mut text, point, 3.0, colour));
        // Lines lie on each other, so names stand beside the picture, in the order of the table.
        let place = (WIDTH - RIGHT + 12.0, TOP + 20.0 * (at as f64 + 1.0));
        key(&mut text, place, colour, method.name());
    }
    text + "</svg>\n"
}
