//! `unsafe` lives in a few named files, and every block of it says why it is sound.

use super::Finding;
use super::source::{self, File};

/// The files that may contain it, and what for.
const ALLOWED: &[(&str, &str)] = &[
    ("bench/src/limit.rs", "reading a mapped file is the limit to compare with"),
    ("crates/factum-engine/src/disk/real.rs", "system calls and memory maps"),
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let halves = file.halves();
    let lines = source::lines_with_word(&halves.code, "unsafe");
    if !is_allowed(&file.path) {
        let message = "unsafe outside the files that may have it (see xtask's tidy)";
        return lines.into_iter().map(|line| Finding::at(&file.path, line, message)).collect();
    }
    let code: Vec<&str> = halves.code.lines().collect();
    let comments: Vec<&str> = halves.comments.lines().collect();
    let bare = lines.into_iter().filter(|line| !is_explained(&code, &comments, line - 1));
    bare.map(|line| Finding::at(&file.path, line, "unsafe without a SAFETY comment right above")).collect()
}

/// The entries of the list that no file needs any more.
pub(super) fn stale(files: &[File]) -> Vec<Finding> {
    let needed = |path: &str| {
        let mut files = files.iter().filter(|file| file.path == path);
        files.any(|file| !source::lines_with_word(&file.halves().code, "unsafe").is_empty())
    };
    let unused = ALLOWED.iter().filter(|(path, _)| !needed(path));
    unused.map(|(path, _)| Finding::in_file(path, "has no unsafe; take it off tidy's list")).collect()
}

fn is_allowed(path: &str) -> bool {
    ALLOWED.iter().any(|(allowed, _)| *allowed == path)
}

/// Whether the comment is on the line, or above the statement that the line belongs to.
fn is_explained(code: &[&str], comments: &[&str], line: usize) -> bool {
    for above in (0..=line).rev() {
        if comments[above].contains("SAFETY:") {
            return true;
        }
        let ends_before = |text: &str| text.is_empty() && comments[above].trim().is_empty() || text.ends_with([';', '{', '}']);
        if above < line && ends_before(code[above].trim()) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        check(&File::new(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unsafe_stays_in_its_files() {
        assert_eq!(lines("src/a.rs", "//! A.\nfn f() { unsafe { g() } }\n"), [Some(2)]);
        assert_eq!(lines("src/a.rs", "//! unsafe in words.\n#![deny(unsafe_code)]\nconst A: &str = \"unsafe\";\n"), []);
    }

    #[test]
    fn unsafe_is_explained() {
        let allowed = ALLOWED[0].0;
        assert_eq!(lines(allowed, "fn f() {\n    unsafe { g() }\n}\n"), [Some(2)]);
        assert_eq!(lines(allowed, "// SAFETY: of another.\nfn f() {\n    unsafe { g() }\n}\n"), [Some(3)]);
        assert_eq!(
            lines(allowed, "fn f() {\n    // SAFETY: g asks for nothing\n    // at all.\n    let a =\n        unsafe { g() };\n}\n"),
            []
        );
    }

    #[test]
    fn the_list_shrinks_when_it_can() {
        assert_eq!(stale(&[File::new(ALLOWED[0].0, "fn f() {}")]).len(), ALLOWED.len());
    }
}
