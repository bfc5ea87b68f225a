//! A file, or two with a zero byte between them: the one that runs and the one that a reload brings.

use forebay::config::{Config, Loaded, parse};

use super::judge;

pub fn run(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |byte| *byte == 0).map(String::from_utf8_lossy);
    let old = files.next().and_then(|text| read(&text));
    let new = files.next().and_then(|text| read(&text));
    if let (Some(old), Some(new)) = (old, new) {
        judge::plan(&old, &new);
    }
}

/// The configuration if nothing is wrong with the file.
fn read(text: &str) -> Option<Config> {
    let Loaded { config, warnings, choices, .. } = parse(text, "fuzz.toml", &variable);
    let wrong = judge::choices(&choices);
    match config {
        Ok(config) => {
            judge::problems(&warnings);
            judge::taken(&config);
            wrong.is_empty().then_some(config)
        }
        Err(problems) => {
            assert!(problems.has_errors());
            judge::problems(&problems);
            None
        }
    }
}

fn variable(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("10.0.0.1".to_owned()),
        "ODD" => Some("\u{1b}[31m\n\"$${HOST}".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}
