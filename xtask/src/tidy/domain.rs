//! The domain decides from what it is given: `domain/` reads no clock and does no I/O.

use super::Finding;
use super::source::{self, File};

const FORBIDDEN: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "now_v7",
    "new_v4",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "tokio::fs",
    "tokio::io",
    "tokio::net",
    "tokio::time",
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    if !file.is_rust() || !file.path.split('/').any(|folder| folder == "domain") {
        return Vec::new();
    }
    let code = file.halves().code;
    let mut findings = Vec::new();
    for word in FORBIDDEN {
        let lines = source::lines_with_word(&code, word).into_iter();
        findings
            .extend(lines.map(|line| Finding::at(&file.path, line, format!("{word} in the domain, which reads no clock and does no I/O"))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_reads_no_clock_and_does_no_io() {
        let text = "//! A.\nuse std::fs::File;\nfn f() { Timestamp::now(); }\n";
        assert_eq!(check(&File::new("crates/factum/src/domain/decider.rs", text)).len(), 2);
        assert_eq!(check(&File::new("crates/factum/src/backend/memory.rs", text)), []);
    }
}
