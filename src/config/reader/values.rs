//! The types that a key can have.

use std::time::Duration;

use super::super::keys::Kind;
use super::super::node::Value;
use super::super::suggest::{did_you_mean, listed, quoted};
use super::super::units::{self, Fault};
use super::Section;
use super::faults::{bounded, outside, size_outside};

impl Section<'_> {
    pub(in super::super) fn flag(&self, name: &str) -> Option<bool> {
        self.read(name, |value, _| match value {
            Value::Flag(flag) => Some(Ok(*flag)),
            _ => None,
        })
    }

    /// A whole number within the bounds of its key.
    pub(in super::super) fn count(&self, name: &str) -> Option<u32> {
        self.read(name, |value, kind| match (value, kind) {
            (
                Value::Integer(count, _),
                Kind::Count { min, max } | Kind::FlagOrCount { min, max },
            ) => {
                let count = u64::try_from(*count).ok().filter(|it| (min..=max).contains(it));
                let count = count.and_then(|count| u32::try_from(count).ok());
                Some(count.ok_or_else(|| outside(name, value, &kind)))
            }
            (Value::Beyond(_), _) => Some(Err(outside(name, value, &kind))),
            _ => None,
        })
    }

    /// A duration over zero.
    pub(in super::super) fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name, |text| match units::duration(text)? {
            Duration::ZERO => {
                Err(Fault::new(format!("`{name}` cannot be zero"), "write a duration over zero"))
            }
            length => bounded(text, length),
        })
    }

    /// A duration; zero is one too.
    pub(in super::super) fn delay(&self, name: &str) -> Option<Duration> {
        self.text(name, |text| bounded(text, units::duration(text)?))
    }

    /// A duration; `Some(None)` when it is "off" or zero.
    pub(in super::super) fn timeout(&self, name: &str) -> Option<Option<Duration>> {
        self.text(name, |text| match text {
            "off" => Ok(None),
            _ => {
                let length = bounded(text, units::duration(text)?)?;
                Ok(Some(length).filter(|length| *length > Duration::ZERO))
            }
        })
    }

    /// Bytes within the bounds of its key.
    pub(in super::super) fn size(&self, name: &str) -> Option<u64> {
        self.read(name, |value, kind| {
            let bytes = match value {
                Value::String(text) => units::size(text),
                Value::Integer(bytes, _) => u64::try_from(*bytes).map_err(|_| {
                    Fault::new(format!("`{name}` cannot be negative"), "write \"64KiB\"")
                }),
                _ => return None,
            };
            let Kind::Size { min, max } = kind else { return None };
            Some(bytes.and_then(|bytes| match (min..=max).contains(&bytes) {
                true => Ok(bytes),
                false => Err(size_outside(name, bytes, min, max)),
            }))
        })
    }

    /// The position of one of the words of its key.
    pub(in super::super) fn word(&self, name: &str) -> Option<&'static str> {
        let Kind::OneOf(words) = self.kind(name) else { return None };
        self.text(name, |text| {
            words.iter().find(|word| **word == text).copied().ok_or_else(|| {
                let message = format!("`{name}` cannot be {}", quoted(text));
                let all = format!("write {}", listed(words.iter().copied()));
                let hint = did_you_mean(text, words.iter().copied());
                Fault::new(message, hint.unwrap_or(all))
            })
        })
    }

    /// A name that the kernel takes: an interface, an algorithm.
    pub(in super::super) fn kernel_name(&self, name: &str) -> Option<String> {
        self.text(name, |text| {
            let letter = |letter: char| letter.is_ascii_graphic() && letter != '/';
            match (1..=15).contains(&text.len()) && text.chars().all(letter) {
                true => Ok(text.to_owned()),
                false => {
                    let message = format!("{} cannot be the name of one", quoted(text));
                    Err(Fault::new(message, format!("`{name}` takes 1 to 15 letters without `/`")))
                }
            }
        })
    }
}
