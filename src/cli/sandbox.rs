//! `--sandbox`: the process renounces every file but those that it needs, by landlock(7).
//!
//! What it may still do, itself and all its threads: read the directories of its files, and what
//! resolving names and counting processors takes; make and remove files next to those that it was told
//! to write, and sockets next to its own. It starts no program, and signals no other process.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};

use super::args::ReadyArgument;
use crate::config::{Config, ListenAddress};

/// Whose rights are renounced. An older kernel knows fewer of them, and enforces those.
const KNOWN: ABI = ABI::V5;

/// What the libraries below read at any time: how names resolve, what the machine is.
const SYSTEM: [&str; 9] =
    ["/etc", "/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/run", "/var/run"];

/// Enters it. `read` is what the file was read from.
pub(super) fn enter(config: &Config, read: &[PathBuf], told: &ReadyArgument) -> Result<(), String> {
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let writing = AccessFs::from_write(KNOWN) | reading;
    let sources = read.iter().flat_map(|path| places(path));
    let system = SYSTEM.iter().map(PathBuf::from);
    let files = [&told.ready_file, &told.status_file].into_iter().flatten();
    let targets = files.chain(sockets(config)).filter_map(|path| directory(path));
    let entered = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|rules| rules.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(sources.chain(system), reading)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(targets, writing)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    match entered.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("this kernel has no Landlock, or it is off".to_owned()),
    }
}

/// The directory that a file is named in and the one that it really is in; a directory itself.
fn places(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return vec![path.to_owned()];
    }
    let real = path.canonicalize().ok();
    [directory(path), real.as_deref().and_then(directory)].into_iter().flatten().collect()
}

fn directory(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// Listening sockets with a path.
fn sockets(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let addresses = config.listeners.iter().flat_map(|listener| &listener.addresses);
    addresses.filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path),
        ListenAddress::Tcp(_) => None,
    })
}
