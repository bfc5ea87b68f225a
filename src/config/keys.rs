//! Every key of the file: one table per section.
//!
//! The reader, "did you mean", the JSON schema and the test of conf/reference.toml all read these
//! tables, so a key that is not here does not exist.

mod table;

pub use table::{BACKEND, DEFAULTS, LISTENER, POOL, ROOT};

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What it takes, and its bounds.
    pub kind: Kind,
    /// What holds without it, as the file would say it; empty if there is nothing to say.
    pub default: &'static str,
    /// What it means, in one line.
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Count {
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// `false` for none, `true` for the default, or a whole number within bounds.
    FlagOrCount {
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// A duration over zero.
    Duration,
    /// A duration; zero is one too.
    Delay,
    /// A duration; zero and `"off"` are none.
    Timeout,
    /// A size in bytes within bounds.
    Size {
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// So many per so long.
    Rate,
    /// `"0%"` to `"100%"`.
    Percent,
    /// Permission bits in octal.
    Mode,
    /// A name of the kernel's, at most 15 letters.
    KernelName,
    /// The name of a pool.
    PoolName,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An address to listen on, or several.
    ListenAddresses,
    /// Where a backend is.
    BackendAddress,
    /// An IP address of this host.
    SourceAddress,
    /// Networks.
    Networks,
    /// Backends: addresses or tables.
    Backends,
    /// A kind by name, with its options.
    Choice,
    /// Kinds by name, with their options.
    Choices,
    /// One of these kinds by name, with its options.
    OneKind(&'static [Key]),
    /// Paths of further files.
    Paths,
    /// A table of these keys.
    Table(&'static [Key]),
    /// `false` for none, `true` for the defaults, or a table of these keys.
    FlagOrTable(&'static [Key]),
    /// Tables named by the user, each of these keys.
    Named(&'static [Key]),
}

impl Kind {
    /// What is allowed, for a message: "a duration such as "5s"".
    pub fn expected(&self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::FlagOrCount { min, max } => {
                format!("true, false or a whole number from {min} to {max}")
            }
            Self::Duration | Self::Delay => "a duration such as \"5s\" or \"1h 30m\"".to_owned(),
            Self::Timeout => "a duration such as \"5s\" or \"1h 30m\", or \"off\"".to_owned(),
            Self::Size { .. } => "a size such as \"64KiB\"".to_owned(),
            Self::Rate => "a rate such as \"100/s\" or \"5/10s\"".to_owned(),
            Self::Percent => "a percentage such as \"10%\"".to_owned(),
            Self::Mode => "permission bits in octal such as \"0660\"".to_owned(),
            Self::KernelName => "a name of at most 15 letters".to_owned(),
            Self::PoolName => "the name of a pool".to_owned(),
            Self::OneOf(words) => super::suggest::listed(words.iter().copied()),
            Self::ListenAddresses => "an address such as \"0.0.0.0:8080\", or a list".to_owned(),
            Self::BackendAddress => "an address such as \"10.0.0.5:9000\"".to_owned(),
            Self::SourceAddress => "an IP address such as \"10.0.0.1\"".to_owned(),
            Self::Networks => "a list of networks such as [\"10.0.0.0/8\"]".to_owned(),
            Self::Backends => "a list of addresses such as [\"10.0.0.5:9000\"]".to_owned(),
            Self::Choice => "a name, or { name = { options } }".to_owned(),
            Self::Choices => "a list of names, or of { name = { options } }".to_owned(),
            Self::OneKind(kinds) => {
                let names = super::suggest::listed(kinds.iter().map(|kind| kind.name));
                format!("{names}, or {{ name = {{ options }} }}")
            }
            Self::Paths => "a list of paths such as [\"conf.d/*.toml\"]".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::FlagOrTable(_) => "true, false or a table".to_owned(),
            Self::Named(_) => "tables, each with a name".to_owned(),
        }
    }

    /// The keys below this one.
    pub fn keys(&self) -> &'static [Key] {
        match self {
            Self::Table(keys)
            | Self::FlagOrTable(keys)
            | Self::OneKind(keys)
            | Self::Named(keys) => keys,
            Self::Backends => BACKEND,
            _ => &[],
        }
    }
}

/// Every key with its path: `listener.NAME.per_source.rate`.
pub fn every_key() -> Vec<(String, &'static Key)> {
    let mut all = Vec::new();
    gather("", ROOT, &mut all);
    all
}

fn gather(path: &str, keys: &'static [Key], all: &mut Vec<(String, &'static Key)>) {
    for key in keys {
        let path = format!("{path}{}", key.name);
        all.push((path.clone(), key));
        let named = if matches!(key.kind, Kind::Named(_)) { "NAME." } else { "" };
        gather(&format!("{path}.{named}"), key.kind.keys(), all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_documented() {
        let all = every_key();
        let mut paths: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
        assert!(paths.contains(&"pool.NAME.timeout.idle"));
        assert!(paths.contains(&"defaults.listener.per_source.ipv6_prefix"));
        assert!(paths.len() > 60, "{}", paths.len());
        paths.sort_unstable();
        assert!(paths.windows(2).all(|pair| pair[0] != pair[1]));
        for (path, key) in &all {
            assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{path}");
        }
    }
}
