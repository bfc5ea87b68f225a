//! Wrong usage: 2, and nothing on stdout. Help and version: 0, on stdout.

use crate::program::*;

#[test]
fn wrong_usage_is_2() {
    for line in [
        "--nonsense",
        "nonsense",
        "run extra",
        "check --json --dump",
        "check --dump --against a.toml",
        "check --against",
        "proxy",
        "proxy --listen 127.0.0.1:0",
        "proxy --to 127.0.0.1:9",
        "demo --for soon",
        "demo --for 0s",
        "-c a.toml demo",
        "-t run",
        "--log-format xml check",
        "--log verbose check",
        "--log worker=loud check",
    ] {
        let out = forebay(line);
        assert_eq!(code(&out), 2, "{line}: {out:?}");
        assert_eq!(text(&out.stdout), "", "{line}");
        assert!(text(&out.stderr).contains("error"), "{line}: {}", text(&out.stderr));
    }
}

#[test]
fn near_miss_gets_a_suggestion() {
    assert!(text(&forebay("chekc").stderr).contains("'check'"));
    assert!(text(&forebay("run --confg x").stderr).contains("--config"));
}

#[test]
fn file_without_its_option_is_told_where_it_goes() {
    for line in ["my.toml", "check my.toml", "run my.toml"] {
        let out = forebay(line);
        assert_eq!(code(&out), 2, "{line}: {out:?}");
        assert!(text(&out.stderr).contains("'-c my.toml'"), "{line}: {}", text(&out.stderr));
    }
}

#[test]
fn proxy_with_a_bad_address_is_2() {
    for line in [
        "proxy --listen nowhere:x --to 127.0.0.1:9",
        "proxy --listen 127.0.0.1:0 --to 127.0.0.1:99999",
    ] {
        let out = forebay(line);
        assert_eq!(code(&out), 2, "{line}: {out:?}");
        assert_eq!(text(&out.stdout), "");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for line in ["--help", "-h", "help", "run --help", "check -h", "proxy -h", "demo -h"] {
        let out = forebay(line);
        assert_eq!(code(&out), 0, "{line}");
        assert!(text(&out.stdout).contains("Usage:"), "{line}");
        assert_eq!(text(&out.stderr), "", "{line}");
    }
    for line in ["--version", "-V"] {
        let out = forebay(line);
        let version = concat!("forebay ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!((code(&out), text(&out.stdout).as_str()), (0, version));
    }
}
