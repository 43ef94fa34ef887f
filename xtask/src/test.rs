//! Every test: cargo's, then each fuzz target for a short time, and one closing line with the totals.

use crate::run::{self, Outcome};
use crate::{fuzz, needs};

/// So many lines of what failed tests printed are repeated at the end.
const REPEATED_LINES_MAX: usize = 400;

/// How many tests passed, failed and were skipped, and what those that failed printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    failures: Vec<String>,
    in_failures: bool,
}

/// Runs every test and ends with the totals.
pub(crate) fn run(fuzz_seconds: u64) -> Outcome {
    let mut totals = Totals::default();
    let outcome = run_all(fuzz_seconds, &mut totals);
    totals.close(outcome)
}

/// Runs every test and adds up what became of it. The error is the first failure; the others ran all the same.
pub(crate) fn run_all(fuzz_seconds: u64, totals: &mut Totals) -> Outcome {
    needs::install()?;
    needs::install_clients()?;
    let failed_before = totals.failed;
    let tests = run::watch(run::cargo().args(["test", "--workspace", "--all-features", "--no-fail-fast"]), |line| totals.add(line));
    if tests.is_err() && totals.failed == failed_before {
        // Something did not compile, or a test binary died before it could count.
        totals.failed += 1;
    }
    let fuzzing = if fuzz_seconds == 0 { Ok(()) } else { fuzz_all(fuzz_seconds, totals) };
    tests.and(fuzzing)
}

fn fuzz_all(seconds: u64, totals: &mut Totals) -> Outcome {
    let mut outcome = Ok(());
    for target in fuzz::targets()? {
        let run = fuzz::run(Some(&target), seconds);
        match run {
            Ok(()) => totals.passed += 1,
            Err(_) => totals.failed += 1,
        }
        outcome = outcome.and(run);
    }
    outcome
}

impl Totals {
    /// Adds what a test runner's summary line says, and keeps what it says of failures.
    fn add(&mut self, line: &str) {
        self.in_failures |= line == "failures:";
        let Some(summary) = line.trim_start().strip_prefix("test result: ") else {
            if self.in_failures && self.failures.len() < REPEATED_LINES_MAX {
                self.failures.push(line.to_owned());
            }
            return;
        };
        self.in_failures = false;
        for part in summary.split(['.', ';']) {
            match part.trim().split_once(' ').map(|(count, what)| (count.parse::<u64>(), what)) {
                Some((Ok(count), "passed")) => self.passed += count,
                Some((Ok(count), "failed")) => self.failed += count,
                Some((Ok(count), "ignored")) => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Prints what failed once more, the reason, and the closing line: whoever looks at the end of a long run finds it there.
    pub(crate) fn close(self, outcome: Outcome) -> Outcome {
        for line in &self.failures {
            println!("{line}");
        }
        if let Err(reason) = &outcome {
            println!("\nfailed: {reason}");
        }
        let Self { passed, failed, skipped, .. } = self;
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 { outcome.and(Err(format!("{failed} failed"))) } else { outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sums_of_the_runners_lines() {
        let mut totals = Totals::default();
        totals.add("test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.11s");
        totals.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        totals.add("test 7 passed ... ok");
        assert_eq!(totals, Totals { passed: 16, failed: 2, skipped: 3, ..Totals::default() });
    }

    #[test]
    fn what_failed_is_kept_for_the_end() {
        let mut totals = Totals::default();
        for line in
            ["test it ... FAILED", "failures:", "---- it stdout ----", "panicked", "failures:", "    it", "test result: FAILED. 0 passed"]
        {
            totals.add(line);
        }
        totals.add("test other ... ok");
        assert_eq!(totals.failures, ["failures:", "---- it stdout ----", "panicked", "failures:", "    it"]);
    }

    #[test]
    fn a_failed_test_fails_the_run() {
        let totals = |failed, skipped| Totals { passed: 5, failed, skipped, ..Totals::default() };
        assert!(totals(1, 0).close(Ok(())).is_err());
        assert!(totals(0, 0).close(Err("cargo test failed".to_owned())).is_err());
        assert!(totals(0, 2).close(Ok(())).is_ok());
    }
}
