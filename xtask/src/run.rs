//! Running programs: says what it runs, lets the output through as it comes, and makes an error of a failure.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a chore came to; the error is a sentence for the person who called it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> Outcome<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
    Ok(PathBuf::from(folder))
}

/// What cargo knows of the workspace's own packages.
pub(crate) fn metadata() -> Outcome<serde_json::Value> {
    let text = output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata printed no JSON: {error}"))
}

/// Cargo, in the folder of the workspace.
///
/// What cargo told this process about xtask is taken out of the environment: build scripts that look at it would run again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    announce(command);
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command))) }
}

/// Runs it to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        return Err(format!("{} failed ({})", shown(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{} printed something that is not text", shown(command)))
}

/// Runs it to its end, letting its standard output through and showing each line of it to `see`.
pub(crate) fn watch(command: &mut Command, see: impl FnMut(&str)) -> Outcome {
    announce(command);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| cannot_start(command, &error))?;
    let printed = child.stdout.take().expect("it was piped");
    pass_on(printed, std::io::stdout(), see).map_err(|error| format!("reading the output of {}: {error}", shown(command)))?;
    let status = child.wait().map_err(|error| format!("waiting for {}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command))) }
}

/// Copies what comes as it comes, half lines too, and shows each whole line to `see`.
fn pass_on(mut from: impl Read, mut to: impl Write, mut see: impl FnMut(&str)) -> std::io::Result<()> {
    let mut line = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let count = from.read(&mut chunk)?;
        let Some(new) = chunk.get(..count).filter(|new| !new.is_empty()) else { break };
        // A closed pipe behind us is no reason to leave the program half done.
        let _ = to.write_all(new).and_then(|()| to.flush());
        for byte in new {
            if *byte == b'\n' {
                see(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
    see(&String::from_utf8_lossy(&line));
    Ok(())
}

fn announce(command: &Command) {
    eprintln!("$ {}", shown(command));
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    command.get_args().fold(name, |text, argument| text + " " + &argument.to_string_lossy())
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("{} can't be started: {error}", shown(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_passed_on_and_seen_by_lines() {
        let (mut passed, mut lines) = (Vec::new(), Vec::new());
        pass_on(&b"one\ntwo"[..], &mut passed, |line| lines.push(line.to_owned())).expect("memory can be read");
        assert_eq!((passed.as_slice(), lines.as_slice()), (&b"one\ntwo"[..], &["one".to_owned(), "two".to_owned()][..]));
    }

    #[test]
    fn a_failure_is_an_error_that_names_the_program() {
        assert!(run(&mut Command::new("false")).expect_err("it fails").starts_with("false failed"));
        assert!(watch(&mut Command::new("false"), |_| {}).is_err());
        assert!(output(&mut Command::new("no-such-program")).expect_err("it is not there").contains("can't be started"));
    }
}
