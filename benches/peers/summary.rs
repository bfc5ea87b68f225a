//! The rounds of one proxy at one kind of work, in one figure each.

use crate::measure::Row;
use crate::subject::TUNED;
use crate::workload::Unit;

/// The rounds, and those of them without errors, which alone count.
pub(crate) struct Summary<'a> {
    good: Vec<&'a Row>,
    all: Vec<&'a Row>,
    /// What the same work takes without a proxy, where that is taken off.
    base: f64,
}

/// One number of workers: all rows of it.
pub(crate) struct Section<'a> {
    pub(crate) workers: usize,
    rows: Vec<&'a Row>,
}

impl<'a> Section<'a> {
    pub(crate) fn all(rows: &'a [Row]) -> Vec<Self> {
        let section = |workers| Self {
            workers,
            rows: rows.iter().filter(|row| row.workers == workers).collect(),
        };
        distinct(rows.iter().map(|row| row.workers)).into_iter().map(section).collect()
    }

    /// Each kind of work, with its unit.
    pub(crate) fn work(&self) -> Vec<(&'static str, Unit)> {
        distinct(self.rows.iter().map(|row| (row.work, row.unit)))
    }

    /// Everything that was measured.
    pub(crate) fn subjects(&self) -> Vec<&'static str> {
        distinct(self.rows.iter().map(|row| row.subject))
    }

    /// All but the load without a proxy.
    pub(crate) fn proxies(&self) -> Vec<&'static str> {
        self.subjects().into_iter().filter(|name| *name != "direct").collect()
    }

    pub(crate) fn of(&self, work: &str, subject: &str) -> Option<Summary<'a>> {
        let of = |subject: &str| -> Vec<&'a Row> {
            let own = self.rows.iter().filter(|row| row.work == work && row.subject == subject);
            own.copied().collect()
        };
        let counting = |rows: &[&'a Row]| -> Vec<&'a Row> {
            rows.iter().copied().filter(|row| row.counts()).collect()
        };
        let all = of(subject);
        let base = match all.first()?.unit {
            Unit::Added => median(counting(&of("direct")).into_iter().map(Row::figure)),
            Unit::Gigabyte
            | Unit::MillionTrips
            | Unit::ThousandConnections
            | Unit::Latency
            | Unit::Session
            | Unit::Reader => 0.0,
        };
        Some(Summary { good: counting(&all), all, base })
    }

    /// What proxies are compared by; not a number where nothing counts.
    pub(crate) fn figure(&self, work: &str, subject: &str) -> f64 {
        self.of(work, subject).map_or(f64::NAN, |summary| summary.figure())
    }

    /// The best of the peers that somebody set up who knows them.
    pub(crate) fn best(&self, work: &str) -> Option<(&'static str, f64)> {
        let all = TUNED.iter().map(|name| (*name, self.figure(work, name)));
        all.filter(|(_, figure)| !figure.is_nan()).min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

impl<'a> Summary<'a> {
    pub(crate) fn figure(&self) -> f64 {
        self.median(Row::figure) - self.base
    }

    pub(crate) fn median(&self, of: impl Fn(&Row) -> f64) -> f64 {
        median(self.good.iter().map(|row| of(row)))
    }

    /// Largest less smallest, in hundredths of the median.
    pub(crate) fn spread(&self) -> f64 {
        let figures = || self.good.iter().map(|row| row.figure());
        let (least, most) =
            (figures().fold(f64::MAX, f64::min), figures().fold(f64::MIN, f64::max));
        (most - least) / self.median(Row::figure) * 100.0
    }

    pub(crate) fn errors(&self) -> u64 {
        self.all.iter().map(|row| row.errors).sum()
    }

    /// CPUs that others kept busy meanwhile.
    pub(crate) fn others(&self) -> f64 {
        self.median(|row| row.others / row.seconds)
    }

    /// The first round, for what all have alike.
    pub(crate) fn first(&self) -> Option<&'a Row> {
        self.all.first().copied()
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => figures[count / 2],
        count => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
    }
}

/// In the order in which they first came.
fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}
