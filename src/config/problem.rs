//! What is wrong with a file: every problem at once, as data.

use std::fmt;

use super::source::Place;

/// Problems kept of one load; a broken file of 16 MiB could have millions.
pub const PROBLEMS_KEPT: usize = 200;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used; something in it does not do what it seems to.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Another place that belongs to a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What is there: "first defined here".
    pub label: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where; none for what no text says (a choice made by code).
    pub place: Option<Place>,
    /// What is wrong, with the value: lower case, no full stop.
    pub message: String,
    /// A few words that stand beside the caret.
    pub label: Option<String>,
    /// What is allowed, or what to do.
    pub help: Vec<String>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

impl Problem {
    /// An error at `place`.
    pub fn error(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: place.into(),
            message: message.into(),
            label: None,
            help: Vec::new(),
            related: Vec::new(),
        }
    }

    /// A warning at `place`.
    pub fn warning(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Adds what is allowed, or what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Sets the words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place that belongs to it.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { place, label: label.into() });
        self
    }

    /// Order in a report: by file as read, then by place, errors first.
    fn rank(&self) -> (usize, Severity) {
        (self.place.as_ref().map_or(0, |place| place.span().start), self.severity)
    }
}

/// `file:line:column: message`, on one line.
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(out, "{place}: ")?;
        }
        if self.severity == Severity::Warning {
            out.write_str("warning: ")?;
        }
        out.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(out, "; {help}"))
    }
}

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
        let same = |old: &Problem| old.place == problem.place && old.message == problem.message;
        if problem.place.is_some() && self.list.iter().any(same) {
            return;
        }
        if self.list.len() < PROBLEMS_KEPT {
            self.list.push(problem);
        } else {
            self.omitted += 1;
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
    use super::super::source::Source;
    use super::*;

    #[test]
    fn one_line_names_file_line_and_column() {
        let source = Source::new("a.toml", "x\nyy = 1\n");
        let problem = Problem::error(Place::new(&source, 2..4), "no yy").help("write y");
        assert_eq!(problem.to_string(), "a.toml:2:1: no yy; write y");
        let unread = Place::new(&Source::unread("b.toml"), 0..0);
        assert_eq!(Problem::error(unread, "gone").to_string(), "b.toml: gone");
        assert_eq!(Problem::warning(None, "odd").to_string(), "warning: odd");
    }

    #[test]
    fn only_so_many_are_kept_and_none_twice() {
        let source = Source::new("a", "x".repeat(1000));
        let mut problems = Problems::new();
        for at in (0..500).chain(0..10) {
            problems.push(Problem::error(Place::new(&source, at..at), "bad"));
        }
        assert_eq!((problems.len(), problems.omitted()), (PROBLEMS_KEPT, 300));
        assert_eq!(problems.summary(), "200 errors, 300 more not shown");
    }
}
