//! The fuzz targets without a fuzzer: over every file that was kept, and over mutations of them from
//! a fixed seed. What is found here or there gets a test of its own beside what was wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    unreachable_pub,
    reason = "what fails here fails a test, and the targets are another crate's as well"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// Another one may be tried with FOREBAY_SEED=N.
const SEED: u64 = 20_261_124;
/// A longer input shows nothing new.
const LONGEST: usize = 4096;

#[test]
fn config_keeps_its_promises() {
    replay("config", 200);
}

#[test]
fn session_keeps_its_promises() {
    replay("session", 400);
}

#[test]
fn balance_keeps_its_promises() {
    replay("balance", 400);
}

#[test]
fn words_keep_their_promises() {
    replay("words", 1_000);
}

#[test]
fn answers_keep_their_promises() {
    replay("answers", 2_000);
}

#[test]
fn every_target_is_replayed_and_is_fuzzed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = fuzz::TARGETS.map(|(name, _)| name);
    assert_eq!(names, ["config", "session", "balance", "words", "answers"]);
    let cargo = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for name in names {
        assert!(cargo.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(fs::read_dir(root.join("targets")).unwrap().count(), names.len());
    assert_eq!(fs::read_dir(root.join("corpus")).unwrap().count(), names.len());
}

/// Runs one target over its corpus, and over so many mutations of it.
fn replay(name: &str, mutations: u64) {
    let (_, target) = fuzz::TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    for (file, bytes) in &corpus {
        let whole = catch_unwind(AssertUnwindSafe(|| target(bytes)));
        assert!(whole.is_ok(), "fuzz/corpus/{name}/{file} breaks a promise");
    }
    let seed = std::env::var("FOREBAY_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap());
    for run in 0..mutations {
        let bytes = mutated(&corpus, &mut Rng::with_seed(seed + run));
        let whole = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        let shown = bytes.escape_ascii();
        assert!(whole.is_ok(), "FOREBAY_SEED={seed}, run {run} of {name}: b\"{shown}\"");
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        (path.file_name().unwrap().display().to_string(), fs::read(&path).unwrap())
    };
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort();
    assert!(files.len() >= 20, "only {} files of {name}", files.len());
    files
}

/// A file with one to eight mistakes, some of them parts of other files.
fn mutated(corpus: &[(String, Vec<u8>)], random: &mut Rng) -> Vec<u8> {
    let mut bytes = random.choice(corpus).unwrap().1.clone();
    for _ in 0..random.u8(1..=8) {
        let start = random.usize(..=bytes.len());
        let end = bytes.len().min(start + random.usize(..16));
        let other = &random.choice(corpus).unwrap().1;
        let from = random.usize(..=other.len());
        let part = &other[from..other.len().min(from + random.usize(..64))];
        match random.u8(..5) {
            0 => bytes.splice(start..end, []).for_each(drop),
            1 => bytes.splice(start..end, part.iter().copied()).for_each(drop),
            2 => bytes.insert(start, random.u8(..)),
            3 => bytes.splice(start..start, part.iter().copied()).for_each(drop),
            _ => bytes[start..end].iter_mut().for_each(|byte| *byte ^= 1 << random.u8(..8)),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}
