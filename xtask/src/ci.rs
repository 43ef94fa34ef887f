//! Everything that a change must pass. Every check runs, whatever an earlier one said, so that one run tells all.

use std::time::Instant;

use serde_json::Value;

use crate::run::{self, Outcome};
use crate::test::{self, Totals};
use crate::{fuzz, guarantees, tidy};

/// A check and its name.
type Check = (&'static str, fn() -> Outcome);

/// Runs the checks, then every test, and ends with the totals; each check that fails counts as one failure.
pub(crate) fn run() -> Outcome {
    let mut totals = Totals::default();
    let mut failed = Vec::new();
    let checks: [Check; 5] =
        [("format", format), ("clippy", clippy), ("documentation", documentation), ("tidy", tidy::run), ("guarantees", guarantees::check)];
    for (name, check) in checks {
        if !timed(name, check) {
            failed.push(name);
            totals.failed += 1;
        }
    }
    if !timed("tests", || test::run_all(fuzz::SECONDS_IN_TESTS, &mut totals)) {
        failed.push("tests");
    }
    totals.close(if failed.is_empty() { Ok(()) } else { Err(format!("{}; see above", failed.join(", "))) })
}

/// Runs a step and tells how it went and how long it took: whether it succeeded.
fn timed(name: &str, step: impl FnOnce() -> Outcome) -> bool {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = step();
    let seconds = start.elapsed().as_secs();
    match &outcome {
        Ok(()) => println!("== {name}: ok after {seconds} s"),
        Err(reason) => println!("== {name}: failed after {seconds} s: {reason}"),
    }
    outcome.is_ok()
}

fn format() -> Outcome {
    let workspace = run::run(run::cargo().args(["fmt", "--all", "--check"]));
    workspace.and(run::run(run::cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])))
}

/// The workspace with all features, then each crate with none and with each feature alone.
fn clippy() -> Outcome {
    let clippy =
        |choice: &[&str]| run::run(run::cargo().args(["clippy", "--quiet", "--all-targets"]).args(choice).args(["--", "-D", "warnings"]));
    let mut outcome = clippy(&["--workspace", "--all-features"]);
    for (package, features) in features(&run::metadata()?) {
        let alone = ["--package", &package, "--no-default-features"];
        outcome = outcome.and(clippy(&alone));
        for feature in features {
            outcome = outcome.and(clippy(&[&alone[..], &["--features", &feature]].concat()));
        }
    }
    outcome
}

fn documentation() -> Outcome {
    let mut doc = run::cargo();
    run::run(doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--all-features", "--no-deps", "--quiet"]))
}

/// The crates that have features to choose from, and those features.
fn features(metadata: &Value) -> Vec<(String, Vec<String>)> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let named = packages.filter_map(|package| {
        let features = package["features"].as_object()?.keys().filter(|name| *name != "default");
        Some((package["name"].as_str()?.to_owned(), features.cloned().collect::<Vec<_>>()))
    });
    named.filter(|(_, features)| !features.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_is_checked_alone() {
        let metadata = serde_json::json!({"packages": [
            {"name": "plain", "features": {}},
            {"name": "choosy", "features": {"default": ["one"], "one": [], "two": []}},
        ]});
        assert_eq!(features(&metadata), [("choosy".to_owned(), vec!["one".to_owned(), "two".to_owned()])]);
    }
}
