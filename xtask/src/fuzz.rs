//! Fuzzing with the stable compiler alone.
//!
//! The coverage that libFuzzer follows comes from an LLVM pass that stable `rustc` runs when asked to; a nightly compiler and
//! cargo-fuzz would add only sanitizers. The folder is laid out as cargo-fuzz expects, for those who have it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::needs;
use crate::run::{self, Outcome};

/// How long a target runs with the tests.
pub(crate) const SECONDS_IN_TESTS: u64 = 20;
/// How long a target runs when a person starts it and says nothing else.
pub(crate) const SECONDS_BY_HAND: u64 = 300;

/// Edge counters, the table that names them, and the operands of comparisons, which the fuzzer learns magic numbers from.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// What stands in lines about single inputs and guesses.
const CHATTER: &[&str] =
    &["\tNEW ", "\tNEW_FUNC", "\tREDUCE ", "\tRELOAD ", " # Uses: ", "ecommended dictionary", "Failed to find function"];

/// The names of the targets.
pub(crate) fn targets() -> Outcome<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let files = std::fs::read_dir(&folder).map_err(|error| format!("{} can't be read: {error}", folder.display()))?;
    let names = files.filter_map(|file| Some(file.ok()?.file_name().to_str()?.strip_suffix(".rs")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// Fuzzes one target, or each in turn, for so many seconds.
pub(crate) fn run(target: Option<&str>, seconds: u64) -> Outcome {
    needs::install()?;
    let known = targets()?;
    let chosen = match target {
        None => known,
        Some(target) if known.iter().any(|name| name == target) => vec![target.to_owned()],
        Some(target) => return Err(format!("{target} is not a fuzz target; there are {}", known.join(", "))),
    };
    chosen.iter().try_for_each(|target| fuzz(target, seconds))
}

fn fuzz(target: &str, seconds: u64) -> Outcome {
    let built = run::target_dir()?.join("fuzz");
    // Naming the host as the target keeps the instrumentation out of build scripts and procedural macros.
    let host = host()?;
    let mut build = run::cargo();
    build.env("RUSTFLAGS", INSTRUMENTATION).env("CARGO_TARGET_DIR", &built).current_dir(folder());
    run::run(build.args(["build", "--release", "--quiet", "--target", &host, "--bin", target]))?;

    let corpus = made(folder().join("corpus").join(target))?;
    let artifacts = made(folder().join("artifacts").join(target))?;
    let mut fuzzer = Command::new(built.join(host).join("release").join(target));
    fuzzer.arg(corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
    // Inputs of full length from the start: in a short run they would stay a few bytes long.
    fuzzer.args([&format!("-max_total_time={seconds}"), "-max_len=8192", "-len_control=0", "-timeout=20", "-rss_limit_mb=2048"]);
    run_to_its_end(&mut fuzzer).map_err(|reason| format!("fuzzing {target}: {reason}; the input is in fuzz/artifacts/{target}"))
}

/// Runs the fuzzer without what it says of every input that it keeps; what it covers it says again with each pulse, and at the end.
fn run_to_its_end(fuzzer: &mut Command) -> Outcome {
    let mut child = fuzzer.stderr(Stdio::piped()).spawn().map_err(|error| format!("it can't be started: {error}"))?;
    let printed = BufReader::new(child.stderr.take().expect("it was piped"));
    for line in printed.split(b'\n') {
        let line = line.map_err(|error| format!("its output can't be read: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        if !CHATTER.iter().any(|chatter| line.contains(chatter)) {
            eprintln!("{line}");
        }
    }
    let status = child.wait().map_err(|error| format!("it can't be waited for: {error}"))?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

fn folder() -> PathBuf {
    run::root().join("fuzz")
}

fn made(folder: PathBuf) -> Outcome<PathBuf> {
    std::fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    Ok(folder)
}

/// The target triple that this machine's compiler compiles for.
fn host() -> Outcome<String> {
    let version = run::output(Command::new("rustc").args(["--version", "--verbose"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc names no host".to_owned())
}
