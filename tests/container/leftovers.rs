//! What tests that were killed left in the engine: known by the number of a process that is gone.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Engine;

const PREFIX: &str = "forebay-test-";

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A name that no other test has, and that says which process gave it.
pub fn own_name(what: &str) -> String {
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    format!("{PREFIX}{what}-{}-{number}", std::process::id())
}

/// Removes containers, networks and images of tests whose process is gone.
pub fn remove(engine: &Engine) {
    for name in left(engine, &["container", "ls", "-a", "--format", "{{.Names}}"]) {
        engine.remove(&["container", "rm", "-f", "-v", &name]);
    }
    for name in left(engine, &["network", "ls", "--format", "{{.Name}}"]) {
        engine.remove(&["network", "rm", &name]);
    }
    for name in left(engine, &["image", "ls", "--format", "{{.Repository}}"]) {
        remove_image(engine, &name);
    }
}

/// Removes an image and the nameless ones of the steps built on it.
pub fn remove_image(engine: &Engine, name: &str) {
    for image in descendants(engine, name).iter().rev() {
        engine.remove(&["image", "rm", "-f", image]);
    }
    engine.remove(&["image", "rm", "-f", name]);
}

fn left(engine: &Engine, list: &[&str]) -> Vec<String> {
    let names = engine.answer(list);
    names.lines().filter(|name| maker_is_gone(name)).map(str::to_owned).collect()
}

/// True exactly when `name` is one of `own_name` (or begins so) and its process is gone.
fn maker_is_gone(name: &str) -> bool {
    let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
    let maker = maker.and_then(|maker| maker.parse::<u32>().ok());
    maker.is_some_and(|maker| !Path::new(&format!("/proc/{maker}")).exists())
}

/// The images built on this one, parents first.
fn descendants(engine: &Engine, name: &str) -> Vec<String> {
    let all = engine.answer(&["image", "ls", "-a", "-q", "--no-trunc"]);
    let mut inspect = vec!["image", "inspect", "-f", "{{.Id}} {{.Parent}}"];
    inspect.extend(all.lines());
    let family = engine.answer(&inspect);
    let mut found = vec![engine.answer(&["image", "inspect", "-f", "{{.Id}}", name])];
    let mut at = 0;
    while let Some(parent) = found.get(at).filter(|parent| !parent.is_empty()).cloned() {
        let children = family.lines().filter_map(|line| line.split_once(' '));
        found.extend(children.filter(|(_, of)| *of == parent).map(|(id, _)| id.to_owned()));
        at += 1;
    }
    found.split_off(1)
}
