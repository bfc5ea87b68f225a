//! The arguments: what the program understands, and nothing about how it is done.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Where the file is if nobody says otherwise.
const DEFAULT_FILE: &str = "/etc/forebay/forebay.toml";

const EXIT_CODES: &str = "Exit codes: 0 good, 1 failure, 2 wrong usage, 78 invalid configuration";

/// A TCP (layer 4) proxy and load balancer: one binary, one TOML file.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, after_help = EXIT_CODES)]
pub(super) struct Arguments {
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
pub(super) enum Command {
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
pub(super) struct FileArgument {
    /// The file [env: FOREBAY_CONFIG] [default: /etc/forebay/forebay.toml]
    #[arg(short, long, value_name = "FILE", short_alias = 'f')]
    config: Option<PathBuf>,
}

/// `run`
#[derive(Debug, Default, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) file: FileArgument,
    #[command(flatten)]
    pub(super) ready: ReadyArgument,
}

/// Who waits for the listeners.
#[derive(Debug, Default, Args)]
pub(super) struct ReadyArgument {
    /// When listening, write `LISTENER ADDRESS` lines with the real addresses to this file
    #[arg(long, value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,
}

/// `check`
#[derive(Debug, Default, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) file: FileArgument,
    /// Print the configuration in effect, with every default filled in
    #[arg(long)]
    pub(super) dump: bool,
    /// Let warnings fail the check
    #[arg(long)]
    pub(super) strict: bool,
    /// Print the findings as JSON on standard output
    #[arg(long, conflicts_with = "dump")]
    pub(super) json: bool,
    /// Print the JSON schema of the file, and check nothing
    #[cfg(feature = "schema")]
    #[arg(long, conflicts_with_all = ["dump", "json", "strict", "config"])]
    pub(super) schema: bool,
}

/// `proxy`
#[derive(Debug, Args)]
pub(super) struct ProxyArguments {
    /// Where clients connect: 127.0.0.1:8080, [::]:8080 or unix:/run/web.sock
    #[arg(long, value_name = "ADDR", required = true, num_args = 1..)]
    pub(super) listen: Vec<String>,
    /// Where connections go: 10.0.0.11:9000, app.internal:9000 or unix:/run/app.sock
    #[arg(long, value_name = "ADDR", required = true, num_args = 1..)]
    pub(super) to: Vec<String>,
    /// How one of several destinations is picked: round_robin, least_connections, …
    #[arg(long, value_name = "NAME")]
    pub(super) balance: Option<String>,
    #[command(flatten)]
    pub(super) ready: ReadyArgument,
}

/// `demo`
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Make own requests, stop a backend meanwhile, tell how it went, and end
    #[arg(long)]
    pub(super) drive: bool,
    /// End after so long, for instance 5s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(super) bound: Option<Duration>,
}

/// What is logged, and how; to stderr.
#[derive(Debug, Clone, Args)]
pub(super) struct LogArguments {
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", env = "FOREBAY_LOG_FORMAT")]
    #[arg(default_value = "text", hide_env_values = true)]
    pub(super) log_format: LogFormat,
    /// What is logged: a level (off, error, warn, info, debug, trace), TARGET=LEVEL, or several
    /// with commas between [default: info]
    #[arg(long = "log", global = true, value_name = "LEVEL", env = "FOREBAY_LOG")]
    #[arg(value_parser = super::log::Filter::parse, hide_env_values = true)]
    pub(super) log_filter: Option<super::log::Filter>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people; with colours on a terminal
    Text,
    /// One JSON object per line
    Json,
}

impl Arguments {
    /// The command that the arguments mean. Options before a command's name belong to the command
    /// if it knows them, and are wrong usage if it does not.
    pub(super) fn into_command(self) -> Result<(Command, LogArguments), clap::Error> {
        let check = self.test || self.test_dump;
        let command = match self.command {
            None if check => Command::Check(CheckArguments {
                file: self.run.file,
                dump: self.test_dump,
                ..CheckArguments::default()
            }),
            None => Command::Run(self.run),
            Some(_) if check => return Err(misplaced("-t", "a command")),
            Some(Command::Run(mut run)) => {
                run.file.or(self.run.file);
                run.ready.ready_file = run.ready.ready_file.or(self.run.ready.ready_file);
                Command::Run(run)
            }
            Some(Command::Check(mut check)) if self.run.ready.is_none() => {
                check.file.or(self.run.file);
                Command::Check(check)
            }
            Some(Command::Proxy(mut proxy)) if self.run.file.config.is_none() => {
                proxy.ready.ready_file = proxy.ready.ready_file.or(self.run.ready.ready_file);
                Command::Proxy(proxy)
            }
            Some(command @ Command::Demo(_)) if self.run.is_empty() => command,
            Some(Command::Check(_)) => return Err(misplaced("--ready-file", "`check`")),
            Some(Command::Proxy(_)) => return Err(misplaced("--config", "`proxy`")),
            Some(Command::Demo(_)) => return Err(misplaced("--config", "`demo`")),
        };
        Ok((command, self.log))
    }
}

impl RunArguments {
    fn is_empty(&self) -> bool {
        self.file.config.is_none() && self.ready.is_none()
    }
}

impl ReadyArgument {
    fn is_none(&self) -> bool {
        self.ready_file.is_none()
    }
}

impl FileArgument {
    /// The path: the option, else the environment, else the default.
    pub(super) fn path(&self) -> PathBuf {
        choose(self.config.clone(), std::env::var_os("FOREBAY_CONFIG"))
    }

    fn or(&mut self, earlier: Self) {
        self.config = self.config.take().or(earlier.config);
    }
}

/// A variable that is set to nothing counts as not set.
fn choose(option: Option<PathBuf>, variable: Option<OsString>) -> PathBuf {
    option
        .or_else(|| variable.filter(|value| !value.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
}

fn misplaced(option: &str, with: &str) -> clap::Error {
    let message = format!("the argument '{option}' cannot be used with {with}");
    Arguments::command().error(ErrorKind::ArgumentConflict, message)
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

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        Arguments::try_parse_from(line.split(' '))
            .and_then(Arguments::into_command)
            .map(|(command, _)| command)
            .map_err(|error| error.kind())
    }

    #[test]
    fn definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_command() {
        let Ok(Command::Run(run)) = parse("forebay -c a.toml") else { panic!("no run") };
        assert_eq!(run.file.path(), PathBuf::from("a.toml"));
        let Ok(Command::Run(run)) = parse("forebay -c a.toml run") else { panic!("no run") };
        assert_eq!(run.file.path(), PathBuf::from("a.toml"));
    }

    #[test]
    fn option_of_the_command_beats_the_one_before_it() {
        let Ok(Command::Check(check)) = parse("forebay -c a.toml check -c b.toml") else {
            panic!("no check")
        };
        assert_eq!(check.file.path(), PathBuf::from("b.toml"));
    }

    #[test]
    fn test_flag_means_check() {
        assert!(matches!(parse("forebay -t -c a.toml"), Ok(Command::Check(c)) if !c.dump));
        assert!(matches!(parse("forebay -T -c a.toml"), Ok(Command::Check(c)) if c.dump));
        assert_eq!(parse("forebay -t run").err(), Some(ErrorKind::ArgumentConflict));
    }

    #[test]
    fn demo_and_proxy_take_no_file() {
        assert_eq!(parse("forebay -c a.toml demo").err(), Some(ErrorKind::ArgumentConflict));
        let proxy = "forebay -c a.toml proxy --listen 127.0.0.1:0 --to 127.0.0.1:1";
        assert_eq!(parse(proxy).err(), Some(ErrorKind::ArgumentConflict));
    }

    #[test]
    fn path_comes_from_option_then_environment_then_default() {
        let variable = || Some(OsString::from("env.toml"));
        assert_eq!(choose(Some("opt.toml".into()), variable()), PathBuf::from("opt.toml"));
        assert_eq!(choose(None, variable()), PathBuf::from("env.toml"));
        assert_eq!(choose(None, Some(OsString::new())), PathBuf::from(DEFAULT_FILE));
        assert_eq!(choose(None, None), PathBuf::from(DEFAULT_FILE));
    }

    #[test]
    fn durations_are_over_zero() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert!(duration("0s").is_err() && duration("-5s").is_err() && duration("soon").is_err());
    }
}
