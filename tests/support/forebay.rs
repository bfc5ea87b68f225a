//! The real binary as a child process: started, watched, signalled, and ended with the test.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Process, SOON, SessionLine, comes_true, eventually};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By a signal.
    Signalled(i32),
}

/// What to start.
#[derive(Debug)]
pub struct Start {
    program: PathBuf,
    config: String,
    output: Option<PathBuf>,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    before: Vec<String>,
    unread_log: bool,
    relative: bool,
    in_memory: bool,
    lay_out: fn(&Path, &str),
}

/// A running forebay; dropping it kills it.
#[derive(Debug)]
pub struct Forebay {
    child: Child,
    process: Process,
    directory: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
    read: Arc<AtomicBool>,
    reader: JoinHandle<()>,
    addresses: HashMap<String, Vec<String>>,
}

impl Start {
    /// With this configuration text.
    pub fn new(config: impl Into<String>) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_forebay").into(),
            config: config.into(),
            output: None,
            variables: Vec::new(),
            arguments: Vec::new(),
            before: Vec::new(),
            unread_log: false,
            relative: false,
            in_memory: false,
            lay_out: |directory, config| {
                std::fs::write(directory.join("forebay.toml"), config).unwrap();
            },
        }
    }

    /// With its file written into the directory in this way.
    pub fn laid_out(mut self, lay_out: fn(&Path, &str)) -> Self {
        self.lay_out = lay_out;
        self
    }

    /// With its file under a relative name.
    pub fn relative(mut self) -> Self {
        self.relative = true;
        self
    }

    /// In a directory that lies in memory, where the machine has one (shm_overview(7)): its files are
    /// replaced thousands of times, and a disk is waited for each time.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Another program that has the same command line.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = path.to_owned();
        self
    }

    /// With its standard output in this file.
    pub fn output(mut self, path: &Path) -> Self {
        self.output = Some(path.to_owned());
        self
    }

    /// With this variable in its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With `runtime.splice` set so.
    pub fn splice(mut self, mode: &str) -> Self {
        const TABLE: &str = "[runtime]\n";
        let at = self.config.find(TABLE).map_or_else(
            || {
                self.config.insert_str(0, TABLE);
                TABLE.len()
            },
            |start| start + TABLE.len(),
        );
        self.config.insert_str(at, &format!("splice = \"{mode}\"\n"));
        self
    }

    /// With its log as JSON and a line for each session.
    pub fn sessions(mut self) -> Self {
        self.arguments.extend(["--log-format".to_owned(), "json".to_owned()]);
        self.variable("FOREBAY_LOG", "debug")
    }

    /// With one more argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a log that nobody reads until `read_log`.
    pub fn unread_log(mut self) -> Self {
        self.unread_log = true;
        self
    }

    /// Started by this command (which must become it, as `ip netns exec NAME` does).
    pub fn under(mut self, command: &[&str]) -> Self {
        self.before = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Forebay {
        let mut forebay = self.spawn();
        forebay.await_ready();
        forebay
    }

    /// Starts it, expecting that it ends by itself; its exit and what it said.
    #[track_caller]
    pub fn fail(self) -> (Exit, String) {
        let mut forebay = self.spawn();
        (forebay.wait_exit(SOON), forebay.said())
    }

    fn spawn(self) -> Forebay {
        let in_memory = self.in_memory.then(|| tempfile::tempdir_in("/dev/shm").ok()).flatten();
        let directory = in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let file = directory.path().join("forebay.toml");
        (self.lay_out)(directory.path(), &self.config);
        let mut words = self.before;
        words.push(self.program.to_str().unwrap().to_owned());
        let mut command = Command::new(&words[0]);
        let name = if self.relative { Path::new("forebay.toml") } else { &file };
        command.args(&words[1..]).args(["run", "-c"]).arg(name);
        command.arg("--ready-file").arg(directory.path().join("ready"));
        command.arg("--status-file").arg(directory.path().join("status")).args(&self.arguments);
        command.envs(self.variables).current_dir(directory.path());
        let output = self.output.map(|path| Stdio::from(std::fs::File::create(path).unwrap()));
        command.stdin(Stdio::null()).stdout(output.unwrap_or_else(Stdio::null));
        command.stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (from, to) = (child.stderr.take().unwrap(), Arc::clone(&lines));
        let read = Arc::new(AtomicBool::new(!self.unread_log));
        let may_read = Arc::clone(&read);
        let reader = std::thread::spawn(move || {
            wait_for_leave_or_the_end(&from, &may_read);
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                to.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let process = Process::new(child.id());
        Forebay { child, process, directory, lines, read, reader, addresses: HashMap::new() }
    }
}

/// Holds the reading end of a pipe without reading, until that is wanted or the writing end is closed.
fn wait_for_leave_or_the_end(pipe: &ChildStderr, may_read: &AtomicBool) {
    let look = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let mut events = [PollFd::new(pipe, PollFlags::empty())];
    while !may_read.load(Ordering::SeqCst) && poll(&mut events, Some(&look)) == Ok(0) {}
}

impl Forebay {
    /// Starts it with this configuration and waits until it listens.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Start::new(config).start()
    }

    /// In front of `backends`, as listener "web" and pool "app" with every default.
    #[track_caller]
    pub fn before(backends: &[SocketAddr]) -> Self {
        Self::start(&Self::simple(backends, ""))
    }

    /// The configuration of `before`, with more lines for the pool.
    pub fn simple(backends: &[SocketAddr], pool: &str) -> String {
        let backends: Vec<String> = backends.iter().map(ToString::to_string).collect();
        format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
             [pool.app]\nbackends = {backends:?}\n{pool}\n"
        )
    }

    /// The TCP address of a listener, its first if there are several.
    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        let all = self.addresses.get(listener).unwrap_or_else(|| panic!("no listener {listener}"));
        all[0].parse().unwrap()
    }

    /// The names of its listeners, in no order.
    pub fn listeners(&self) -> Vec<String> {
        self.addresses.keys().cloned().collect()
    }

    /// Every address of a listener, as the ready file has it.
    pub fn addresses(&self, listener: &str) -> &[String] {
        self.addresses.get(listener).map_or(&[], Vec::as_slice)
    }

    /// The directory that it runs in, which holds its configuration.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("forebay.toml")
    }

    /// All that it has said on stderr.
    pub fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Reads the log from here on, which nobody has read yet.
    pub fn read_log(&self) {
        self.read.store(true, Ordering::SeqCst);
    }

    /// How many lines it has said on stderr.
    pub fn lines(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// The sessions that have ended, if it was started with `Start::sessions`.
    pub fn sessions(&self) -> Vec<SessionLine> {
        self.lines.lock().unwrap().iter().filter_map(|line| SessionLine::read(line)).collect()
    }

    /// The only session that has ended; waits for it.
    #[track_caller]
    pub fn only_session(&self) -> SessionLine {
        eventually(SOON, || !self.sessions().is_empty());
        let mut sessions = self.sessions();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions.remove(0)
    }

    /// Waits until its log holds `part`: what it does is seen before its log's own thread has told it.
    #[track_caller]
    pub fn expect_said(&self, part: &str) {
        let told = comes_true(SOON, || self.said().contains(part));
        assert!(told, "no {part:?} in what it said:\n{}", self.said());
    }

    /// Waits for its end, and for the last that it said.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> Exit {
        use std::os::unix::process::ExitStatusExt as _;
        let mut status = None;
        let ended = comes_true(within, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "still running after {within:?}; it said:\n{}", self.said());
        eventually(SOON, || self.reader.is_finished());
        let status = status.expect("it has ended");
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signalled(signal.unwrap_or(0)),
        }
    }

    /// True exactly when it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops it without its knowledge, until `wake`.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
        eventually(SOON, || self.process.is_stopped());
    }

    /// Lets it go on after `freeze`.
    pub fn wake(&self) {
        self.process.signal(Signal::CONT);
    }

    #[track_caller]
    fn await_ready(&mut self) {
        let file = self.directory.path().join("ready");
        let ready = comes_true(SOON, || file.exists() || !self.is_running());
        assert!(ready && self.is_running(), "it does not listen; it said:\n{}", self.said());
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let (listener, address) = line.split_once(' ').expect("LISTENER ADDRESS");
            self.addresses.entry(listener.to_owned()).or_default().push(address.to_owned());
        }
    }
}

impl Deref for Forebay {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Drop for Forebay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let tail: Vec<&str> = said.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                eprintln!("forebay: {line}");
            }
        }
    }
}
