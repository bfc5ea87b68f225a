//! docs/torture.md, made of what was just seen.

use std::fmt::Write as _;

use super::case::CASES;
use super::outcome::Outcome;
use super::proxy::Kind;
use super::row::{self, Verdict, When};

const HEAD: &str = "# What a TCP proxy owes to both sides, and who delivers it

Written by `sh tests/torture.sh`; not by hand. Each case is played over loopback through the real program with its default settings
(HAProxy with the timeouts of Debian's haproxy.cfg). `all` is every byte that had been sent or, before a reset, that the proxy's kernel
had acknowledged. **Bold** is what differs from \"should be\". Forebay's column is a test of every commit; times are of this one run.

";

const FOOT: &str = "
A FIN says: this was all. A proxy that turns a reset into a FIN lets a stream that was cut short look complete (c03, c04, c06, c07; in
c13 no backend was reached, and the client is told of an empty answer). In c07 proxies, and runs, differ in how much is taken before all is full.
nginx's `proxy_half_close`, HAProxy's `option redispatch` and Envoy's `max_connect_attempts` bear on c01, c02, c09, c12 and c14; what is
played here is their defaults.
";

const ROWS: &str = "
## The scorecard

What must hold under load and faults, with its figure. C: a test of every commit, which plays it shorter than the long run
(`sh tests/torture.sh long`) does; N: played in the long run only. **Bold** is what differs from \"should be\"; a dash: means nothing there.

";

/// What one proxy did.
pub struct Column {
    /// Which proxy.
    pub kind: Kind,
    /// Of each case.
    pub cases: Vec<Outcome>,
    /// Of each row that was played on it.
    pub rows: Vec<Option<Verdict>>,
}

/// The whole document.
pub fn text(columns: &[Column]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str(&circumstances());
    head(&mut text, columns, "case | what is played");
    for (number, case) in CASES.iter().enumerate() {
        let _ = write!(text, "| {} | {} | {} |", case.name, case.what, case.should);
        cells(&mut text, columns, |column| {
            let outcome = &column.cases[number];
            Some((outcome.to_string(), case.should.is_met_by(outcome)))
        });
    }
    text.push_str(FOOT);
    text.push_str(ROWS);
    head(&mut text, columns, "row | what is played");
    for (number, row) in row::all().enumerate() {
        let when = if row.when == When::Commit { "C" } else { "N" };
        let _ = write!(text, "| {} {when} | {} | {} |", row.name, row.what, row.should);
        cells(&mut text, columns, |column| {
            column.rows[number].as_ref().map(|it| (it.figure.clone(), it.met))
        });
    }
    text
}

fn head(text: &mut String, columns: &[Column], first: &str) {
    let _ = write!(text, "\n| {first} | should be |");
    for kind in Kind::ALL {
        let here = columns.iter().any(|column| column.kind == kind);
        let version = if here { kind.version() } else { String::new() };
        let _ = write!(text, " {} {version} |", kind.name());
    }
    text.push_str("\n|---|---|---|---|---|---|---|\n");
}

/// A cell for each proxy: what was seen and whether it is what should be.
fn cells(text: &mut String, columns: &[Column], seen: impl Fn(&Column) -> Option<(String, bool)>) {
    for kind in Kind::ALL {
        let column = columns.iter().find(|column| column.kind == kind);
        let cell = match column.map(&seen) {
            None => "not run".to_owned(),
            Some(None) => "–".to_owned(),
            Some(Some((seen, true))) => seen,
            Some(Some((seen, false))) => format!("**{seen}**"),
        };
        let _ = write!(text, " {cell} |");
    }
    text.push('\n');
}

/// When and where.
fn circumstances() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let now = jiff::Timestamp::now().to_string();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{}, Linux {}, {cores} cores; Forebay is a {build} build.\n",
        now.split('T').next().unwrap_or_default(),
        kernel.trim_end(),
    )
}
