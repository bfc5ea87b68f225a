//! The status file: what came of the start and of each reload, for scripts.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::load::Finding;
use super::replace::replace;
use crate::control::{OnReload, Outcome, Report};

/// Writes each report to `path`, which holds the last one at every moment.
pub(super) fn writes(path: PathBuf) -> OnReload {
    Box::new(move |report| write(&path, report))
}

fn write(path: &Path, report: &Report) {
    let text = format!("{}\n", as_json(report, Timestamp::now()));
    if let Err(error) = replace(path, &text) {
        tracing::error!("cannot write {}: {error}", path.display());
    }
}

fn as_json(report: &Report, now: Timestamp) -> Value {
    let (outcome, changes, problems) = match &report.outcome {
        Outcome::Started => ("started", [].as_slice(), Vec::new()),
        Outcome::Applied(changes) => ("applied", changes.as_slice(), Vec::new()),
        Outcome::Unchanged => ("unchanged", [].as_slice(), Vec::new()),
        Outcome::Refused(problems) => {
            let problems = problems.iter().map(|problem| Finding::from(problem).as_json());
            ("refused", [].as_slice(), problems.collect())
        }
    };
    let listening = report
        .listening
        .iter()
        .map(|bound| json!({ "listener": &*bound.listener, "address": bound.address.to_string() }));
    json!({
        "generation": report.generation,
        "time": now.to_string(),
        "outcome": outcome,
        "changes": changes,
        "problems": problems,
        "listening": listening.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;

    #[test]
    fn a_refusal_says_what_is_wrong_and_what_still_runs() {
        let outcome = Outcome::Refused(vec![Problem::error(None, "no").help("say yes")]);
        let report = Report { generation: 7, outcome, listening: Vec::new() };
        let status = as_json(&report, Timestamp::UNIX_EPOCH);
        assert_eq!(status["generation"], 7);
        assert_eq!(status["time"], "1970-01-01T00:00:00Z");
        assert_eq!(status["outcome"], "refused");
        assert_eq!(status["problems"][0]["message"], "no");
        assert_eq!(status["problems"][0]["help"][0], "say yes");
    }
}
