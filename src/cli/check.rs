//! `check`: a verdict on a file, and what it would change of another, without opening a socket.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::{Change, Config, Plan};

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
    if let Some(old) = &arguments.against {
        let verdict = Verdict { path: &path, good, loaded: &loaded };
        return against(&verdict, old, &load::file(old, registry), arguments.json);
    }
    let answered = if arguments.json {
        output::answer(&as_json(&path, good, &loaded.findings).to_string())
    } else {
        tell(&path, good, &loaded, arguments.dump)
    };
    exit(answered, good)
}

fn exit(answered: io::Result<()>, good: bool) -> Exit {
    match Exit::from_answer(answered) {
        Exit::Success if !good => Exit::Configuration,
        exit => exit,
    }
}

/// What a file was found to be.
struct Verdict<'a> {
    path: &'a Path,
    good: bool,
    loaded: &'a Loaded,
}

/// Tells what the file would change where `old` runs now.
fn against(new: &Verdict<'_>, old_path: &Path, old: &Loaded, json: bool) -> Exit {
    let plan = match (&old.config, &new.loaded.config) {
        (Some(old), Some(new)) => Some(Plan::between(old, new)),
        _ => None,
    };
    let good = new.good && plan.is_some();
    let answered = match json {
        true => output::answer(&plan_as_json(new, old_path, old, plan.as_ref())),
        false => tell_plan(new, old, plan.as_ref()),
    };
    exit(answered, good)
}

/// Findings to stderr, the plan to stdout. Of the old file only errors are news.
fn tell_plan(new: &Verdict<'_>, old: &Loaded, plan: Option<&Plan>) -> io::Result<()> {
    if old.findings.errors() > 0 {
        output::message(&old.findings.report(output::colour_on_stderr()));
    }
    if !new.good {
        return tell(new.path, false, new.loaded, false);
    }
    if new.loaded.findings.warnings() > 0 {
        output::message(&new.loaded.findings.report(output::colour_on_stderr()));
    }
    match plan {
        Some(plan) if plan.is_empty() => output::answer("no change"),
        Some(plan) => output::answer(&plan.lines(None).join("\n")),
        None => Ok(()),
    }
}

fn plan_as_json(new: &Verdict<'_>, old_path: &Path, old: &Loaded, plan: Option<&Plan>) -> String {
    let mut report = as_json(new.path, new.good && plan.is_some(), &new.loaded.findings);
    let change = |change: &Change| {
        let (subject, text) = (change.subject.to_string(), change.text(None));
        json!({ "subject": subject, "change": text })
    };
    let changes = plan.map_or(&[][..], Plan::changes);
    let changes: Vec<_> = changes.iter().map(change).collect();
    let errors = old.findings.each().filter(|finding| finding.error);
    if let Some(problems) = report["problems"].as_array_mut() {
        problems.extend(errors.map(|finding| finding.as_json()));
    }
    report["against"] = old_path.to_string_lossy().into();
    report["changes"] = changes.into();
    report.to_string()
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

fn as_json(path: &Path, good: bool, findings: &Findings) -> Value {
    let problems: Vec<_> = findings.each().map(|finding| finding.as_json()).collect();
    json!({ "file": path.to_string_lossy(), "ok": good, "problems": problems })
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
