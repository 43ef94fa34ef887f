//! What the tests need besides Rust, and how it is installed where it is missing: always said aloud.

use std::path::Path;
use std::process::Command;

use crate::run::{self, Outcome};

/// A program that the tests start, the Debian package that has it, and what it is for.
struct Need {
    command: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const NEEDS: &[Need] = &[
    Need { command: "cc", package: "gcc", purpose: "compiles the SQLite that the benchmarks compare with" },
    Need { command: "c++", package: "g++", purpose: "compiles the fuzzer" },
];

/// Installs what is missing.
pub(crate) fn install() -> Outcome {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !is_installed(need.command)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Need { command, package, purpose } in &missing {
        println!("{command} is missing, which {purpose}: installing the package {package}");
    }
    if !is_installed("apt-get") {
        let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
        return Err(format!("this system has no apt-get; install {} in its own way", packages.join(" and ")));
    }
    run::run(as_administrator("apt-get").args(["update", "--quiet"]))?;
    run::run(as_administrator("apt-get").args(["install", "--yes", "--quiet"]).args(missing.iter().map(|need| need.package)))
}

fn is_installed(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

fn as_administrator(program: &str) -> Command {
    let is_administrator = std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    if is_administrator || !Path::new("/usr/bin/sudo").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_noticed() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
