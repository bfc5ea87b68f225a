//! Where it was measured, and with what.

use std::fs;

use serde_json::{Value, json};

use crate::subject::{Kind, Subject};

/// Names and what they are, in the order in which they are told.
#[derive(Debug)]
pub(crate) struct Setting(Vec<(&'static str, String)>);

impl Setting {
    pub(crate) fn look(subjects: &[Subject]) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let processors = read("/proc/cpuinfo");
        let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
        let model = processors.lines().find(|line| line.starts_with("model name"));
        let count = processors.lines().filter(|line| line.starts_with("processor")).count();
        let mut all = vec![
            ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("CPUs", format!("{count} × {}", model.and_then(value).unwrap_or_default())),
            ("load before", read("/proc/loadavg")),
            ("congestion control", read("/proc/sys/net/ipv4/tcp_congestion_control")),
        ];
        let mut told = vec![Kind::Direct, Kind::Spinning];
        for subject in subjects {
            if !told.contains(&subject.kind) {
                told.push(subject.kind);
                all.push((subject.name, subject.version()));
            }
        }
        Self(all)
    }

    /// A list.
    pub(crate) fn markdown(&self) -> String {
        let line = |(name, value): &(&str, String)| format!("- {name}: {value}\n");
        self.0.iter().map(line).collect::<String>() + "\n"
    }

    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }
}
