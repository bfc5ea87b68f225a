//! Where backends come from besides the file: host names, asked for on the control thread.
//!
//! A provider only answers; control asks, keeps the last good answer and takes a new one into use. No
//! session is touched from here.

mod dns;
mod exchange;
mod options;
mod system;

use crate::balance::NoOptions;
use crate::plugin::Registry;

use options::from_options;

/// Adds the providers that Forebay brings along.
pub fn register(registry: &mut Registry) {
    registry
        .provider("system", |options| {
            options.read::<NoOptions>()?;
            Ok(system::System)
        })
        .provider("dns", from_options);
}
