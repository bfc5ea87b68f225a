// stands in src/model/mod.rs
//! Another project's word for a listener.

/// Where clients connect.
pub struct HttpFrontend;
