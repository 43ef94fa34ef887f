//! docs/guarantees.md: the table of what each store guarantees, printed by the conformance suite and not written by hand.

use std::path::PathBuf;

use crate::run::{self, Outcome};

/// Writes the table anew.
pub(crate) fn write() -> Outcome {
    let table = print()?;
    let path = path();
    let folder = path.parent().expect("it is in a folder");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, table));
    written.map_err(|error| format!("{} can't be written: {error}", path.display()))
}

/// Checks that the table is what the suite prints today.
pub(crate) fn check() -> Outcome {
    let path = path();
    let written = std::fs::read_to_string(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    match first_difference(&written, &print()?) {
        None => Ok(()),
        Some(line) => Err(format!("docs/guarantees.md is out of date from line {line} on; run `cargo xtask guarantees`")),
    }
}

/// Runs the example that prints it, built together with the rest of the workspace: on its own it would build the dependencies anew.
fn print() -> Outcome<String> {
    run::run(run::cargo().args(["build", "--workspace", "--all-features", "--examples", "--quiet"]))?;
    let example = run::target_dir()?.join("debug/examples/guarantees");
    run::output(std::process::Command::new(example).current_dir(run::root()))
}

fn path() -> PathBuf {
    run::root().join("docs/guarantees.md")
}

/// The number of the first line in which the two differ.
fn first_difference(written: &str, printed: &str) -> Option<usize> {
    let (mut written, mut printed) = (written.lines(), printed.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (written.next(), printed.next()) {
            (None, None) => return None,
            (written, printed) if written == printed => {}
            _ => return Some(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_table_is_noticed() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    }
}
