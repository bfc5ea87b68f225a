//! Byte formats as pure parsers and encoders: no I/O, and nothing that is read is trusted.
//!
//! What is not complete yet is no fault: it is read again once more has come. Whoever calls bounds how
//! much that may be.

pub mod dns;
pub mod http;
pub mod postgres;
pub mod resp;

/// What was read cannot be the beginning of anything in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;
