//! A file replaced in the mounted directory is taken into use, in each of the ways in which that is done.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::container::{number, write};
use super::support::{Backend, Peer, SOON, eventually};
use super::{Container, Engine, Image, Run};

/// A backend on this machine that says its name to whoever connects.
fn naming(engine: &Engine, name: &'static str) -> Backend {
    Backend::at((engine.gateway(), 0).into(), move |peer| {
        let _ = peer.stream().write_all(format!("{name}\n").as_bytes());
    })
}

fn before(backend: &Backend) -> String {
    super::confinement::before(&backend.address().to_string())
}

fn name_of_backend(container: &Container) -> Option<String> {
    Peer::try_connect(container.address(8080)).ok()?.line()
}

/// Waits for a reload after `generation`; the generation that it made.
#[track_caller]
fn await_reload(container: &Container, generation: u64) -> u64 {
    let current = || container.logged("reloaded").map_or(0, |line| number(&line, "generation"));
    eventually(SOON * 2, || current() > generation);
    current()
}

#[test]
fn a_file_replaced_by_rename_is_reloaded() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let (first, second) = (naming(&engine, "first"), naming(&engine, "second"));
    let container = Run::new(&image, before(&first)).start();
    assert_eq!(name_of_backend(&container).as_deref(), Some("first"));
    let mut generation = 0;
    // Twice: a watch that is tied to an inode hears only of the first.
    for (backend, name) in [(&second, "second"), (&first, "first")] {
        let draft = container.directory().join("draft");
        std::fs::create_dir(&draft).unwrap();
        write(&draft, &before(backend));
        let file = container.directory().join("forebay.toml");
        std::fs::rename(draft.join("forebay.toml"), file).unwrap();
        std::fs::remove_dir(draft).unwrap();
        generation = await_reload(&container, generation);
        assert_eq!(name_of_backend(&container).as_deref(), Some(name));
    }
}

/// What kubelet does for a ConfigMap: the files are links through `..data`, itself a link to a
/// directory of its own for each version; a change is one rename of that link.
fn write_version(directory: &Path, version: &str, config: &str) {
    let inside = directory.join(version);
    std::fs::create_dir(&inside).unwrap();
    write(&inside, config);
    symlink(version, directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

#[test]
fn a_config_map_whose_links_are_swapped_is_reloaded() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let (first, second) = (naming(&engine, "first"), naming(&engine, "second"));
    let container = Run::new(&image, before(&first))
        .laid_out(|directory, config| {
            write_version(directory, "..2026_01", config);
            symlink("..data/forebay.toml", directory.join("forebay.toml")).unwrap();
        })
        .start();
    assert_eq!(name_of_backend(&container).as_deref(), Some("first"));
    let mut generation = 0;
    for (version, before_version, backend, name) in
        [("..2026_02", "..2026_01", &second, "second"), ("..2026_03", "..2026_02", &first, "first")]
    {
        write_version(container.directory(), version, &before(backend));
        std::fs::remove_dir_all(container.directory().join(before_version)).unwrap();
        generation = await_reload(&container, generation);
        assert_eq!(name_of_backend(&container).as_deref(), Some(name));
    }
}
