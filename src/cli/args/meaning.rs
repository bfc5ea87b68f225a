//! What the arguments mean together: one command, with the options that belong to it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

/// Where the file is if nobody says otherwise.
const DEFAULT_FILE: &str = "/etc/forebay/forebay.toml";

impl Arguments {
    /// The command that the arguments mean. Options before a command's name belong to the command
    /// if it knows them, and are wrong usage if it does not.
    pub(in crate::cli) fn into_command(self) -> Result<(Command, LogArguments), clap::Error> {
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
                run.ready.or(self.run.ready);
                Command::Run(run)
            }
            Some(Command::Check(mut check)) if self.run.ready.is_none() => {
                check.file.or(self.run.file);
                Command::Check(check)
            }
            Some(Command::Proxy(mut proxy)) if self.run.file.config.is_none() => {
                proxy.ready.or(self.run.ready);
                Command::Proxy(proxy)
            }
            Some(command @ Command::Demo(_)) if self.run.is_empty() => command,
            Some(Command::Check(_)) => {
                return Err(misplaced("--ready-file or --status-file", "`check`"));
            }
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
        self.ready_file.is_none() && self.status_file.is_none()
    }

    fn or(&mut self, earlier: Self) {
        self.ready_file = self.ready_file.take().or(earlier.ready_file);
        self.status_file = self.status_file.take().or(earlier.status_file);
    }
}

impl FileArgument {
    /// The path: the option, else the environment, else the default.
    pub(in crate::cli) fn path(&self) -> PathBuf {
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

#[cfg(test)]
mod tests {
    use clap::Parser;

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
}
