//! The README's shell examples do what they say: they are run as printed, one after another, in an empty directory.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn shell_examples_of_the_readme_run_as_printed() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).expect("the README can be read");
    let script = shell_blocks(&text).join("\n");
    assert!(script.contains("factum append") && script.contains("factum replay"), "the README has shell examples");

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let output = Command::new("sh")
        .args(["-e", "-c", &script])
        .current_dir(directory.path())
        .env("PATH", path_with_factum())
        .env_remove("FACTUM_STORE")
        .output()
        .expect("there is a shell");
    let (printed, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{printed}\n{complaints}", output.status);
    assert!(printed.contains("a conflict, exit code 3"), "{printed}");
    assert!(!printed.contains("damaged"), "{printed}");
}

/// What stands between "```sh" and "```".
fn shell_blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match &mut block {
            None if line == "```sh" => block = Some(String::new()),
            None => {}
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(lines) => *lines += &format!("{line}\n"),
        }
    }
    blocks
}

/// The search path, with the binary under test first.
fn path_with_factum() -> std::ffi::OsString {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_factum"));
    let folder = binary.parent().expect("a binary is in a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).expect("the paths can be joined")
}
