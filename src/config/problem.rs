//! One thing that is wrong with a file, as data.

use std::fmt;

use super::source::Place;
use super::suggest::on_one_line;

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
    pub(super) fn rank(&self) -> (usize, Severity) {
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
        out.write_str(&on_one_line(&self.message))?;
        let lines = self.help.iter().filter(|help| !help.contains('\n'));
        lines.into_iter().try_for_each(|help| write!(out, "; {}", on_one_line(help)))
    }
}

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
}
