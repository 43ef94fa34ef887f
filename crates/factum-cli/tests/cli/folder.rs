//! A folder to run `factum` in, gone after the test.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// An empty folder, and `factum` in it.
pub(crate) struct Folder(TempDir);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder can be made"))
    }

    /// A folder with a store in `factum-data` that holds these lines.
    pub(crate) fn with_events(lines: &str) -> Self {
        let folder = Self::new();
        folder.write("events.jsonl", lines);
        folder.run(&["import", "events.jsonl"]).succeeded();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("the folder can be written to");
    }

    /// A command that has not been started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_factum"));
        command.args(words).current_dir(self.0.path()).env_remove("FACTUM_STORE").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().expect("the program can be run"))
    }

    /// Runs a command with something on its standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut child = self.start(self.command(words).stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that stops early does not read everything.
        _ = stdin.write_all(input.as_ref());
        drop(stdin);
        Ran::of(child.wait_with_output().expect("the program can be waited for"))
    }

    pub(crate) fn start(&self, command: &mut Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started")
    }

    /// What a command prints with `--json`, line by line.
    pub(crate) fn json(&self, words: &[&str]) -> Vec<Value> {
        let ran = self.run(&[words, &["--json"]].concat());
        ran.succeeded().json()
    }
}

impl Ran {
    fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// The error, which stands on one line.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let errors: Vec<&str> = self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one line says what is wrong: {self:?}");
        errors[0]
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// Events of five streams, interleaved, as lines.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) fn lines_of_five_streams(count: u32) -> String {
    let line = |number: u32| {
        let id = uuid::Uuid::from_u128(u128::from(number));
        let (stream, tag, kind) = (number % 5, number % 3, ["Placed", "Paid"][(number % 2) as usize]);
        format!(
            "{{\"stream\":\"Order-{stream}\",\"type\":\"{kind}\",\"id\":\"{id}\",\"time\":\"2026-03-01T00:00:00Z\",\"data\":{{\"n\":{number}}},\"tags\":[\"t{tag}\"]}}\n"
        )
    };
    (1..=count).map(line).collect()
}
