//! `check`: a verdict on a file, without opening a socket.

use std::io;
use std::path::Path;

use serde_json::json;

use crate::config::Config;

use super::args::CheckArguments;
use super::exit::Exit;
use super::load::{self, Findings, Loaded};
use super::output;
use crate::plugin::Registry;

/// `forebay check`
pub(super) fn run(arguments: &CheckArguments, registry: &Registry) -> Exit {
    #[cfg(feature = "schema")]
    if arguments.schema {
        return Exit::from_answer(output::answer(&load::schema()));
    }
    let path = arguments.file.path();
    let loaded = load::file(&path, registry);
    let (errors, warnings) = (loaded.findings.errors(), loaded.findings.warnings());
    let good = errors == 0 && !(arguments.strict && warnings > 0);
    let answered = if arguments.json {
        output::answer(&as_json(&path, good, &loaded.findings))
    } else {
        tell(&path, good, &loaded, arguments.dump)
    };
    match Exit::from_answer(answered) {
        Exit::Success if !good => Exit::Configuration,
        exit => exit,
    }
}

/// Findings to stderr, the verdict or the dump to stdout.
fn tell(path: &Path, good: bool, loaded: &Loaded, dump: bool) -> io::Result<()> {
    let findings = &loaded.findings;
    if findings.errors() + findings.warnings() > 0 {
        output::message(&findings.report(output::colour_on_stderr()));
    }
    match &loaded.config {
        Some(config) if good && dump => output::answer(&load::dump(config)),
        Some(config) if good => output::answer(&verdict(path, config, findings)),
        Some(_) => {
            output::error(&format!("{}: warnings, and --strict is on", path.display()));
            Ok(())
        }
        // The report has said it all.
        None => Ok(()),
    }
}

fn verdict(path: &Path, config: &Config, findings: &Findings) -> String {
    let backends = config.pools.iter().map(|pool| pool.backends.len()).sum();
    let warned = match findings.warnings() {
        0 => String::new(),
        warnings => format!(", {}", counted(warnings, "warning")),
    };
    format!(
        "{}: ok ({}, {}, {}{warned})",
        path.display(),
        counted(config.listeners.len(), "listener"),
        counted(config.pools.len(), "pool"),
        counted(backends, "backend"),
    )
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn as_json(path: &Path, good: bool, findings: &Findings) -> String {
    let problems: Vec<_> = findings
        .each()
        .map(|finding| {
            json!({
                "severity": if finding.error { "error" } else { "warning" },
                "file": finding.file,
                "line": finding.line,
                "column": finding.column,
                "message": finding.message,
                "help": finding.help,
            })
        })
        .collect();
    json!({ "file": path.to_string_lossy(), "ok": good, "problems": problems }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_counted_in_english() {
        assert_eq!(counted(0, "pool"), "0 pools");
        assert_eq!(counted(1, "pool"), "1 pool");
        assert_eq!(counted(2, "pool"), "2 pools");
    }
}
