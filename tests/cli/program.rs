//! The program as a test starts it, and the files that it is given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest useful file.
pub(crate) const SMALLEST: &str = "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\n\
                        [pool.app]\nbackends = [\"127.0.0.1:9\"]\n";

pub(crate) fn bare(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    for variable in ["FOREBAY_CONFIG", "FOREBAY_LOG", "FOREBAY_LOG_FORMAT"] {
        command.env_remove(variable);
    }
    command.args(line.split_whitespace());
    command
}

pub(crate) fn forebay(line: &str) -> Output {
    bare(line).output().unwrap()
}

pub(crate) fn code(out: &Output) -> i32 {
    out.status.code().expect("ended by a signal")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)))
}

pub(crate) fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A configuration file that is removed in the end.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    _directory: tempfile::TempDir,
}

impl File {
    pub(crate) fn new(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("forebay.toml");
        std::fs::write(&path, bytes).unwrap();
        Self { path, _directory: directory }
    }
}

impl std::fmt::Display for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The program while it runs; killed if the test ends before it does.
pub(crate) struct Running {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub(crate) fn start(line: &str) -> Self {
        let mut command = bare(line);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    pub(crate) fn ready(&mut self, path: &Path) -> String {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(text) = std::fs::read_to_string(path)
                && text != "web 127.0.0.1:1\n"
            {
                return text;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before it was ready");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("no ready file");
    }

    pub(crate) fn line_with(&mut self, part: &str) -> String {
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            if line.contains(part) {
                return line;
            }
            line.clear();
        }
        panic!("it ended without a line with `{part}`");
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn end(&mut self) -> (i32, String) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut rest = String::new();
                self.out.read_to_string(&mut rest).unwrap();
                return (status.code().expect("ended by a signal"), rest);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
