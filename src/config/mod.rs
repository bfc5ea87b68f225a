//! The file: TOML text in, checked [`Config`] out, or every problem at once.
//!
//! Opens no socket and knows no plug-in: what a plug-in decides is kept as a [`Choice`].

mod choice;
mod settings;

pub use choice::{Choice, Options, Problem};
pub use settings::*;
