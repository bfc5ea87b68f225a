//! An invalid configuration: 78, the report on stderr, nothing on stdout.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::program::*;

#[test]
fn unreadable_and_broken_files_are_78() {
    let files = [
        File::new(""),
        File::new("[listener.web\n"),
        File::from_bytes(b"# \xff\xfe\n[listener.web]\n"),
        File::new("[listener.web]\naddress = \"127.0.0.1:0\"\n"),
    ];
    for (index, file) in files.iter().enumerate() {
        for command in ["check", "run"] {
            let out = forebay(&format!("{command} -c {file}"));
            assert_eq!(code(&out), 78, "file {index}, {command}: {out:?}");
            assert_eq!(text(&out.stdout), "", "file {index}, {command}");
            assert!(text(&out.stderr).contains(&file.to_string()), "file {index}, {command}");
        }
    }
}

#[test]
fn missing_file_is_78_and_named() {
    for line in ["check -c /nowhere/f.toml", "-c /nowhere/f.toml", "-t -c /nowhere/f.toml"] {
        let out = forebay(line);
        assert_eq!(code(&out), 78, "{line}: {out:?}");
        assert_eq!(text(&out.stdout), "");
        assert!(text(&out.stderr).contains("/nowhere/f.toml"), "{line}");
    }
    let out = forebay("");
    assert_eq!(code(&out), 78);
    assert!(text(&out.stderr).contains("/etc/forebay/forebay.toml"), "{out:?}");
}

#[test]
fn directory_for_a_file_is_78() {
    assert_eq!(code(&forebay("check -c /tmp")), 78);
}

/// Root reads everything, so it asks as somebody else, for whom the program lies beside the file.
#[test]
fn file_without_permission_is_78() {
    let file = File::new(SMALLEST);
    let directory = file.path.parent().unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(directory, 0o755);
    mode(&file.path, 0o000);
    let mut command = bare(&format!("check -c {file}"));
    if rustix::process::geteuid().is_root() {
        let program = directory.join("forebay");
        std::fs::copy(env!("CARGO_BIN_EXE_forebay"), &program).unwrap();
        command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(program).args(["check", "-c"]).arg(&file.path);
    }
    let out = command.output().unwrap();
    assert_eq!(code(&out), 78, "{out:?}");
    let denied = format!("cannot read `{file}`: permission denied").to_lowercase();
    assert!(text(&out.stderr).to_lowercase().contains(&denied), "{out:?}");
}

#[test]
fn oversized_file_is_78() {
    let file = File::from_bytes(&vec![b'#'; 17 << 20]);
    let out = forebay(&format!("check -c {file}"));
    assert_eq!(code(&out), 78);
    assert!(text(&out.stderr).contains("16 MiB"));
}

#[test]
fn all_problems_are_reported_at_once() {
    let file = File::new(
        "[listener.web]\naddres = \"127.0.0.1:0\"\npool = \"ap\"\nmax_connections = -3\n\n\
         [pool.app]\nbackends = [\"127.0.0.1:0\"]\n",
    );
    let out = forebay(&format!("check -c {file}"));
    assert_eq!(code(&out), 78);
    let report = text(&out.stderr);
    for expected in ["addres", "did you mean", "`ap`", "max_connections", "127.0.0.1:0", ":2:1"] {
        assert!(report.contains(expected), "{expected} is missing:\n{report}");
    }
    assert!(!report.contains('\x1b'), "colours without a terminal");
    let found = json(&forebay(&format!("check --json -c {file}")).stdout);
    let found = found["problems"].as_array().unwrap();
    assert!(found.len() >= 4, "{found:?}");
    let misspelt = |problem: &serde_json::Value| problem["line"] == 2 && problem["column"] == 1;
    assert!(found.iter().any(misspelt), "{found:?}");
}

#[test]
fn warnings_fail_only_when_strict() {
    // A pool that nobody uses is worth a warning.
    let unused = format!("{SMALLEST}\n[pool.unused]\nbackends = [\"127.0.0.1:9\"]\n");
    let file = File::new(&unused);
    let out = forebay(&format!("check -c {file}"));
    assert_eq!(code(&out), 0, "{out:?}");
    assert!(text(&out.stdout).contains("1 warning"));
    assert!(text(&out.stderr).contains("unused"));
    let out = forebay(&format!("check --strict -c {file}"));
    assert_eq!((code(&out), text(&out.stdout).as_str()), (78, ""));
    assert!(text(&out.stderr).contains("--strict"));
}
