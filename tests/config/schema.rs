//! The JSON schema is current, and knows the keys that the reader knows.

use super::*;

#[test]
fn the_committed_schema_is_current() {
    let path = "conf/forebay.schema.json";
    let schema = forebay::config::schema();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, &schema).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == schema, "{path} is old: UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn schema_and_keys_are_the_same_set() {
    let schema: serde_json::Value = serde_json::from_str(&forebay::config::schema()).unwrap();
    let mut found = Vec::new();
    gather(&schema, "", &mut found);
    found.sort();
    let mut known: Vec<String> = every_key().into_iter().map(|(path, _)| path).collect();
    known.sort();
    assert_eq!(found, known);
}

fn gather(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        found.push(path.clone());
        gather(inner, &format!("{path}."), found);
        gather(&inner["additionalProperties"], &format!("{path}.NAME."), found);
        let any = [&inner["anyOf"], &inner["items"]["anyOf"]];
        for one in any.into_iter().filter_map(serde_json::Value::as_array).flatten() {
            gather(one, &format!("{path}."), found);
        }
    }
}
