//! `run` and `proxy`: a configuration put to work until a signal ends it.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

use super::args::{LogArguments, LogFormat, ProxyArguments, ReadyArgument, RunArguments};
use super::exit::Exit;
use super::launch::{self, Launch, OnReady};
use super::load::{self, Findings, Loaded};
use super::log::{Filter, Log};
use super::{output, ready};
use crate::plugin::Registry;

/// `forebay run`
pub(super) fn file(arguments: &RunArguments, log: &LogArguments, registry: Registry) -> Exit {
    let path = arguments.file.path();
    logged(log, || {
        let Loaded { config, findings } = load::file(&path, &registry);
        tell(&findings, log.log_format);
        let Some(config) = config else { return Exit::Configuration };
        serve(Launch { config, registry, ready: None, observer: None }, &arguments.ready)
    })
}

/// `forebay proxy`
pub(super) fn proxy(arguments: &ProxyArguments, log: &LogArguments, registry: Registry) -> Exit {
    logged(log, || {
        let Loaded { config, findings } = load::proxy(arguments, &registry);
        tell(&findings, log.log_format);
        // There is no file: what is wrong is wrong in the arguments.
        let Some(config) = config else { return Exit::Usage };
        serve(Launch { config, registry, ready: None, observer: None }, &arguments.ready)
    })
}

/// Runs with the log on; what was logged is written before this returns, within a bound.
fn logged(arguments: &LogArguments, work: impl FnOnce() -> Exit) -> Exit {
    match Log::start(arguments, Filter::level(LevelFilter::INFO)) {
        Ok(_log) => work(),
        Err(error) => {
            output::error(&format!("cannot start the log: {error}"));
            Exit::Failure
        }
    }
}

fn serve(mut launch: Launch, ready: &ReadyArgument) -> Exit {
    if let Some(path) = &ready.ready_file {
        if let Err(error) = ready::forget(path) {
            tracing::error!("cannot replace {}: {error}", path.display());
            return Exit::Failure;
        }
        launch.ready = Some(writes(path.clone()));
    }
    match launch::run(launch) {
        Ok(()) => Exit::Success,
        Err(causes) => {
            causes.lines().for_each(|cause| tracing::error!("{cause}"));
            Exit::Failure
        }
    }
}

fn writes(path: PathBuf) -> OnReady {
    Box::new(move |bound| {
        ready::write(&path, bound).map_err(|error| {
            std::io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })
    })
}

/// A report for people, or a log line each for machines.
fn tell(findings: &Findings, format: LogFormat) {
    if findings.errors() + findings.warnings() == 0 {
        return;
    }
    match format {
        LogFormat::Text => output::message(&findings.report(output::colour_on_stderr())),
        LogFormat::Json => {
            for finding in findings.each() {
                let (file, line, column) = (finding.file, finding.line, finding.column);
                let help = finding.help.join("; ");
                let help = (!help.is_empty()).then_some(help);
                if finding.error {
                    tracing::error!(file, line, column, help, "{}", finding.message);
                } else {
                    tracing::warn!(file, line, column, help, "{}", finding.message);
                }
            }
        }
    }
}
