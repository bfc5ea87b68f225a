//! `check`: the verdict, the dump and the findings, and where they go.

use crate::program::*;

#[test]
fn check_says_ok_on_stdout() {
    let file = File::new(SMALLEST);
    for line in [format!("check -c {file}"), format!("-t -c {file}"), format!("-c {file} check")] {
        let out = forebay(&line);
        assert_eq!(code(&out), 0, "{line}: {out:?}");
        let verdict = format!("{file}: ok (1 listener, 1 pool, 1 backend)\n");
        assert_eq!(text(&out.stdout), verdict, "{line}");
        assert_eq!(text(&out.stderr), "", "{line}");
    }
}

#[test]
fn check_takes_its_file_from_the_environment() {
    let file = File::new(SMALLEST);
    let out = bare("check").env("FOREBAY_CONFIG", &file.path).output().unwrap();
    assert_eq!(code(&out), 0, "{out:?}");
    let out = bare("check -c /nowhere.toml").env("FOREBAY_CONFIG", &file.path).output().unwrap();
    assert_eq!(code(&out), 78, "the option beats the environment");
}

#[test]
fn check_never_binds() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = File::new(&SMALLEST.replace("127.0.0.1:0", &address));
    assert_eq!(code(&forebay(&format!("check -c {file}"))), 0);
}

#[test]
fn check_dump_is_the_only_thing_on_stdout() {
    let file = File::new(SMALLEST);
    for line in [format!("check --dump -c {file}"), format!("-T -c {file}")] {
        let out = forebay(&line);
        assert_eq!(code(&out), 0, "{line}: {out:?}");
        assert!(text(&out.stdout).contains("127.0.0.1"), "{}", text(&out.stdout));
        assert!(!text(&out.stdout).contains(": ok ("));
    }
}

#[test]
fn dump_checks_and_dumps_to_itself() {
    let file = File::new(SMALLEST);
    let first = text(&forebay(&format!("check --dump -c {file}")).stdout);
    let again = File::new(&first);
    assert_eq!(text(&forebay(&format!("check --dump -c {again}")).stdout), first);
}

#[test]
fn check_json_lists_what_is_wrong() {
    let good = File::new(SMALLEST);
    let out = forebay(&format!("check --json -c {good}"));
    assert_eq!(code(&out), 0);
    let report = json(&out.stdout);
    assert_eq!((&report["ok"], report["problems"].as_array().unwrap().len()), (&true.into(), 0));

    let bad = File::new("[listener.web]\naddress = 5\n");
    let out = forebay(&format!("check --json -c {bad}"));
    assert_eq!(code(&out), 78);
    let report = json(&out.stdout);
    assert_eq!(report["ok"], false);
    assert_eq!(report["problems"][0]["severity"], "error");
    assert_eq!(report["problems"][0]["file"], bad.to_string());
    assert!(report["problems"][0]["message"].is_string());
}

#[test]
fn answer_that_cannot_be_written_is_a_failure() {
    let file = File::new(SMALLEST);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = bare(&format!("check --dump -c {file}")).stdout(full).output().unwrap();
    assert_eq!(code(&out), 1);
    assert!(text(&out.stderr).contains("cannot write to standard output"));
}

#[test]
fn reader_that_has_seen_enough_is_no_failure() {
    let file = File::new(SMALLEST);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = bare(&format!("check --dump -c {file}")).stdout(writer).output().unwrap();
    assert_eq!((code(&out), text(&out.stderr).as_str()), (0, ""));
}

#[cfg(feature = "schema")]
#[test]
fn schema_is_json() {
    let out = forebay("check --schema");
    assert_eq!(code(&out), 0);
    assert!(json(&out.stdout).is_object());
}
