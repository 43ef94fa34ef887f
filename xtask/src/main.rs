//! The project's chores, run as `cargo xtask …`.
//!
//! It depends on next to nothing, so that a fresh checkout has it in a few seconds.

mod bench;
mod ci;
mod fuzz;
mod guarantees;
mod needs;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask ci                                   everything that a change must pass, tests included
cargo xtask test [--fuzz-seconds N]              every test, then each fuzz target for N seconds (default 20; 0 for none)
cargo xtask tidy                                 the house rules that no compiler checks
cargo xtask guarantees [--check]                 write docs/guarantees.md, or check that it is up to date
cargo xtask fuzz [--seconds N] [TARGET]          fuzz one target, or each in turn
cargo xtask bench [--scale N] [--only NAME] …    measure; `cargo xtask bench --help` has the rest";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["ci"] => ci::run(),
        ["test"] => test::run(fuzz::SECONDS_IN_TESTS),
        ["test", "--fuzz-seconds", seconds] => number(seconds).and_then(test::run),
        ["tidy"] => tidy::run(),
        ["guarantees"] => guarantees::write(),
        ["guarantees", "--check"] => guarantees::check(),
        ["fuzz"] => fuzz::run(None, fuzz::SECONDS_BY_HAND),
        ["fuzz", "--seconds", seconds] => number(seconds).and_then(|seconds| fuzz::run(None, seconds)),
        ["fuzz", "--seconds", seconds, target] => number(seconds).and_then(|seconds| fuzz::run(Some(target), seconds)),
        ["fuzz", target] if !target.starts_with('-') => fuzz::run(Some(target), fuzz::SECONDS_BY_HAND),
        ["bench", rest @ ..] => bench::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("cargo xtask {}: no such command\n\n{USAGE}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> run::Outcome<u64> {
    text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))
}
