//! Notes the changes of one subject.

use super::super::suggest::on_one_line;
use super::show;
use super::{Change, Subject, Touches};

/// What holds for a session from its start to its end.
pub(super) const NEW_SESSIONS: &str = "for new sessions";

/// The changes of one subject, added to those of all.
pub(super) struct Found<'a> {
    subject: Subject,
    all: &'a mut Vec<Change>,
}

impl<'a> Found<'a> {
    pub(super) fn of(subject: Subject, all: &'a mut Vec<Change>) -> Self {
        Self { subject, all }
    }

    /// Notes a change that reaches no session.
    pub(super) fn say(&mut self, what: impl Into<String>) {
        self.touch(what, Touches::Nothing);
    }

    /// Notes a change that reaches sessions.
    pub(super) fn touch(&mut self, what: impl Into<String>, touches: Touches) {
        // The name of a plug-in may hold what would break the line.
        let what = on_one_line(&what.into()).into_owned();
        self.all.push(Change { subject: self.subject.clone(), what, touches });
    }

    /// Notes the change of a key's value, if it has changed.
    pub(super) fn field<T: PartialEq>(
        &mut self,
        name: &str,
        (old, new): (&T, &T),
        show: impl Fn(&T) -> String,
    ) {
        self.field_noted(name, (old, new), show, "");
    }

    /// The same, and what is good to know about it.
    pub(super) fn field_noted<T: PartialEq>(
        &mut self,
        name: &str,
        (old, new): (&T, &T),
        show: impl Fn(&T) -> String,
        note: &str,
    ) {
        if let Some(what) = difference(name, (old, new), show, note) {
            self.say(what);
        }
    }

    /// Notes the change of a cap.
    pub(super) fn cap(&mut self, name: &str, old: Option<u32>, new: Option<u32>) {
        self.field_noted(name, (&old, &new), show::or_none, cap_note(old, new));
    }
}

/// What a cap that falls under what is there does: sessions end as they would.
pub(super) fn cap_note(old: Option<u32>, new: Option<u32>) -> &'static str {
    let lowered = new.is_some_and(|new| old.is_none_or(|old| new < old));
    if lowered { "no session is cut for it" } else { "" }
}

/// `name OLD → NEW (note)`, if they differ.
pub(super) fn difference<T: PartialEq>(
    name: &str,
    (old, new): (&T, &T),
    show: impl Fn(&T) -> String,
    note: &str,
) -> Option<String> {
    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
    (old != new).then(|| format!("{name} {} → {}{note}", show(old), show(new)))
}
