//! `cargo xtask bench`: builds what is measured, optimised, and runs it.

use crate::run::{self, Outcome};

/// Builds the benchmarks and the binary whose import they time, and runs them with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    run::run(run::cargo().args(["build", "--release", "--quiet", "--package", "factum-bench", "--package", "factum-cli"]))?;
    let program = run::target_dir()?.join("release/factum-bench");
    run::run(std::process::Command::new(program).args(arguments))
}
