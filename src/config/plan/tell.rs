//! A plan as text: one line a change, or all on one line, with sessions counted if they can be.

use super::super::OnRemove;
use super::super::units::show_duration;
use super::{Change, Plan, Sessions, Subject, Touches};

/// Subjects that one line tells of.
const SUBJECTS: usize = 12;

impl Plan {
    /// One line a change. With `sessions` the last line says how many are affected in all.
    pub fn lines(&self, sessions: Option<&dyn Sessions>) -> Vec<String> {
        let line = |change: &Change| format!("{}: {}", change.subject, change.text(sessions));
        let mut lines: Vec<String> = self.changes.iter().map(line).collect();
        if let Some(sessions) = sessions.filter(|_| !self.is_empty()) {
            lines.push(self.affected(sessions).in_all());
        }
        lines
    }

    /// All on one line: `listener web: max_connections 100 → 200; pool app: backend 10.0.0.3:9000
    /// removed, 214 sessions drain (at most 1h); 0 others affected`.
    pub fn summary(&self, sessions: Option<&dyn Sessions>) -> String {
        if self.is_empty() {
            return "no change".to_owned();
        }
        let mut parts: Vec<String> = Vec::new();
        let mut of: Option<&Subject> = None;
        let mut omitted = 0;
        for change in &self.changes {
            let text = change.text(sessions);
            let again = of == Some(&change.subject);
            if omitted > 0 || (!again && parts.len() == SUBJECTS) {
                omitted += 1;
            } else if let Some(part) = parts.last_mut().filter(|_| again) {
                part.push_str(&format!(", {text}"));
            } else {
                parts.push(format!("{}: {text}", change.subject));
            }
            of = Some(&change.subject);
        }
        if omitted > 0 {
            parts.push(format!("{omitted} more changes"));
        }
        if let Some(sessions) = sessions {
            let affected = self.affected(sessions);
            parts.push(if omitted > 0 { affected.in_all() } else { affected.others() });
        }
        parts.join("; ")
    }

    fn affected(&self, sessions: &dyn Sessions) -> Affected {
        let mut affected = Affected::default();
        for change in &self.changes {
            let count = change.sessions(sessions);
            match &change.touches {
                Touches::Nothing | Touches::Listener => {}
                Touches::Backends(_, fate) | Touches::Pool(fate) => match fate {
                    OnRemove::Drain { .. } => affected.drained += count,
                    OnRemove::Keep => {}
                    OnRemove::Close => affected.reset += count,
                },
            }
        }
        affected
    }
}

impl Change {
    /// What changes, and what happens to the sessions that it reaches.
    pub fn text(&self, sessions: Option<&dyn Sessions>) -> String {
        let (many, one, bound) = match &self.touches {
            Touches::Nothing => return self.what.clone(),
            Touches::Listener => ("live on", "lives on", None),
            Touches::Backends(_, fate) | Touches::Pool(fate) => match fate {
                OnRemove::Drain { timeout } => ("drain", "drains", Some(timeout)),
                OnRemove::Keep => ("stay", "stays", None),
                OnRemove::Close => ("are reset", "is reset", None),
            },
        };
        let who = match sessions.map(|sessions| self.sessions(sessions)) {
            Some(1) => format!("1 session {one}"),
            Some(count) => format!("{count} sessions {many}"),
            None => format!("its sessions {many}"),
        };
        let bound = bound.map(|timeout| format!(" (at most {})", show_duration(*timeout)));
        format!("{}, {who}{}", self.what, bound.unwrap_or_default())
    }

    /// How many sessions it reaches.
    fn sessions(&self, sessions: &dyn Sessions) -> u64 {
        let name = match &self.subject {
            Subject::Process(_) => return 0,
            Subject::Listener(name) | Subject::Pool(name) => name,
        };
        match &self.touches {
            Touches::Nothing => 0,
            Touches::Listener => sessions.of_listener(name).into(),
            Touches::Pool(_) => sessions.of_pool(name).into(),
            Touches::Backends(all, _) => {
                all.iter().map(|address| u64::from(sessions.of_backend(name, address))).sum()
            }
        }
    }
}

/// Sessions that do not simply live on.
#[derive(Default)]
struct Affected {
    drained: u64,
    reset: u64,
}

impl Affected {
    /// The parts before have named all of them: no other change reaches a session.
    fn others(&self) -> String {
        match self.drained + self.reset {
            0 => "no session is affected".to_owned(),
            _ => "0 others affected".to_owned(),
        }
    }

    fn in_all(&self) -> String {
        let counted = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 session {one}")),
            count => Some(format!("{count} sessions {many}")),
        };
        let parts = [
            counted(self.drained, "drains", "drain"),
            counted(self.reset, "is reset", "are reset"),
        ];
        let parts = parts.into_iter().flatten().chain([self.others()]);
        parts.collect::<Vec<_>>().join(", ")
    }
}
