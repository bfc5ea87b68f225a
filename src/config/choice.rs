//! A choice among kinds: a name and the options that only that kind understands.

/// Stand-in: what is wrong, without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
}

/// Options of a plug-in, kept with their place in the file until the plug-in reads them.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Stand-in: the table as text.
    pub text: String,
}

impl Options {
    /// Stand-in: reads them into the plug-in's own type.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        toml::from_str(&self.text)
            .map_err(|error| vec![Problem { message: error.message().to_owned() }])
    }
}

impl Choice {
    /// Stand-in: a problem at the name.
    pub fn problem(&self, message: String) -> Problem {
        Problem { message }
    }
}

/// A kind chosen by name: `"round_robin"` or `{ source_hash = { seed = 7 } }`.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The name under which the kind is registered.
    pub name: String,
    /// What stands in the table of that name; empty for the short form.
    pub options: Options,
}
