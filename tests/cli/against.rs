//! `check --against`: what a reload would change, without a running process.

use crate::program::*;

fn against(new: &File, old: &File, more: &str) -> (i32, String, String) {
    let out = forebay(&format!("check -c {new} --against {old} {more}"));
    (code(&out), text(&out.stdout), text(&out.stderr))
}

#[test]
fn plan_is_what_stands_on_stdout() {
    let old = File::new(SMALLEST);
    let new = File::new(
        &SMALLEST
            .replace("pool = \"app\"", "pool = \"app\"\nmax_connections = 5")
            .replace(":9\"", ":8\""),
    );
    let plan = "listener web: max_connections none → 5 (no session is cut for it)\n\
                pool app: backend 127.0.0.1:8 added\n\
                pool app: backend 127.0.0.1:9 removed, its sessions drain (at most 1h)\n";
    assert_eq!(against(&new, &old, ""), (0, plan.to_owned(), String::new()));
    assert_eq!(against(&old, &old, ""), (0, "no change\n".to_owned(), String::new()));
}

#[test]
fn plan_as_json_has_subjects_and_changes() {
    let (old, new) = (File::new(SMALLEST), File::new(&SMALLEST.replace(":9\"", ":8\"")));
    let (exit, out, _) = against(&new, &old, "--json");
    let report = json(out.as_bytes());
    assert_eq!((exit, &report["ok"]), (0, &true.into()));
    assert_eq!(report["file"], new.to_string());
    assert_eq!(report["against"], old.to_string());
    assert_eq!(report["changes"].as_array().unwrap().len(), 2);
    assert_eq!(report["changes"][0]["subject"], "pool app");
    assert_eq!(report["changes"][0]["change"], "backend 127.0.0.1:8 added");
    let (exit, out, _) = against(&old, &old, "--json");
    assert_eq!((exit, json(out.as_bytes())["changes"].as_array().unwrap().len()), (0, 0));
}

#[test]
fn either_file_that_is_invalid_is_78_with_its_problems() {
    let good = File::new(SMALLEST);
    let bad = File::new(&SMALLEST.replace("address", "adress"));
    for (new, old) in [(&bad, &good), (&good, &bad)] {
        let (exit, out, err) = against(new, old, "");
        assert_eq!((exit, out.as_str()), (78, ""), "{err}");
        assert!(err.contains(&bad.to_string()) && err.contains("adress"), "{err}");
        assert!(!err.contains("--strict"), "{err}");
        let (exit, out, _) = against(new, old, "--json");
        let report = json(out.as_bytes());
        assert_eq!((exit, &report["ok"]), (78, &false.into()));
        assert_eq!(report["problems"][0]["file"], bad.to_string());
        assert_eq!(report["changes"].as_array().unwrap().len(), 0);
    }
    let (exit, _, err) = against(&bad, &bad, "");
    assert_eq!((exit, err.matches("unknown key `adress`").count()), (78, 2), "{err}");
    let missing = forebay(&format!("check -c {good} --against /nowhere/old.toml"));
    assert_eq!(code(&missing), 78);
    assert!(text(&missing.stderr).contains("/nowhere/old.toml"));
}

#[test]
fn old_file_includes_what_stands_beside_it() {
    let old = File::new("include = [\"part.toml\"]\n");
    std::fs::write(old.path.with_file_name("part.toml"), SMALLEST).unwrap();
    let new = File::new(SMALLEST);
    assert_eq!(against(&new, &old, ""), (0, "no change\n".to_owned(), String::new()));
}

#[test]
fn warnings_of_the_new_file_fail_a_strict_plan() {
    let good = File::new(SMALLEST);
    let odd = File::new(&format!("{SMALLEST}\n[pool.unused]\nbackends = [\"127.0.0.1:9\"]\n"));
    let (exit, out, err) = against(&odd, &good, "");
    assert_eq!((exit, out.lines().count()), (0, 1));
    assert!(err.contains("unused"), "{err}");
    let (exit, out, err) = against(&odd, &good, "--strict");
    assert_eq!((exit, out.as_str()), (78, ""));
    assert!(err.contains("--strict"), "{err}");
    assert_eq!(against(&good, &odd, "--strict").0, 0, "what was odd before is no news");
}
