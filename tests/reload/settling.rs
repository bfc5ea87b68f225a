//! When the file is read again: once it is quiet, if its content is another, and also where the kernel
//! tells of no change.

use std::fs;
use std::time::{Duration, Instant};

use super::support::{
    Backend, Forebay, SOON, Start, comes_true, eventually, pause, root_or_left_out,
};
use super::watching::{expect_served_by, file};

/// Writes of one burst, and what they take together at the most: less than the file is to be quiet for.
const WRITES: u32 = 20;
const BURST: Duration = Duration::from_millis(150);

/// In which a change that was noticed is in use or refused: thrice the time of quiet.
const NOTICED: Duration = Duration::from_millis(600);

#[test]
fn many_writes_in_a_moment_make_one_generation() {
    let a = Backend::naming("a");
    let limit = |most: u32| {
        let limit = format!("pool = \"app\"\nmax_connections = {most}\n");
        Forebay::simple(&[a.address()], "").replacen("pool = \"app\"\n", &limit, 1)
    };
    let forebay = Forebay::start(&limit(10));
    let applied = |most: u32| {
        let to = format!(" → {most}");
        forebay.status().changes().first().is_some_and(|change| change.ends_with(&to))
    };
    // The start reads the file once more at once, so its burst is not one of those that count.
    let mut bursts = 0;
    for number in 0..30 {
        let (before, began, last) = (forebay.status(), Instant::now(), number * 100 + WRITES);
        for most in number * 100 + 1..=last {
            fs::write(forebay.config(), limit(most)).unwrap();
            pause(Duration::from_millis(2));
        }
        // A machine that is busy with other work writes more slowly, which proves nothing.
        let counts = began.elapsed() <= BURST && number > 0;
        eventually(SOON, || applied(last));
        let once = before.generation() + 1;
        let generation = if counts { once } else { forebay.status().generation() };
        let more = comes_true(NOTICED, || forebay.status().generation() != generation);
        assert!(!more, "{WRITES} writes: {before:?}, then {:?}", forebay.status());
        bursts += u32::from(counts);
        if bursts == 2 {
            return;
        }
    }
    panic!("only {bursts} bursts within {BURST:?}");
}

#[test]
fn the_same_content_is_no_change_and_not_told_of() {
    let backends = ["a", "b"].map(Backend::naming);
    let text = file(&backends[0], "");
    let forebay = Forebay::start(&text);
    forebay.expect_said("ready");
    let (lines, before) = (forebay.lines(), forebay.status());
    let touch = || {
        let file = fs::File::options().append(true).open(forebay.config()).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    };
    let in_place = || fs::write(forebay.config(), &text).unwrap();
    for same in [&touch as &dyn Fn(), &|| forebay.save(&text), &in_place] {
        same();
        assert!(!comes_true(NOTICED, || forebay.lines() > lines), "{}", forebay.said());
    }
    assert_eq!(forebay.status(), before);
    // It was watched all the while.
    forebay.save(&file(&backends[1], ""));
    expect_served_by(&forebay, "b");
    eventually(SOON, || forebay.status().generation() == 2);
}

/// inotify(7) is refused, as a whole or for each directory, in a user namespace that may have none.
#[test]
fn where_the_kernel_watches_nothing_the_poll_looks() {
    if root_or_left_out() {
        return;
    }
    let backends = ["a", "b"].map(Backend::naming);
    let poll = "[reload]\nwatch = \"auto\"\ninterval = \"100ms\"";
    for (none, said) in [
        ("max_inotify_instances", "cannot watch for changes of the file"),
        ("max_inotify_watches", "cannot watch, only look"),
    ] {
        let inside = format!("echo 0 >/proc/sys/user/{none} && exec \"$@\"");
        let under = ["unshare", "--user", "--map-root-user", "sh", "-c", &inside, "sh"];
        let forebay = Start::new(file(&backends[0], poll)).under(&under).start();
        forebay.expect_said(said);
        for turn in 1..=2 {
            forebay.save(&file(&backends[turn % 2], poll));
            expect_served_by(&forebay, ["a", "b"][turn % 2]);
        }
    }
}
