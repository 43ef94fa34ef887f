//! Which crate may know which, and what must never come in with them.

use std::path::Path;

use serde_json::Value;

use super::Finding;
use crate::run::Outcome;

/// The arrows of the architecture. Crates outside `crates/` may depend on anything, and nothing in it on them.
const ARROWS: &[(&str, &[&str])] =
    &[("factum-cli", &["factum-server", "factum"]), ("factum-server", &["factum"]), ("factum", &["factum-engine"]), ("factum-engine", &[])];

/// What tests may use besides.
const IN_TESTS: &str = "factum-servers";

/// What the engine, synchronous and blind to what an event is, is not built with. A name ending in `-` stands for all that begin so.
const NOT_IN_THE_ENGINE: &[&str] =
    &["async-", "async_", "axum", "futures", "futures-", "hyper", "mio", "serde_json", "smol", "tokio", "tokio-"];

/// What speaks to other stores, and what they bring: optional, and never in the default build of the binary.
const DRIVERS: &[&str] = &[
    "aws-",
    "deadpool",
    "fred",
    "hyper-rustls",
    "hyper-tls",
    "kurrentdb",
    "libsqlite3-sys",
    "reqwest",
    "redis",
    "rusqlite",
    "sqlx",
    "sqlx-",
    "tokio-postgres",
    "tonic",
];

/// Asks for the names of all that a package is built with, given cargo's flags for the choice of features.
pub(super) type Dependencies = fn(&str, &[&str]) -> Outcome<Vec<String>>;

pub(super) fn arrows(metadata: &Value) -> Vec<Finding> {
    let crates: Vec<&Value> = packages(metadata).filter(|package| is_in(package, "crates")).collect();
    let ours: Vec<&str> = packages(metadata).map(name).collect();
    let mut findings = Vec::new();
    for package in crates {
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name(package)) else {
            findings.push(Finding::in_file(&manifest(package), "has no place in the architecture; give it one in tidy's list of arrows"));
            continue;
        };
        let for_tests = |dependency: &&Value| dependency["kind"] == "dev" && name(dependency) == IN_TESTS;
        let dependencies = package["dependencies"].as_array().into_iter().flatten().filter(|one| !for_tests(one)).map(name);
        let wrong = dependencies.filter(|to| ours.contains(to) && *to != name(package) && !allowed.contains(to));
        findings.extend(wrong.map(|to| Finding::in_file(&manifest(package), format!("{} may not depend on {to}", name(package)))));
    }
    findings
}

/// Every crate of the workspace keeps the workspace's lints.
pub(super) fn lints(metadata: &Value, read: impl Fn(&str) -> String) -> Vec<Finding> {
    let kept = |text: &str| {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1).take_while(|line| !line.starts_with('['));
        lines.any(|line| line == "workspace = true")
    };
    let bare = packages(metadata).map(manifest).filter(|manifest| !kept(&read(manifest)));
    bare.map(|manifest| Finding::in_file(&manifest, "does not keep the workspace's lints; add [lints] workspace = true")).collect()
}

/// The engine knows no async, no network, no JSON, whatever its features.
pub(super) fn engine(metadata: &Value, dependencies: Dependencies) -> Outcome<Vec<Finding>> {
    unwanted(metadata, "factum-engine", &["--all-features"], NOT_IN_THE_ENGINE, dependencies)
}

/// The default build of the binary pulls in no network driver.
pub(super) fn drivers(metadata: &Value, dependencies: Dependencies) -> Outcome<Vec<Finding>> {
    unwanted(metadata, "factum-cli", &[], DRIVERS, dependencies)
}

fn unwanted(metadata: &Value, package: &str, flags: &[&str], unwanted: &[&str], dependencies: Dependencies) -> Outcome<Vec<Finding>> {
    let Some(found) = packages(metadata).find(|found| name(found) == package) else { return Ok(Vec::new()) };
    let mut names = dependencies(package, flags)?;
    names.sort();
    names.dedup();
    let matches = |name: &str, pattern: &str| name == pattern || pattern.ends_with(['-', '_']) && name.starts_with(pattern);
    names.retain(|name| unwanted.iter().any(|pattern| matches(name, pattern)));
    Ok(names
        .into_iter()
        .map(|name| Finding::in_file(&manifest(found), format!("{package} is built with {name}, which it must not be")))
        .collect())
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap_or_default()
}

fn manifest(package: &Value) -> String {
    package["manifest_path"].as_str().unwrap_or_default().to_owned()
}

/// Whether the package's folder is in that folder.
fn is_in(package: &Value, folder: &str) -> bool {
    let manifest = manifest(package);
    Path::new(&manifest).ancestors().nth(2).is_some_and(|parent| parent.ends_with(folder))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(folder: &str, name: &str, dependencies: &[&str]) -> Value {
        let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({"name": name})).collect();
        json!({"name": name, "manifest_path": format!("/x/{folder}/Cargo.toml"), "dependencies": dependencies})
    }

    #[test]
    fn an_arrow_against_the_architecture_is_noticed() {
        let metadata = |engine: &[&str], bench: &[&str]| {
            json!({"packages": [
                package("crates/factum", "factum", &["factum-engine", "serde"]),
                package("crates/factum-engine", "factum-engine", engine),
                package("bench", "factum-bench", bench),
            ]})
        };
        assert_eq!(arrows(&metadata(&["crc32c"], &["factum", "factum-engine"])), []);
        assert_eq!(arrows(&metadata(&["factum"], &[])).len(), 1);
        assert_eq!(arrows(&metadata(&["factum-bench"], &[])).len(), 1);
    }

    #[test]
    fn a_crate_without_a_place_is_noticed() {
        assert_eq!(arrows(&json!({"packages": [package("crates/factum-extra", "factum-extra", &[])]})).len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_noticed() {
        let metadata = json!({"packages": [package("crates/factum", "factum", &[])]});
        assert_eq!(lints(&metadata, |_| "[lints]\nworkspace = true\n".to_owned()), []);
        assert_eq!(lints(&metadata, |_| "[package]\nworkspace = true\n".to_owned()).len(), 1);
        assert_eq!(lints(&metadata, |_| "[lints]\n[dependencies]\nworkspace = true\n".to_owned()).len(), 1);
    }

    #[test]
    fn what_must_not_come_in_is_noticed() {
        let metadata =
            json!({"packages": [package("crates/factum-engine", "factum-engine", &[]), package("crates/factum-cli", "factum-cli", &[])]});
        let clean: Dependencies = |_, _| Ok(vec!["crc32c".to_owned(), "redistribute".to_owned(), "hashbrown".to_owned()]);
        let dirty: Dependencies = |_, _| Ok(vec!["tokio".to_owned(), "tokio-util".to_owned(), "redis".to_owned(), "redis".to_owned()]);
        assert_eq!(engine(&metadata, clean), Ok(Vec::new()));
        assert_eq!(drivers(&metadata, clean), Ok(Vec::new()));
        assert_eq!(engine(&metadata, dirty).expect("it answers").len(), 2);
        assert_eq!(drivers(&metadata, dirty).expect("it answers").len(), 1);
    }
}
