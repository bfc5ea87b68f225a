// stands in src/net/utils.rs
//! A place for what has no place.
