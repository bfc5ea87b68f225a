//! Stand-ins for what `config` and `control` are to offer; nothing but `load` and `launch` uses them.

pub(super) mod config;
pub(super) mod control;
