//! A JSON schema of the file, for editors; made of the same tables of keys that the reader uses.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, ROOT};

/// The schema (JSON Schema 2020-12), with a newline at its end.
pub fn schema() -> String {
    let mut root = object(ROOT);
    root.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    root.insert("title".into(), "Forebay".into());
    root.insert("description".into(), "Configuration of the Forebay TCP proxy".into());
    format!("{:#}\n", Value::Object(root))
}

fn object(keys: &[Key]) -> Map<String, Value> {
    let properties = keys.iter().map(|key| (key.name.to_owned(), property(key)));
    let Value::Object(object) = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<Map<_, _>>(),
    }) else {
        return Map::new();
    };
    object
}

fn property(key: &Key) -> Value {
    let mut value = of(&key.kind);
    if let Value::Object(object) = &mut value {
        object.insert("description".into(), key.doc.into());
        if let Some(default) = default(key.default) {
            object.insert("default".into(), default);
        }
    }
    value
}

/// Our defaults are words of TOML that JSON has too.
fn default(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn of(kind: &Kind) -> Value {
    let text = || json!({ "type": "string" });
    let count = |min: &u64, max: &u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    let flag = || json!({ "type": "boolean" });
    let some = |item: Value| json!({ "type": "array", "items": item });
    match kind {
        Kind::Flag => flag(),
        Kind::Count { min, max } => count(min, max),
        Kind::FlagOrCount { min, max } => json!({ "anyOf": [flag(), count(min, max)] }),
        Kind::Size { .. } => json!({ "type": ["string", "integer"] }),
        Kind::Rate => json!({ "type": "string", "pattern": "^ *[0-9_]+ */" }),
        Kind::Percent => json!({ "type": "string", "pattern": "% *$" }),
        Kind::Mode => json!({ "type": "string", "pattern": "^[0-7]{3,4}$" }),
        Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        Kind::Duration
        | Kind::Delay
        | Kind::Timeout
        | Kind::KernelName
        | Kind::PoolName
        | Kind::SourceAddress
        | Kind::BackendAddress => text(),
        Kind::ListenAddresses | Kind::Networks | Kind::Paths => {
            json!({ "anyOf": [text(), some(text())] })
        }
        Kind::Backends => some(json!({ "anyOf": [text(), Value::Object(object(kind.keys()))] })),
        Kind::Choice => choice(),
        Kind::Choices => json!({ "anyOf": [choice(), some(choice())] }),
        Kind::OneKind(kinds) => one_kind(kinds),
        Kind::Table(keys) => Value::Object(object(keys)),
        Kind::FlagOrTable(keys) => json!({ "anyOf": [flag(), Value::Object(object(keys))] }),
        Kind::Named(keys) => {
            json!({ "type": "object", "additionalProperties": Value::Object(object(keys)) })
        }
    }
}

/// One of these names, or a table of one of them with its options.
fn one_kind(kinds: &[Key]) -> Value {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let mut table = object(kinds);
    table.insert("minProperties".into(), 1.into());
    table.insert("maxProperties".into(), 1.into());
    json!({ "anyOf": [{ "type": "string", "enum": names }, Value::Object(table)] })
}

/// A name, or a table of one name with its options.
fn choice() -> Value {
    json!({ "anyOf": [
        { "type": "string" },
        {
            "type": "object",
            "additionalProperties": { "type": "object" },
            "minProperties": 1,
            "maxProperties": 1,
        },
    ] })
}
