// stands in src/model/limit.rs
/// A file that does not say what it is.
pub struct Limit;
