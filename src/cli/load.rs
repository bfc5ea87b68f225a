//! Where configurations come from: a file, the arguments of `proxy`, or the demo's own text.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{Choice, Choices, Config};

use super::args::ProxyArguments;
use crate::config::{self, Problem, Problems, Severity, environment};
use crate::control::Origin;
use crate::plugin::Registry;

/// A configuration and what was found on the way to it.
pub(super) struct Loaded {
    /// None exactly when there are errors.
    pub(super) config: Option<Config>,
    /// Where a reload finds it.
    pub(super) origin: Option<Origin>,
    /// What was read for it, and directories in which more may come to be.
    pub(super) read: Vec<PathBuf>,
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
    /// None when no text says it.
    pub(super) file: Option<String>,
    /// Both from 1, the column in characters; none when the file could not be read.
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    pub(super) message: String,
    /// What is allowed, or what to do.
    pub(super) help: Vec<String>,
}

/// Reads and checks a file and all that it includes.
pub(super) fn file(path: &Path, registry: &Registry) -> Loaded {
    let loaded = config::load(path, &environment);
    let origin = Origin { path: path.to_path_buf(), hash: loaded.hash };
    let read = [loaded.files, loaded.directories].concat();
    let judged = Loaded::new(loaded.config, loaded.warnings, registry.check(&loaded.choices));
    Loaded { origin: Some(origin), read, ..judged }
}

/// Checks a text that stands for a file called `name`.
pub(super) fn text(name: &str, text: &str, registry: &Registry) -> Loaded {
    let loaded = config::parse(text, name, &environment);
    Loaded::new(loaded.config, loaded.warnings, registry.check(&loaded.choices))
}

/// Checks the arguments of `proxy`.
pub(super) fn proxy(arguments: &ProxyArguments, registry: &Registry) -> Loaded {
    let config = Config::proxy(&arguments.listen, &arguments.to).map(|mut config| {
        if let Some(name) = &arguments.balance {
            config.pools.iter_mut().for_each(|pool| pool.balance = Choice::named(name));
        }
        config
    });
    let wrong = config.as_ref().map_or_else(|_| Vec::new(), |c| registry.check(&Choices::of(c)));
    Loaded::new(config, Problems::default(), wrong)
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

impl Loaded {
    /// What the file says is good only if the plug-ins that it names find nothing wrong.
    fn new(config: Result<Config, Problems>, warnings: Problems, wrong: Vec<Problem>) -> Self {
        let (config, mut findings) = match config {
            Ok(config) => (Some(config).filter(|_| wrong.is_empty()), warnings),
            Err(problems) => (None, problems),
        };
        findings.extend(wrong);
        Self { config, origin: None, read: Vec::new(), findings: Findings(findings) }
    }
}

impl Findings {
    /// How many errors.
    pub(super) fn errors(&self) -> usize {
        self.0.count(Severity::Error)
    }

    /// How many warnings.
    pub(super) fn warnings(&self) -> usize {
        self.0.count(Severity::Warning)
    }

    /// The report for a person: places, carets, help, and how many there are.
    pub(super) fn report(&self, colour: bool) -> String {
        config::render(&self.0, colour)
    }

    /// All of them.
    pub(super) fn each(&self) -> impl Iterator<Item = Finding> {
        self.0.iter().map(Finding::from)
    }
}

impl Finding {
    /// For scripts.
    pub(super) fn as_json(&self) -> Value {
        json!({
            "severity": if self.error { "error" } else { "warning" },
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "help": self.help,
        })
    }
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        let place = problem.place.as_ref();
        let position =
            place.filter(|place| place.source().was_read()).map(|place| place.position());
        Self {
            error: problem.severity == Severity::Error,
            file: place.map(|place| place.source().name().to_owned()),
            line: position.as_ref().map(|position| position.line),
            column: position.as_ref().map(|position| position.column),
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }
}
