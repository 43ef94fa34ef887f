//! How files are named, how long they are, how they open, and that none of them knows the machine it was written on.

use super::Finding;
use super::source::File;

const LINES_MAX: usize = 600;
const NAMES_THAT_SAY_NOTHING: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];
/// In two pieces, so that this file does not find itself.
const HOMES: &[&str] = &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("C:\\Us", "ers\\")];

pub(super) fn check(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(Finding::at(&file.path, 1, "opens without a //! sentence that says what it is"));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::in_file(&file.path, format!("has {lines} lines; beyond {LINES_MAX} there is a second idea to look for")));
    }
    let mut names = file.path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.find(|name| NAMES_THAT_SAY_NOTHING.contains(name)) {
        findings.push(Finding::in_file(&file.path, format!("{name} says nothing; name it after what it knows")));
    }
    findings
}

/// Paths that hold on one machine only: people's home folders, and where this checkout is.
pub(super) fn machine_paths(file: &File, checkout: &str) -> Vec<Finding> {
    // A checkout right below the root has too short a name to look for.
    let checkout = Some(checkout).filter(|path| path.matches('/').count() > 1);
    let has = |line: &str| HOMES.iter().copied().chain(checkout).any(|path| line.contains(path));
    let lines = file.text.lines().enumerate().filter(|(_, line)| has(line));
    lines.map(|(index, _)| Finding::at(&file.path, index + 1, "a path of one machine")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&File::new(path, text)).len()
    }

    #[test]
    fn a_file_opens_with_what_it_is() {
        assert_eq!(findings("src/a.rs", "use std::fmt;\n"), 1);
        assert_eq!(findings("src/a.rs", "//! A.\n"), 0);
    }

    #[test]
    fn a_long_file_is_noticed() {
        assert_eq!(findings("src/a.rs", &"//! A.\n".repeat(LINES_MAX)), 0);
        assert_eq!(findings("src/a.rs", &"//! A.\n".repeat(LINES_MAX + 1)), 1);
    }

    #[test]
    fn a_name_that_says_nothing_is_noticed() {
        assert_eq!(findings("src/utils.rs", "//! A.\n"), 1);
        assert_eq!(findings("src/common/mod.rs", "//! A.\n"), 1);
        assert_eq!(findings("src/uncommon.rs", "//! A.\n"), 0);
    }

    #[test]
    fn a_path_of_one_machine_is_noticed() {
        let paths = |text: &str| machine_paths(&File::new("README.md", text), "/srv/builds/factum").len();
        assert_eq!(paths(&format!("cd {}someone/factum", HOMES[0])), 1);
        assert_eq!(paths("cd /srv/builds/factum/bench"), 1);
        assert_eq!(paths("ls /srv/data"), 0);
    }
}
