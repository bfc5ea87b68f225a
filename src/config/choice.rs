//! A choice among kinds: a name and the options that only that kind understands.

/// Options of a plug-in, kept with their place in the file until the plug-in reads them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {}

/// A kind chosen by name: `"round_robin"` or `{ source_hash = { seed = 7 } }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The name under which the kind is registered.
    pub name: String,
    /// What stands in the table of that name; empty for the short form.
    pub options: Options,
}

/// stub
#[derive(Debug)]
pub struct Problem;
