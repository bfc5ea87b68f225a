//! What is wrong with a value of the right or the wrong type, and what was probably meant.

use std::time::Duration;

use super::super::keys::Kind;
use super::super::node::Value;
use super::super::suggest::quoted;
use super::super::units::{self, Fault};

/// A century: any deadline within it can be computed.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The finest that a timer keeps.
const SHORTEST: Duration = Duration::from_millis(1);

pub(super) fn bounded(text: &str, length: Duration) -> Result<Duration, Fault> {
    if length > LONGEST {
        return Err(Fault::new(format!("{} is too long", quoted(text)), "at most 36500 days"));
    }
    if length < SHORTEST && length > Duration::ZERO {
        return Err(Fault::new(format!("{} is too short", quoted(text)), "at least \"1ms\""));
    }
    Ok(length)
}

pub(super) fn outside(name: &str, value: &Value, kind: &Kind) -> Fault {
    let shown = match value {
        Value::Integer(_, text) | Value::Beyond(text) => text.as_str(),
        _ => "the value",
    };
    let hint = match (name, shown) {
        ("max_connections", "0") => "; leave the key out for no cap",
        _ => "",
    };
    let message = format!("`{name}` cannot be {shown}");
    Fault::new(message, format!("it must be {}{hint}", kind.expected()))
}

pub(super) fn size_outside(name: &str, bytes: u64, min: u64, max: u64) -> Fault {
    let (min, max) = (units::show_size(min), units::show_size(max));
    let message = format!("`{name}` cannot be {}", units::show_size(bytes));
    Fault::new(message, format!("it must be from {min} to {max}"))
}

/// What the author probably meant with a value of the wrong type.
pub(super) fn instead(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Duration | Kind::Delay | Kind::Timeout, Value::Integer(_, text)) => {
            format!("write \"{text}s\"")
        }
        (Kind::FlagOrTable(_), Value::String(text)) if text == "off" => "write false".to_owned(),
        (Kind::FlagOrTable(keys), Value::String(text))
            if keys.iter().any(|it| it.name == "kind") =>
        {
            format!("write {{ kind = {} }}", quoted(text))
        }
        (Kind::Timeout, Value::Flag(false)) => "write \"off\"".to_owned(),
        (Kind::Rate, Value::Integer(_, text)) => format!("write \"{text}/s\""),
        (Kind::Percent, Value::Integer(_, text)) => format!("write \"{text}%\""),
        (Kind::Mode, Value::Integer(..)) => "write \"0660\", in quotes".to_owned(),
        (Kind::ListenAddresses, Value::Integer(_, text)) => format!("write \"0.0.0.0:{text}\""),
        (Kind::Flag, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            format!("write {text} without quotes")
        }
        (Kind::Count { .. }, Value::String(text)) if text.parse::<u32>().is_ok() => {
            format!("write {text} without quotes")
        }
        _ => String::new(),
    }
}
