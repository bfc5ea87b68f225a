//! One container of the image, confined as a careful operator would, with a configuration of the test's.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::leftovers::own_name;
use super::support::{SOON, eventually};
use super::{Engine, Image};

/// What each container is denied.
const CONFINED: &[&str] =
    &["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];

const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

/// What to run.
#[derive(Debug)]
pub struct Run<'i> {
    image: &'i Image<'i>,
    config: String,
    options: Vec<String>,
    lay_out: fn(&Path, &str),
}

/// A running container; dropping it removes it.
#[derive(Debug)]
pub struct Container<'e> {
    engine: &'e Engine,
    name: String,
    directory: TempDir,
}

impl<'i> Run<'i> {
    /// This image with this configuration.
    pub fn new(image: &'i Image<'i>, config: impl Into<String>) -> Self {
        Self { image, config: config.into(), options: Vec::new(), lay_out: write }
    }

    /// With more options of `docker run`.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// With its configuration written into the directory in this way.
    pub fn laid_out(mut self, lay_out: fn(&Path, &str)) -> Self {
        self.lay_out = lay_out;
        self
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Container<'i> {
        let engine = self.image.engine();
        let directory = readable_directory();
        (self.lay_out)(directory.path(), &self.config);
        let container = Container { engine, name: own_name("run"), directory };
        let mount = format!("{}:/etc/forebay:ro", container.directory().display());
        let mut words = vec!["run", "-d", "--name", &container.name, "-v", &mount];
        words.extend(["--network", engine.network(), "-e", "FOREBAY_LOG_FORMAT=json"]);
        words.extend(CONFINED);
        words.extend(self.options.iter().map(String::as_str));
        words.push(self.image.name());
        engine.docker(&words);
        eventually(SOON, || container.logged("ready").is_some() || !container.is_running());
        assert!(container.is_running(), "it does not run; it said:\n{}", container.said());
        container
    }
}

impl Container<'_> {
    /// Its name in the engine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that it sees as /etc/forebay.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// One fact about it, as a Go template asks for it.
    #[track_caller]
    pub fn fact(&self, format: &str) -> String {
        self.engine.docker(&["container", "inspect", "-f", format, &self.name])
    }

    /// True exactly when its process lives.
    pub fn is_running(&self) -> bool {
        self.fact("{{.State.Running}}") == "true"
    }

    /// This port of it.
    #[track_caller]
    pub fn address(&self, port: u16) -> SocketAddr {
        let address: IpAddr = self.fact(ADDRESS).parse().unwrap();
        SocketAddr::new(address, port)
    }

    /// The number of its process as this machine counts.
    #[track_caller]
    pub fn process_id(&self) -> u32 {
        self.fact("{{.State.Pid}}").parse().unwrap()
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        let output = self.engine.command(&["logs", &self.name]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The last line logged with this message.
    pub fn logged(&self, message: &str) -> Option<Value> {
        let lines = self.said();
        let mut lines = lines.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| field(line, "message").is_some_and(|said| said == message))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let tail: Vec<&str> = said.lines().rev().take(30).collect();
            tail.iter().rev().for_each(|line| eprintln!("{}: {line}", self.name));
        }
        self.engine.remove(&["container", "rm", "-f", "-v", &self.name]);
    }
}

/// A field of a logged line.
pub fn field<'l>(line: &'l Value, name: &str) -> Option<&'l Value> {
    line.get(name).or_else(|| line.get("fields")?.get(name))
}

/// A number in a logged line.
#[track_caller]
pub fn number(line: &Value, name: &str) -> u64 {
    field(line, name).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// A directory that the container's user may read.
fn readable_directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), readable).unwrap();
    directory
}

/// Writes the configuration into `directory`, readable for all.
pub fn write(directory: &Path, config: &str) {
    let file = directory.join("forebay.toml");
    std::fs::write(&file, config).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
}
