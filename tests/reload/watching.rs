//! The file changes on disk, in all the ways in which files change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::support::{Backend, Forebay, SOON, Start, eventually};

pub(super) fn file(backend: &Backend, more: &str) -> String {
    format!("{more}\n{}", Forebay::simple(&[backend.address()], ""))
}

#[track_caller]
pub(super) fn expect_served_by(forebay: &Forebay, name: &str) {
    eventually(SOON, || super::served_by(forebay) == name);
}

#[test]
fn an_atomic_save_is_noticed_every_time() {
    let backends = ["a", "b"].map(Backend::naming);
    let forebay = Forebay::start(&file(&backends[0], ""));
    for turn in 1..=4 {
        forebay.save(&file(&backends[turn % 2], ""));
        expect_served_by(&forebay, ["a", "b"][turn % 2]);
    }
}

#[test]
fn a_file_that_is_written_in_place_is_noticed() {
    let backends = ["a", "b"].map(Backend::naming);
    let forebay = Forebay::start(&file(&backends[0], ""));
    fs::write(forebay.config(), file(&backends[1], "")).unwrap();
    expect_served_by(&forebay, "b");
    // Gone for a while, then there again, as some editors do it.
    fs::remove_file(forebay.config()).unwrap();
    eventually(SOON, || forebay.status().outcome() == "refused");
    fs::write(forebay.config(), file(&backends[0], "")).unwrap();
    expect_served_by(&forebay, "a");
    eventually(SOON, || forebay.status().outcome() == "applied");
    // A mistake that is taken back leaves no alarm behind.
    fs::write(forebay.config(), "oops").unwrap();
    eventually(SOON, || forebay.status().outcome() == "refused");
    fs::write(forebay.config(), file(&backends[0], "")).unwrap();
    eventually(SOON, || forebay.status().outcome() == "unchanged");
}

#[test]
fn a_relative_path_is_watched_also_after_the_file_was_gone() {
    let backends = ["a", "b"].map(Backend::naming);
    let forebay = Start::new(file(&backends[0], "")).relative().start();
    for turn in 1..=3 {
        fs::remove_file(forebay.config()).unwrap();
        eventually(SOON, || forebay.status().outcome() == "refused");
        forebay.save(&file(&backends[turn % 2], ""));
        expect_served_by(&forebay, ["a", "b"][turn % 2]);
    }
}

#[test]
fn an_included_directory_is_watched() {
    let backends = ["a", "b"].map(Backend::naming);
    let pools = tempfile::tempdir().unwrap();
    let include = format!("include = [\"{}/*.toml\"]", pools.path().display());
    let forebay = Forebay::start(&file(&backends[0], &include));
    let other = format!(
        "[listener.more]\naddress = \"127.0.0.1:0\"\npool = \"other\"\n\
         [pool.other]\nbackends = [\"{}\"]\n",
        backends[1].address()
    );
    fs::write(pools.path().join("other.toml"), &other).unwrap();
    eventually(SOON, || forebay.status().address("more").is_some());
    fs::remove_file(pools.path().join("other.toml")).unwrap();
    eventually(SOON, || forebay.status().address("more").is_none());
}

/// As the kubelet lays out a mounted ConfigMap: the file is a link into `..data`, which is a link to
/// a directory of its own for each version, replaced by a rename.
fn publish(mount: &Path, version: &str, name: &str, text: &str) {
    let directory = mount.join(version);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(name), text).unwrap();
    symlink(version, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    if version == "..1" {
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
    }
}

/// Publishes three more versions, each of which is to be noticed.
fn expect_swaps_noticed(forebay: &Forebay, mount: &Path, name: &str) {
    let backends = ["a", "b"].map(Backend::naming);
    for (turn, version) in ["..2", "..3", "..4"].into_iter().enumerate() {
        publish(mount, version, name, &file(&backends[turn % 2], ""));
        expect_served_by(forebay, ["a", "b"][turn % 2]);
    }
}

#[test]
fn the_symlink_swap_of_a_config_map_is_noticed() {
    let first = Backend::naming("first");
    let mount = tempfile::tempdir().unwrap();
    publish(mount.path(), "..1", "app.toml", &file(&first, ""));
    let include = format!("include = [\"{}/app.toml\"]\n", mount.path().display());
    let forebay = Start::new(include).start();
    assert_eq!(super::served_by(&forebay), "first");
    expect_swaps_noticed(&forebay, mount.path(), "app.toml");
}

#[test]
fn the_file_itself_may_be_in_a_config_map() {
    let first = Backend::naming("first");
    const NAME: &str = "forebay.toml";
    let lay_out = |mount: &Path, text: &str| publish(mount, "..1", NAME, text);
    let forebay = Start::new(file(&first, "")).laid_out(lay_out).start();
    assert_eq!(super::served_by(&forebay), "first");
    expect_swaps_noticed(&forebay, forebay.directory(), NAME);
}

#[test]
fn a_file_behind_a_link_is_watched_where_it_really_is() {
    let backends = ["a", "b"].map(Backend::naming);
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("real.toml");
    fs::write(&real, file(&backends[0], "")).unwrap();
    let forebay = Start::new(format!("include = [\"{}\"]\n", real.display())).start();
    relink(&forebay, &real);
    fs::write(elsewhere.path().join("new"), file(&backends[1], "")).unwrap();
    fs::rename(elsewhere.path().join("new"), &real).unwrap();
    expect_served_by(&forebay, "b");
}

/// Makes the configuration itself a link to `real`.
fn relink(forebay: &Forebay, real: &Path) {
    let link = forebay.directory().join("link");
    symlink(real, &link).unwrap();
    fs::rename(&link, forebay.config()).unwrap();
}

#[test]
fn the_poll_alone_is_enough() {
    let backends = ["a", "b"].map(Backend::naming);
    let poll = "[reload]\nwatch = \"poll\"\ninterval = \"100ms\"";
    let forebay = Forebay::start(&file(&backends[0], poll));
    forebay.save(&file(&backends[1], poll));
    expect_served_by(&forebay, "b");
    // The poll can be turned off and on by a reload too.
    let before = forebay.status();
    forebay.save(&file(&backends[0], "[reload]\nwatch = \"off\""));
    assert_eq!(forebay.status_after(&before).outcome(), "applied");
    expect_served_by(&forebay, "a");
    let status = forebay.reload(&file(&backends[0], ""));
    assert_eq!(status.outcome(), "applied");
    forebay.save(&file(&backends[1], ""));
    expect_served_by(&forebay, "b");
}
