//! Reloads of the program under test: saves a file, asks for a reload, and waits for what came of it.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use super::{Forebay, SOON, obtain};

/// What the status file said.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    text: String,
    value: Value,
}

impl Status {
    /// Which snapshot is in use.
    pub fn generation(&self) -> u64 {
        self.value["generation"].as_u64().unwrap()
    }

    /// "started", "applied", "unchanged" or "refused".
    pub fn outcome(&self) -> &str {
        self.value["outcome"].as_str().unwrap()
    }

    /// What has changed, one line each.
    pub fn changes(&self) -> Vec<&str> {
        self.value["changes"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
    }

    /// What was wrong.
    pub fn problems(&self) -> &[Value] {
        self.value["problems"].as_array().unwrap()
    }

    /// Where a listener listens, its first address if there are several.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        let all = self.value["listening"].as_array().unwrap();
        let found = all.iter().find(|bound| bound["listener"] == listener)?;
        found["address"].as_str()?.parse().ok()
    }

    /// Panics unless the file is in use.
    #[track_caller]
    pub fn expect_applied(self) -> Self {
        assert_eq!(self.outcome(), "applied", "{self:?}");
        self
    }

    /// Panics unless the file was refused with a message that holds `part`.
    #[track_caller]
    pub fn expect_refused(self, part: &str) -> Self {
        assert_eq!(self.outcome(), "refused", "{self:?}");
        let said = self.problems().iter().any(|it| it["message"].as_str().unwrap().contains(part));
        assert!(said, "{self:?}");
        self
    }
}

impl Forebay {
    /// What came of the last start or reload.
    pub fn status(&self) -> Status {
        obtain(SOON, || self.status_unless(""))
    }

    /// What the status file says, unless that is `known`: it is read often, and not parsed as often.
    fn status_unless(&self, known: &str) -> Option<Status> {
        let text = std::fs::read_to_string(self.directory().join("status")).ok()?;
        let value = (text != known).then(|| serde_json::from_str(&text).ok()).flatten()?;
        Some(Status { text, value })
    }

    /// Saves the file as an editor does: whole, by a rename.
    pub fn save(&self, config: &str) {
        let beside = self.directory().join(".forebay.toml.new");
        std::fs::write(&beside, config).unwrap();
        std::fs::rename(&beside, self.config()).unwrap();
    }

    /// Waits for what came of the reload after `before`.
    #[track_caller]
    pub fn status_after(&self, before: &Status) -> Status {
        obtain(SOON, || self.status_unless(&before.text))
    }

    /// Saves the file, asks for a reload, and waits for what came of it.
    #[track_caller]
    pub fn reload(&self, config: &str) -> Status {
        let before = self.status();
        self.save(config);
        self.signal(Signal::HUP);
        self.status_after(&before)
    }
}
