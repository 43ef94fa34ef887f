//! The house rules that no compiler checks. Each is a function from what is in the tree to what is wrong with it.

mod domain;
mod graph;
mod layout;
mod links;
mod source;
mod unfinished;
mod unsafety;

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::run::{self, Outcome};
use source::File;

/// One thing that is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1; `None` where it is the whole file.
    line: Option<usize>,
    message: String,
}

impl Finding {
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }

    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// Checks every rule.
pub(crate) fn run() -> Outcome {
    let root = run::root();
    let files = read_tree(&root)?;
    let metadata = run::metadata()?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(layout::check(file));
        findings.extend(unfinished::check(file));
        findings.extend(unsafety::check(file));
        findings.extend(domain::check(file));
        findings.extend(layout::machine_paths(file, &root.display().to_string()));
        findings.extend(links::check(file, |path| root.join(path).exists()));
    }
    findings.extend(unsafety::stale(&files));
    findings.extend(graph::arrows(&metadata));
    findings.extend(graph::lints(&metadata, |manifest| std::fs::read_to_string(manifest).unwrap_or_default()));
    findings.extend(graph::engine(&metadata, dependencies)?);
    findings.extend(graph::drivers(&metadata, dependencies)?);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("1 thing is not tidy".to_owned()),
        count => Err(format!("{count} things are not tidy")),
    }
}

/// Every text file that git knows or would add.
fn read_tree(root: &Path) -> Outcome<Vec<File>> {
    let mut list = Command::new("git");
    list.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut files = Vec::new();
    for path in run::output(&mut list)?.split_terminator('\0') {
        // A file that was removed but is still in the index can't be read, and need not be.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        files.push(File::new(path, text));
    }
    Ok(files)
}

/// The names of everything that a package's own code is built with, with these flags.
fn dependencies(package: &str, flags: &[&str]) -> Outcome<Vec<String>> {
    let mut tree = run::cargo();
    tree.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}"]).args(flags);
    let names = run::output(&mut tree)?.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>();
    Ok(names)
}
