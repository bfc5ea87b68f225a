//! Ten thousand files with mistakes in them: each is taken or refused, and a refusal names its place.

use std::panic::catch_unwind;

use fastrand::Rng;
use forebay::config::Plan;
use forebay::plugin::Registry;

use super::*;

const FILES: usize = 10_000;
/// Another one may be tried with FOREBAY_SEED=N.
const SEED: u64 = 20_261_123;
const THREADS: usize = 4;

/// What a hasty hand or a broken template puts where a value should be.
const VALUES: [&str; 26] = [
    "",
    "0",
    "-1",
    "1.5",
    "nan",
    "99999999999999999999",
    "true",
    "\"\"",
    "\"off\"",
    "\"5s\"",
    "\"-5s\"",
    "\"1ns\"",
    "\"9999999h\"",
    "\"10.0.0.1\"",
    "\"[::]:80\"",
    "\"0.0.0.0:1-65535\"",
    "\"x:+70000\"",
    "\"10.0.0.0/99\"",
    "\"${UNSET}\"",
    "\"${\"",
    "[]",
    "[1, \"a\", {}]",
    "{}",
    "{ drain = {} }",
    "{ a = { b = { c = [] } } }",
    "1979-05-27",
];

/// Every key, without its comments, and a second listener and pool.
fn rich() -> String {
    let lines = super::examples::reference_with_examples();
    let lines = lines.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("include"));
    lines.collect::<Vec<_>>().join("\n")
        + "
[listener.game]
address = [\"10.0.0.1:30000-30009\", \"[::1]:50\"]
pool = \"game\"
deny = [\"10.0.66.0/24\", \"2001:db8::/32\"]
[pool.game]
backends = [\"10.0.0.5:+0\", \"game.internal:-5\", { address = \"[::1]:+1\", weight = 0 }]
balance = { source_hash = { seed = 7, ipv6_prefix = 56 } }
on_remove = \"close\"
keepalive = false
[pool.standby]
backends = [\"unix:/run/standby.sock\", \"${STANDBY:-10.0.0.9:1}\"]
"
}

/// The file with one to four mistakes.
fn mutated(rich: &str, random: &mut Rng) -> String {
    let mut text = rich.to_owned();
    for _ in 0..random.u8(1..=4) {
        text = match random.u8(0..10) {
            0 | 1 => flip(text, random),
            2 => truncate(text, random),
            _ => change_lines(&text, random),
        };
    }
    text
}

/// One bit of one byte; what is no UTF-8 then is read as [`load`] shows it.
fn flip(text: String, random: &mut Rng) -> String {
    let mut bytes = text.into_bytes();
    if let Some(at) = random.choice(0..bytes.len()) {
        bytes[at] ^= 1 << random.u8(0..8);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn truncate(mut text: String, random: &mut Rng) -> String {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    text.truncate(random.choice(ends).unwrap_or(0));
    text
}

fn change_lines(text: &str, random: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (Some(one), Some(other)) = (random.choice(0..lines.len()), random.choice(0..lines.len()))
    else {
        return String::new();
    };
    match random.u8(0..5) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(other, lines[one].clone()),
        2 => lines.swap(one, other),
        _ => {
            let key = lines[one].split('=').next().unwrap_or_default().to_owned();
            let value = random.choice(VALUES).unwrap_or_default();
            lines[one] = format!("{key}= {value}");
        }
    }
    lines.join("\n")
}

/// True exactly when the file is taken.
fn offer(text: &str, running: &Config, registry: &Registry) -> bool {
    let loaded = parse(text, "test.toml", &no_variables);
    let wrong = registry.check(&loaded.choices);
    let errors = all_problems(&loaded).iter().filter(|it| it.severity == Severity::Error);
    let errors: Vec<_> = errors.chain(&wrong).collect();
    for error in &errors {
        let place = error.place.as_ref().unwrap_or_else(|| panic!("no place: {error}"));
        let lines = place.source().text().split('\n').count();
        assert!(place.source().was_read() && place.position().line <= lines, "{error}");
        let named = format!("test.toml:{}:", place.position().line);
        assert!(error.to_string().starts_with(&named), "{error}");
    }
    assert_positions(all_problems(&loaded));
    match loaded.config {
        Ok(config) if errors.is_empty() => {
            let plan = Plan::between(running, &config);
            assert!(!plan.is_empty() || config == *running, "no change, though they differ");
            true
        }
        Ok(_) => false,
        Err(_) => {
            assert!(!errors.is_empty(), "refused without an error");
            false
        }
    }
}

/// How many of the files of one thread are taken.
fn offer_all(seed: u64, thread: usize) -> usize {
    let rich = rich();
    let (running, mut registry) = (good(&rich), Registry::with_builtins());
    forebay::health::register(&mut registry);
    forebay::discovery::register(&mut registry);
    let mut taken = 0;
    for file in (thread..FILES).step_by(THREADS) {
        let text = mutated(&rich, &mut Rng::with_seed(seed + file as u64));
        let offered = std::panic::AssertUnwindSafe(|| offer(&text, &running, &registry));
        match catch_unwind(offered) {
            Ok(good) => taken += usize::from(good),
            Err(_) => panic!("FOREBAY_SEED={seed}, file {file}:\n{text}"),
        }
    }
    taken
}

#[test]
fn ten_thousand_mutated_files_are_taken_or_refused_at_a_place() {
    let seed = std::env::var("FOREBAY_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap());
    println!("FOREBAY_SEED={seed}");
    let taken: usize = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| scope.spawn(move || offer_all(seed, thread)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // Neither all nor nothing: mutations that break every file, or none, would show little.
    assert!((FILES / 100..FILES / 2).contains(&taken), "{taken} of {FILES} were taken");
}
