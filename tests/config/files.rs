//! Files that include files, and files that cannot be read.

use super::*;

#[test]
fn includes_are_read_in_order_and_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("conf.d")).unwrap();
    fs::write(at("main.toml"), "include = [\"conf.d/*.toml\"]\n").unwrap();
    let part = |name: &str, port: u16| {
        let text = format!(
            "[listener.{name}]\naddress = \"127.0.0.1:{port}\"\npool = \"{name}\"\n[pool.{name}]\nbackends = [\"x:1\"]\n"
        );
        fs::write(at(&format!("conf.d/{name}.toml")), text).unwrap();
    };
    part("b", 2);
    part("a", 1);
    fs::write(at("conf.d/.hidden.toml"), "broken").unwrap();
    fs::write(at("conf.d/note.txt"), "broken").unwrap();
    let one = load(&at("main.toml"), &no_variables);
    let config = one.config.unwrap();
    let names: Vec<&str> = config.listeners.iter().map(|listener| &*listener.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(one.files, [at("main.toml"), at("conf.d/a.toml"), at("conf.d/b.toml")]);
    assert_eq!(one.directories, [directory.path().to_owned(), at("conf.d")]);
    assert_eq!(load(&at("main.toml"), &no_variables).hash, one.hash);
    part("b", 3);
    assert_ne!(load(&at("main.toml"), &no_variables).hash, one.hash);
    assert!(parse("include = []", "text", &no_variables).config.is_err());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        let problems = load(path, &no_variables).config.unwrap_err();
        assert_eq!(problems.len(), 1, "{problems}");
        problems.to_string()
    };
    let missing = directory.path().join("missing.toml");
    let name = missing.display();
    assert_eq!(
        message(&missing),
        format!("{name}: cannot read `{name}`: no such file or directory\n")
    );
    assert!(message(directory.path()).contains("is a directory"));
    let large = directory.path().join("large.toml");
    fs::write(&large, vec![b'#'; (16 << 20) + 1]).unwrap();
    assert!(message(&large).contains("it is over 16 MiB"), "{}", message(&large));
    fs::write(&large, vec![b'\n'; 16 << 20]).unwrap();
    assert!(message(&large).contains("the file is empty"));
    let report = render(&load(&missing, &no_variables).config.unwrap_err(), false);
    assert!(report.contains(&format!("--> {name}")), "{report}");
}

#[test]
fn includes_are_bounded_in_depth() {
    let directory = tempfile::tempdir().unwrap();
    for depth in 0..20 {
        let text = format!("include = \"{}.toml\"\n", depth + 1);
        fs::write(directory.path().join(format!("{depth}.toml")), text).unwrap();
    }
    let loaded = load(&directory.path().join("0.toml"), &no_variables);
    assert!(loaded.config.unwrap_err().to_string().contains("files deep"));
    assert_eq!(loaded.files.len(), 9);
}
