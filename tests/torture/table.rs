//! docs/torture.md, made of what was just seen.

use std::fmt::Write as _;
use std::time::Duration;

use super::case::{CASES, Case};
use super::outcome::Outcome;
use super::proxy::Kind;
use super::row::{self, Row, Verdict, When};

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
(`sh tests/torture.sh long`) does; N: played in the long run only. **Bold** is what differs from \"should be\"; a dash: not played there, since it needs
limits, probes, logs or files that each proxy has in its own way.

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

/// How long it took, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// What every commit plays on Forebay.
    pub commit: Duration,
    /// All that was played for the table.
    pub whole: Duration,
}

impl Times {
    /// What every commit may take.
    pub const COMMIT: Duration = Duration::from_secs(90);

    /// What the whole may take, however long it is.
    pub const WHOLE: Duration = Duration::from_secs(40 * 60);

    fn text(self) -> String {
        format!(
            "\nWhat every commit plays on Forebay (the cases, and C shortened) took {:.0} s, and may take {} s; all of this table took {:.1} \
             minutes, and may take {}.\n",
            self.commit.as_secs_f64(),
            Self::COMMIT.as_secs(),
            self.whole.as_secs_f64() / 60.0,
            Self::WHOLE.as_secs() / 60,
        )
    }
}

/// The whole document.
pub fn text(columns: &[Column], times: Times) -> String {
    let mut text = HEAD.to_owned();
    text.push_str(&circumstances());
    head(&mut text, columns, "case | what is played");
    for (number, case) in CASES.iter().enumerate() {
        text.push_str(&of_case(case));
        cells(&mut text, |kind| {
            let outcome = &of(columns, kind)?.cases[number];
            Some(Some((outcome.to_string(), case.should.is_met_by(outcome))))
        });
    }
    text.push_str(FOOT);
    text.push_str(ROWS);
    head(&mut text, columns, "row | what is played");
    for (number, row) in row::all().enumerate() {
        text.push_str(&of_row(row));
        cells(&mut text, |kind| Some(of(columns, kind)?.rows[number].as_ref().map(seen)));
    }
    text + &times.text()
}

/// The document, with what this row came to on these proxies.
pub fn with_row(document: &str, row: &Row, verdicts: &[(Kind, Option<Verdict>)]) -> String {
    let start = of_row(row);
    let mut new = start.clone();
    cells(&mut new, |kind| {
        let (_, verdict) = verdicts.iter().find(|(it, _)| *it == kind)?;
        Some(verdict.as_ref().map(seen))
    });
    let name = format!("| {} ", row.name);
    let same = |line: &&str| {
        line.starts_with(&format!("{name}C |")) || line.starts_with(&format!("{name}N |"))
    };
    let old =
        document.lines().find(same).unwrap_or_else(|| panic!("{} is not in the table", row.name));
    document.replace(&format!("{old}\n"), &new)
}

/// The document, which says that these rows were played alone.
pub fn played_again(document: String, names: &[&str]) -> String {
    format!("{document}\nPlayed again by themselves: {}; {}", names.join(", "), circumstances())
}

fn of(columns: &[Column], kind: Kind) -> Option<&Column> {
    columns.iter().find(|column| column.kind == kind)
}

fn seen(verdict: &Verdict) -> (String, bool) {
    (verdict.figure.clone(), verdict.met)
}

/// What stands before the cells of a case.
fn of_case(case: &Case) -> String {
    format!("| {} | {} | {} |", case.name, case.what, case.should)
}

/// What stands before the cells of a row.
fn of_row(row: &Row) -> String {
    let when = if row.when == When::Commit { "C" } else { "N" };
    format!("| {} {when} | {} | {} |", row.name, row.what, row.should)
}

/// What the document does not say of the cases and rows that are there, or says otherwise.
pub fn missing_in(document: &str) -> Vec<String> {
    let all = CASES.iter().map(of_case).chain(row::all().map(of_row));
    all.filter(|start| !document.lines().any(|line| line.starts_with(start))).collect()
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

/// A cell for each proxy: what was seen and whether it is what should be; none where it was not played.
fn cells(text: &mut String, seen: impl Fn(Kind) -> Option<Option<(String, bool)>>) {
    for kind in Kind::ALL {
        let cell = match seen(kind) {
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
