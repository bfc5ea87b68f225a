//! All problems of one load.

use std::fmt;

use super::problem::{Problem, Severity};

/// Problems kept of one load; a broken file of 16 MiB could have millions.
pub const PROBLEMS_KEPT: usize = 200;

/// Problems of one load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, unless the same was said of the same place before: what stands in `[defaults]` is
    /// read again for every table that it is a default of.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() >= PROBLEMS_KEPT {
            self.omitted += 1;
            return;
        }
        let same = |old: &Problem| old.place == problem.place && old.message == problem.message;
        if problem.place.is_none() || !self.list.iter().any(same) {
            self.list.push(problem);
        }
    }

    /// All, in the order of the files and of the places in them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// True exactly when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// How many more there were than [`PROBLEMS_KEPT`].
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// True exactly when one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many of one severity are kept.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Sorts by file, in the order of `names`, then by place.
    pub(super) fn sort(&mut self, names: &[&str]) {
        let file = |problem: &Problem| {
            let name = problem.place.as_ref().map(|place| place.source().name());
            name.and_then(|name| names.iter().position(|known| *known == name))
        };
        self.list.sort_by_key(|problem| (file(problem).unwrap_or(usize::MAX), problem.rank()));
    }

    /// "2 errors, 1 warning"; empty when nothing is wrong.
    pub fn summary(&self) -> String {
        let count = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        };
        let errors = count(self.count(Severity::Error), "error");
        let warnings = count(self.count(Severity::Warning), "warning");
        let more = (self.omitted > 0).then(|| format!("{} more not shown", self.omitted));
        [errors, warnings, more].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut all = Self::new();
        all.extend(problems);
        all
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        match self.omitted {
            0 => Ok(()),
            more => writeln!(out, "{more} more problems are not shown"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::super::source::{Place, Source};
    use super::*;

    #[test]
    fn only_so_many_are_kept_and_none_twice() {
        let source = Source::new("a", "x".repeat(1000));
        let mut problems = Problems::new();
        for at in (0..500).chain(490..500) {
            problems.push(Problem::error(Place::new(&source, at..at), "bad"));
        }
        assert_eq!((problems.len(), problems.omitted()), (PROBLEMS_KEPT, 310));
        assert_eq!(problems.summary(), "200 errors, 310 more not shown");
    }
}
