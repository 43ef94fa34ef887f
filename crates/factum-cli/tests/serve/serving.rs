//! A running `factum serve`, on free ports and a store in a temporary folder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::wire::{WAIT_MAX, Wire};

/// A server; dropping it ends it.
pub(crate) struct Serving {
    folder: TempDir,
    store: String,
    options: Vec<String>,
    process: Child,
    redis: SocketAddr,
    http: Option<SocketAddr>,
}

impl Serving {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With more options than a store and free ports.
    pub(crate) fn with(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let store = format!("file:{}", folder.path().join("store").display());
        Self::in_folder(folder, store, options)
    }

    /// On this store.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn on(store: &str, options: &[&str]) -> Self {
        Self::in_folder(TempDir::new().expect("a temporary folder can be made"), store.to_owned(), options)
    }

    fn in_folder(folder: TempDir, store: String, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (process, redis, http) = launch(folder.path(), &store, &options);
        Self { folder, store, options, process, redis, http }
    }

    /// Starts it again on the same store, once it has ended; its ports are new.
    pub(crate) fn restart(&mut self) {
        (self.process, self.redis, self.http) = launch(self.folder.path(), &self.store, &self.options);
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(SocketAddr::from(([127, 0, 0, 1], self.redis.port())))
    }

    pub(crate) fn port(&self) -> u16 {
        self.redis.port()
    }

    /// The store's URL.
    pub(crate) fn store(&self) -> String {
        self.store.clone()
    }

    /// Where clients may leave files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs another command of the program on the same store.
    pub(crate) fn factum(&self, words: &[&str]) -> std::process::Output {
        program().args(words).args(["--store", &self.store()]).output().expect("the program can be run")
    }

    /// The body of a page of the second port.
    pub(crate) fn page(&self, path: &str) -> String {
        let (head, body) = self.answer(path, "");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body
    }

    /// What the second port answers to a request with these headers: its head and its body.
    pub(crate) fn answer(&self, path: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http.expect("it has a second port")).expect("it listens");
        stream.set_read_timeout(Some(WAIT_MAX)).expect("it is a socket");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: factum\r\nConnection: close\r\n{headers}\r\n").expect("it takes it");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        let (head, body) = page.split_once("\r\n\r\n").expect("an answer has a head");
        (head.to_owned(), body.to_owned())
    }

    /// A number of the page of metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.page("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("there is no {name} in {page}")).parse().expect("a number")
    }

    /// Waits until the log has a line with this in it.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < WAIT_MAX, "nothing of {text:?} in the log: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_of(self.folder.path())).expect("it logs")
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Lets its files have so many bytes from now on, as the end of a disk does; or as many as they like.
    pub(crate) fn limit_files(&self, bytes_max: Option<u64>) {
        let process = rustix::process::Pid::from_child(&self.process);
        let limit = rustix::process::Rlimit { current: bytes_max, maximum: None };
        rustix::process::prlimit(Some(process), rustix::process::Resource::Fsize, limit).expect("it is our own process");
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("there is kill").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it can be asked") {
                return status;
            }
            assert!(begun.elapsed() < WAIT_MAX, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The program, without what the surroundings say.
pub(crate) fn program() -> Command {
    without_surroundings(Command::new(env!("CARGO_BIN_EXE_factum")))
}

/// The program, which is not ended by a signal for wanting a file to be larger than it may be.
fn unharmed_by_limits() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_factum")]);
    without_surroundings(command)
}

fn without_surroundings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FACTUM_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Starts a server that is expected not to start: its code, and what it says.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) fn refused(options: &[&str]) -> (Option<i32>, String) {
    let mut command = program();
    command.args(["serve", "--redis", "127.0.0.1:0", "--http", "none"]).args(options).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the program can be run");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("it can be asked") {
            break status;
        }
        if begun.elapsed() > WAIT_MAX {
            process.kill().expect("it runs");
            panic!("it serves with {options:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    process.stderr.expect("it is piped").read_to_string(&mut said).expect("it is text");
    (status.code(), said)
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn launch(folder: &Path, store: &str, options: &[String]) -> (Child, SocketAddr, Option<SocketAddr>) {
    let mut command = unharmed_by_limits();
    command.args(["serve", "--json", "--store", store]).args(options);
    for option in ["--redis", "--http"] {
        if !options.iter().any(|given| given == option) {
            command.args([option, "127.0.0.1:0"]);
        }
    }
    let log = File::options().create(true).append(true).open(log_of(folder)).expect("the folder can be written to");
    let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program can be run");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("it can be read");
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
        let log = fs::read_to_string(log_of(folder)).unwrap_or_default();
        panic!("it says {line:?} instead of where it listens: {log}")
    });
    let address = |name: &str| said[name].as_str().map(|text| text.parse().expect("an address"));
    (process, address("redis").expect("it listens"), address("http"))
}
