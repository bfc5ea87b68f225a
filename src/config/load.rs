//! From a path or a text to a configuration, or to everything that is wrong with it.

use std::path::{Path, PathBuf};

use super::Config;
use super::check::check;
use super::choice::Choices;
use super::document::Document;
use super::include::{self, Files};
use super::node::Value;
use super::notes::Notes;
use super::problem::{Problem, Severity};
use super::problems::Problems;
use super::raw::RawConfig;
use super::source::{Place, Source};
use super::variables::Variables;

/// What came of loading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, or all problems: errors and warnings.
    pub config: Result<Config, Problems>,
    /// What is odd about a configuration that is good.
    pub warnings: Problems,
    /// What plug-ins have to judge, also of a configuration that is not good.
    pub choices: Choices,
    /// Every file that was read or should have been, the first one first.
    pub files: Vec<PathBuf>,
    /// Every directory in which a new or changed file would matter.
    pub directories: Vec<PathBuf>,
    /// Over the names and contents of all files: equal when a reload would change nothing.
    pub hash: u128,
}

/// Loads a file and the files that it includes.
///
/// `variables` looks up environment variables; [`environment`] is the process's own.
pub fn load(path: &Path, variables: Variables<'_>) -> Loaded {
    let notes = Notes::default();
    let mut files = Files::new(variables, &notes);
    files.read(path, None, include::depth());
    let config = read(&files.documents, &notes);
    let choices = Choices::of(&config);
    let hash = files.hash();
    let Files { paths: files, directories, .. } = files;
    let (config, warnings) = judge(config, notes, &files);
    Loaded { config, warnings, choices, files, directories, hash }
}

/// Reads a text, which cannot include files. Messages call it `name`.
pub fn parse(text: &str, name: &str, variables: Variables<'_>) -> Loaded {
    let notes = Notes::default();
    let document = Document::read(&Source::new(name, text), variables, &notes);
    include::refuse(&document, &notes);
    let config = read(&[document], &notes);
    let choices = Choices::of(&config);
    let (config, warnings) = judge(config, notes, &[PathBuf::from(name)]);
    let (files, directories) = (Vec::new(), Vec::new());
    Loaded { config, warnings, choices, files, directories, hash: 0 }
}

/// Looks up a variable in the environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(documents: &[Document], notes: &Notes) -> Config {
    let raw = RawConfig::read(documents, notes);
    // A listener of which something is wrong is no missing listener.
    let empty = |document: &Document| match document.table.find("listener") {
        Some(entry) => matches!(&entry.node.value, Value::Table(table) if table.0.is_empty()),
        None => true,
    };
    if let Some(first) = documents.first().filter(|_| documents.iter().all(empty)) {
        notes.add_absence(nothing_to_do(first));
    }
    check(raw, notes)
}

/// The smallest useful file.
const SMALLEST: &str = "the smallest useful file:

[listener.web]
address = \"0.0.0.0:8080\"
pool = \"app\"

[pool.app]
backends = [\"10.0.0.11:9000\", \"10.0.0.12:9000\"]";

fn nothing_to_do(document: &Document) -> Problem {
    let empty = document.table.0.is_empty();
    let message = if empty { "the file is empty" } else { "the file has no listener" };
    Problem::error(Place::new(&document.source, 0..0), message).help(SMALLEST)
}

/// The configuration if nothing is an error.
pub(super) fn judge(
    config: Config,
    notes: Notes,
    files: &[PathBuf],
) -> (Result<Config, Problems>, Problems) {
    let mut problems = notes.into_problems();
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    problems.sort(&names.iter().map(String::as_str).collect::<Vec<_>>());
    match problems.has_errors() {
        true => (Err(problems), Problems::new()),
        false => {
            debug_assert!(problems.iter().all(|problem| problem.severity == Severity::Warning));
            (Ok(config), problems)
        }
    }
}
