//! The image under test: built once for one state of the sources, kept as a file, loaded by each test.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Engine;
use super::engine::{run, said};
use super::leftovers::{self, own_name};

/// What the image is made of, and what it is made with.
const INPUTS: &[&str] = &[
    ".dockerignore",
    "Cargo.lock",
    "Cargo.toml",
    "docker/Dockerfile",
    "docker/nsswitch.conf",
    "src",
    "tests/container/builder.sh",
];

/// Bound on one step of the making; minutes on two cores.
const PATIENCE: Duration = Duration::from_secs(600);

/// An image under a name of the test's own, which goes when this is dropped.
#[derive(Debug)]
pub struct Image<'e> {
    engine: &'e Engine,
    name: String,
}

impl<'e> Image<'e> {
    /// Forebay's, as docker/Dockerfile makes it of the sources as they are.
    #[track_caller]
    pub fn of_forebay(engine: &'e Engine) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("container");
        std::fs::create_dir_all(&directory).unwrap();
        // Tests run in processes of their own; the first one builds, the others wait.
        let lock = File::create(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        leftovers::remove(engine);
        let file = directory.join(format!("forebay-{}.tar", key()));
        if !file.exists() {
            forget_others(&directory);
            build(engine, &directory, &file);
        }
        let loaded = engine.docker(&["load", "-i", file.to_str().unwrap()]);
        let id = loaded.rsplit(' ').next().unwrap();
        let name = own_name("image");
        engine.docker(&["tag", id, &name]);
        Self { engine, name }
    }

    /// A shell and small servers, from Debian's static busybox.
    #[track_caller]
    pub fn of_busybox(engine: &'e Engine) -> Self {
        let root = tempfile::tempdir().unwrap();
        let programs = root.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        std::fs::copy(super::support::found("busybox").unwrap(), programs.join("busybox")).unwrap();
        for program in ["sh", "hostname", "httpd"] {
            std::os::unix::fs::symlink("busybox", programs.join(program)).unwrap();
        }
        let image = Self { engine, name: own_name("busybox") };
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root.path()).args(["-c", "bin"]);
        engine.import(tar, &image.name, PATIENCE);
        image
    }

    /// The engine that has it.
    pub fn engine(&self) -> &'e Engine {
        self.engine
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of all that a container of it holds, one a line and sorted; directories end in `/`.
    #[track_caller]
    pub fn files(&self) -> String {
        let container = self.engine.docker(&["create", "--name", &own_name("export"), &self.name]);
        let mut export = self.engine.command(&["export", &container]);
        let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
        let mut list = Command::new("tar");
        list.arg("-t").stdin(export.stdout.take().unwrap());
        let names = said(run(list, PATIENCE));
        assert!(export.wait().unwrap().success(), "it was not exported whole");
        self.engine.remove(&["container", "rm", &container]);
        let mut names: Vec<&str> = names.lines().collect();
        names.sort_unstable();
        names.join("\n")
    }

    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        let size = self.engine.docker(&["image", "inspect", "-f", "{{.Size}}", &self.name]);
        size.parse().unwrap()
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        self.engine.remove(&["image", "rm", &self.name]);
    }
}

/// Differs when anything differs that goes into the image.
fn key() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    INPUTS.iter().for_each(|input| collect(&root.join(input), &mut files));
    assert!(files.len() > 100, "only {} files were found", files.len());
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.strip_prefix(root).unwrap().to_str().unwrap());
        hash.update(std::fs::read(&file).unwrap());
    }
    hash.update(Command::new("rustc").arg("-vV").output().unwrap().stdout);
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// The file of this path, or all under it, in the order of their names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().for_each(|entry| collect(entry, files));
}

/// Images of other states of the sources are of no use any more.
fn forget_others(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "tar") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Builds the image and writes it to `file`, whole or not at all.
fn build(engine: &Engine, directory: &Path, file: &Path) {
    let began = std::time::Instant::now();
    let builder = Builder { engine, name: own_name("builder") };
    let mut root = Command::new("sh");
    root.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/container/builder.sh"));
    root.arg(directory);
    engine.import(root, &builder.name, PATIENCE);
    let made = began.elapsed();
    let image = Image { engine, name: own_name("built") };
    let base = format!("BUILDER={}", builder.name);
    let mut build = engine.command(&["build", "--network", "none", "--build-arg", &base]);
    build.args(["-f", "docker/Dockerfile", "-t", &image.name, "."]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    said(run(build, PATIENCE));
    // By its number, so that loading it brings no name along.
    let id = engine.docker(&["image", "inspect", "-f", "{{.Id}}", &image.name]);
    let draft = file.with_extension("draft");
    engine.docker(&["save", "-o", draft.to_str().unwrap(), &id]);
    std::fs::rename(draft, file).unwrap();
    let all = began.elapsed();
    let _ = writeln!(std::io::stderr(), "the builder was made in {made:?}, all in {all:?}");
}

/// The image that docker/Dockerfile starts from, and what is built on it.
struct Builder<'e> {
    engine: &'e Engine,
    name: String,
}

impl Drop for Builder<'_> {
    fn drop(&mut self) {
        leftovers::remove_image(self.engine, &self.name);
    }
}
