//! The file: TOML text in, checked [`Config`] out, or every problem at once.
//!
//! Opens no socket and knows no plug-in: what a plug-in decides is kept as a [`Choice`].
//! The way of a text: `include` (files) → `document` (syntax, variables) → `raw` and the `read_*`
//! modules (one table each, by the keys in `keys`) → `check` (one value against another) → `settings`.
//! Two configurations make a [`Plan`]: what a reload changes, in words.

mod choice;
mod settings;
mod words;

mod load;

mod document;
mod include;
mod nesting;
mod node;
mod source;
mod syntax;
mod variables;

mod address;
mod check;
pub mod keys;
mod raw;
mod read_backends;
mod read_choice;
mod read_health;
mod read_listener;
mod read_pool;
mod read_process;
mod reader;
mod units;

mod notes;
mod problem;
mod problems;
#[cfg(feature = "cli")]
mod report;
mod suggest;

mod dump;
mod plan;
mod proxy;
#[cfg(feature = "schema")]
mod schema;

pub use address::ADDRESSES_PER_LISTENER;
pub use choice::{Choice, Choices, Options};
pub use dump::dump;
pub use include::FILE_BYTES;
pub use load::{Loaded, environment, load, parse};
pub use plan::{Change, Plan, Sessions, Subject, Touches};
pub use problem::{Problem, Related, Severity};
pub use problems::{PROBLEMS_KEPT, Problems};
#[cfg(feature = "cli")]
pub use report::render;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use settings::*;
pub use source::{Place, Position, Source};
pub(crate) use units::parse_network;
pub use variables::Variables;
