//! The arguments: what the program understands, and nothing about how it is done.

mod meaning;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 good, 1 failure, 2 wrong usage, 78 invalid configuration";

/// A TCP (layer 4) proxy and load balancer: one binary, one TOML file.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, after_help = EXIT_CODES)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
    /// Check the file and exit, as `forebay check`
    #[arg(short = 't')]
    test: bool,
    /// Check the file and print what is in effect, as `forebay check --dump`
    #[arg(short = 'T')]
    test_dump: bool,
    #[command(flatten)]
    log: LogArguments,
}

/// What to do. Without any of these words, `run`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Run what the file describes (this is also done without the word `run`)
    Run(RunArguments),
    /// Check the file, tell everything that is wrong with it, and open no socket
    Check(CheckArguments),
    /// Run without a file: listen here, connect there
    Proxy(ProxyArguments),
    /// Three small backends and Forebay in front of them, to play with
    Demo(DemoArguments),
}

/// Where the file is.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct FileArgument {
    /// The file [env: FOREBAY_CONFIG] [default: /etc/forebay/forebay.toml]
    #[arg(short, long, value_name = "FILE", short_alias = 'f')]
    config: Option<PathBuf>,
}

/// `run`
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct RunArguments {
    #[command(flatten)]
    pub(in crate::cli) file: FileArgument,
    #[command(flatten)]
    pub(in crate::cli) ready: ReadyArgument,
    /// Renounce all files but those that it needs (Linux Landlock; see SECURITY.md)
    #[arg(long)]
    pub(in crate::cli) sandbox: bool,
}

/// Who waits for the listeners, and for reloads.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct ReadyArgument {
    /// When listening, write `LISTENER ADDRESS` lines with the real addresses to this file
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) ready_file: Option<PathBuf>,
    /// Write what came of the start and of each reload to this file, as one JSON object
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) status_file: Option<PathBuf>,
}

/// `check`
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct CheckArguments {
    #[command(flatten)]
    pub(in crate::cli) file: FileArgument,
    /// Print the configuration in effect, with every default filled in
    #[arg(long)]
    pub(in crate::cli) dump: bool,
    /// Let warnings fail the check
    #[arg(long)]
    pub(in crate::cli) strict: bool,
    /// Print the findings as JSON on standard output
    #[arg(long, conflicts_with = "dump")]
    pub(in crate::cli) json: bool,
    /// Print what a reload would change where OLD runs now
    #[arg(long, value_name = "OLD", conflicts_with = "dump")]
    pub(in crate::cli) against: Option<PathBuf>,
    /// Print the JSON schema of the file, and check nothing
    #[cfg(feature = "schema")]
    #[arg(long, conflicts_with_all = ["dump", "json", "strict", "config", "against"])]
    pub(in crate::cli) schema: bool,
}

/// `proxy`
#[derive(Debug, Args)]
pub(in crate::cli) struct ProxyArguments {
    /// Where clients connect: 127.0.0.1:8080, 0.0.0.0:8000-8009 or unix:/run/web.sock
    #[arg(long, value_name = "ADDR", required = true, num_args = 1..)]
    pub(in crate::cli) listen: Vec<String>,
    /// Where connections go: 10.0.0.11:9000, app.internal:9000 or unix:/run/app.sock
    #[arg(long, value_name = "ADDR", required = true, num_args = 1..)]
    pub(in crate::cli) to: Vec<String>,
    /// How one of several destinations is picked: round_robin, least_connections, …
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) balance: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) ready: ReadyArgument,
}

/// `demo`
#[derive(Debug, Args)]
pub(in crate::cli) struct DemoArguments {
    /// Make own requests, stop a backend meanwhile, tell how it went, and end
    #[arg(long)]
    pub(in crate::cli) drive: bool,
    /// End after so long, for instance 5s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) bound: Option<Duration>,
}

/// What is logged, and how; to stderr.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct LogArguments {
    /// How log lines look: text (with colours on a terminal) or json
    #[arg(long, global = true, value_name = "FORMAT", env = "FOREBAY_LOG_FORMAT")]
    #[arg(default_value = "text", value_parser = format, hide_env_values = true)]
    pub(in crate::cli) log_format: LogFormat,
    /// What is logged: a level (off, error, warn, info, debug, trace), TARGET=LEVEL, or several
    /// with commas between [default: info]
    #[arg(long = "log", global = true, value_name = "LEVEL", env = "FOREBAY_LOG")]
    #[arg(value_parser = crate::cli::log::Filter::parse, hide_env_values = true)]
    pub(in crate::cli) log_filter: Option<crate::cli::log::Filter>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum LogFormat {
    /// For people; with colours on a terminal
    Text,
    /// One JSON object per line
    Json,
}

/// Empty counts as not said, as it does for every variable of the environment.
fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "" | "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".into()),
    }
}

/// "5s", "1m 30s", "200ms"; over zero.
fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is no length of time, such as 5s or 1m"))?;
    match Duration::try_from(signed) {
        Ok(length) if !length.is_zero() => Ok(length),
        _ => Err(format!("`{text}` is not over zero")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_over_zero() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert!(duration("0s").is_err() && duration("-5s").is_err() && duration("soon").is_err());
    }
}
