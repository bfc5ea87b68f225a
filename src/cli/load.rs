//! Where configurations come from: a file, the arguments of `proxy`, or the demo's own text.

use std::path::Path;

use crate::config::Config;

use super::args::ProxyArguments;
use super::standin::config::{self, Problems};

/// A configuration and what was found on the way to it.
pub(super) struct Loaded {
    /// None exactly when there are errors.
    pub(super) config: Option<Config>,
    /// Errors and warnings.
    pub(super) findings: Findings,
}

/// Errors and warnings of one configuration, in the order of the text.
pub(super) struct Findings(Problems);

/// One of them, in plain words.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// True exactly when it keeps the configuration from being used.
    pub(super) error: bool,
    pub(super) file: String,
    /// From 1; 0 when it is about the whole file.
    pub(super) line: usize,
    /// From 1, in characters; 0 when it is about the whole file.
    pub(super) column: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Reads and checks a file and all that it includes.
pub(super) fn file(path: &Path) -> Loaded {
    config::load(path).into()
}

/// Checks a text that stands for a file called `name`.
pub(super) fn text(name: &str, text: &str) -> Loaded {
    config::parse(name, text).into()
}

/// Checks the arguments of `proxy`.
pub(super) fn proxy(arguments: &ProxyArguments) -> Loaded {
    config::proxy(&arguments.listen, &arguments.to, arguments.balance.as_deref()).into()
}

/// What is in effect, as a file that would give it again.
pub(super) fn dump(config: &Config) -> String {
    config::dump(config)
}

/// The JSON schema of the file.
#[cfg(feature = "schema")]
pub(super) fn schema() -> String {
    config::schema()
}

impl From<config::Loaded> for Loaded {
    fn from(loaded: config::Loaded) -> Self {
        Self { config: loaded.config, findings: Findings(loaded.problems) }
    }
}

impl Findings {
    /// How many errors and how many warnings.
    pub(super) fn count(&self) -> (usize, usize) {
        let all = self.each();
        let errors = all.iter().filter(|finding| finding.error).count();
        (errors, all.len() - errors)
    }

    /// The report for a person: places, carets, help.
    pub(super) fn report(&self, colour: bool) -> String {
        config::render(&self.0, colour)
    }

    /// All of them.
    pub(super) fn each(&self) -> Vec<Finding> {
        let plain = |problem: &config::Problem| Finding {
            error: problem.error,
            file: problem.file.clone(),
            line: problem.line,
            column: problem.column,
            message: problem.message.clone(),
            help: problem.help.clone(),
        };
        self.0.iter().map(plain).collect()
    }
}
