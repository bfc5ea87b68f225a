//! What the charts of the benches are drawn with: SVG text, axes of powers of ten.

use std::fmt::Write;

/// Colours that people with any kind of sight tell apart (Okabe and Ito).
pub(crate) const COLOURS: [&str; 8] =
    ["#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#000000"];

/// One axis: where a value lies between two powers of ten.
pub(crate) struct Axis {
    from: i32,
    to: i32,
    begin: f64,
    end: f64,
}

impl Axis {
    #[allow(clippy::cast_possible_truncation, reason = "a logarithm is small")]
    pub(crate) fn over(values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let logarithms: Vec<f64> = values.map(f64::log10).filter(|it| it.is_finite()).collect();
        let least = logarithms.iter().copied().fold(f64::MAX, f64::min);
        let most = logarithms.iter().copied().fold(f64::MIN, f64::max);
        let from = least.floor() as i32;
        Self { from, to: (most.ceil() as i32).max(from + 1), begin, end }
    }

    pub(crate) fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        self.begin + part * (self.end - self.begin)
    }

    pub(crate) fn powers(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }
}

/// What an empty white picture begins with; `</svg>` ends it.
pub(crate) fn begin(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    )
}

pub(crate) fn label(text: &mut String, (x, y): (f64, f64), anchor: &str, what: &str) {
    let _ =
        writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}

pub(crate) fn line(text: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        text,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ccc\"/>"
    );
}

pub(crate) fn dot(text: &mut String, (x, y): (f64, f64), radius: f64, colour: &str) {
    let _ =
        writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
}

/// A colour and what it stands for.
pub(crate) fn key(text: &mut String, (x, y): (f64, f64), colour: &str, what: &str) {
    let top = y - 9.0;
    let _ = writeln!(
        text,
        "<rect x=\"{x}\" y=\"{top}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"
    );
    label(text, (x + 16.0, y), "start", what);
}
