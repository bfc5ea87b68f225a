//! The lines that the program logs, read as JSON.

use std::net::SocketAddr;

use serde_json::Value;

/// What is logged when a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLine {
    /// The listener's name.
    pub listener: String,
    /// The client's address; `None` on a unix listener.
    pub client: Option<SocketAddr>,
    /// The backend's address, empty if it got none.
    pub backend: String,
    /// Backends tried.
    pub attempts: u64,
    /// Bytes from client to upstream.
    pub bytes_up: u64,
    /// Bytes from upstream to client.
    pub bytes_down: u64,
    /// Bytes that splice(2) moved, both ways.
    pub spliced: u64,
    /// Cause and phase.
    pub reason: String,
}

impl SessionLine {
    /// The session that this line tells of, if it tells of one.
    pub fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| value.get(name).or_else(|| value.get("fields")?.get(name));
        let text = |name: &str| match field(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let number = |name: &str| text(name).parse::<u64>().ok();
        Some(Self {
            reason: field("reason")?.as_str()?.to_owned(),
            bytes_up: number("bytes_up")?,
            bytes_down: number("bytes_down")?,
            spliced: number("spliced").unwrap_or(0),
            attempts: number("attempts").unwrap_or(0),
            listener: text("listener"),
            client: text("client").parse().ok(),
            backend: text("backend"),
        })
    }
}
