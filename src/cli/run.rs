//! `run` and `proxy`: a configuration put to work until a signal ends it.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

use super::args::{LogArguments, LogFormat, ProxyArguments, ReadyArgument, RunArguments};
use super::exit::Exit;
use super::load::{self, Findings, Loaded};
use super::log::{Filter, Log};
use super::{output, ready, sandbox, status};
use crate::config::Config;
use crate::control::{self, OnReady, Origin, Start};
use crate::net::renounce_new_privileges;
use crate::plugin::Registry;

/// `forebay run`
pub(super) fn file(arguments: &RunArguments, log: &LogArguments, registry: Registry) -> Exit {
    // Before there is a thread: a sandbox is of the thread that enters it, and of those to come.
    let loaded = load::file(&arguments.file.path(), &registry);
    if arguments.sandbox
        && let Some(config) = &loaded.config
        && let Err(why) = sandbox::enter(config, &loaded.read, &arguments.ready)
    {
        output::error(&format!("cannot enter the sandbox that --sandbox asks for: {why}"));
        return Exit::Failure;
    }
    logged(log, || {
        let Loaded { config, origin, findings, .. } = loaded;
        tell(&findings, log.log_format);
        let Some(config) = config else { return Exit::Configuration };
        serve(config, origin, registry, &arguments.ready)
    })
}

/// `forebay proxy`
pub(super) fn proxy(arguments: &ProxyArguments, log: &LogArguments, registry: Registry) -> Exit {
    logged(log, || {
        let Loaded { config, origin, findings, .. } = load::proxy(arguments, &registry);
        tell(&findings, log.log_format);
        // There is no file: what is wrong is wrong in the arguments.
        let Some(config) = config else { return Exit::Usage };
        serve(config, origin, registry, &arguments.ready)
    })
}

/// Runs with the log on; what was logged is written before this returns, within a bound.
fn logged(arguments: &LogArguments, work: impl FnOnce() -> Exit) -> Exit {
    // While this is the only thread: those to come inherit it.
    let renounced = renounce_new_privileges();
    match Log::start(arguments, Filter::level(LevelFilter::INFO)) {
        Ok(_log) => {
            if let Err(error) = renounced {
                tracing::warn!(%error, "cannot renounce new privileges");
            }
            work()
        }
        Err(error) => {
            output::error(&format!("cannot start the log: {error}"));
            Exit::Failure
        }
    }
}

fn serve(config: Config, origin: Option<Origin>, registry: Registry, who: &ReadyArgument) -> Exit {
    for path in [&who.ready_file, &who.status_file].into_iter().flatten() {
        if let Err(error) = ready::forget(path) {
            tracing::error!("cannot replace {}: {error}", path.display());
            return Exit::Failure;
        }
    }
    let ready = who.ready_file.clone().map(writes);
    let reloaded = who.status_file.clone().map(status::writes);
    match control::run(Start { config, origin, registry, ready, reloaded }) {
        Ok(()) => Exit::Success,
        Err(failure) => {
            failure.to_string().lines().for_each(|cause| tracing::error!("{cause}"));
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
