//! The table of guarantees: what each store says of itself, and what the checks found, as Markdown.

use std::fmt::Write;
use std::sync::Arc;

use uuid::Uuid;

use super::{Outcome, Subject, checks, run};
use crate::{Capabilities, Idempotency, Result, Support};

/// Plays every check against every store, and tells the outcome in two tables: what the stores say of themselves, and what was found.
///
/// The same stores give the same text, to the byte.
///
/// # Errors
/// If a store can't be opened.
pub async fn guarantees(subjects: &[Arc<dyn Subject>]) -> Result<String> {
    let mut stores = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let place = format!("c{}", Uuid::now_v7().simple());
        let store = subject.open(&place).await?;
        stores.push(store.capabilities());
        store.close().await?;
        drop(store);
        subject.discard(&place).await;
    }
    let mut text = String::from(INTRODUCTION);
    let names: Vec<_> = subjects.iter().map(|subject| subject.name().to_owned()).collect();
    text.push_str("\n## What each store says of itself\n\n");
    row(&mut text, "", &names);
    rule(&mut text, names.len());
    for (what, words) in CAPABILITIES {
        row(&mut text, what, &stores.iter().map(words).collect::<Vec<_>>());
    }
    text.push_str("\n## What the checks found\n");
    let mut area = "";
    for check in checks() {
        if check.area() != area {
            area = check.area();
            let _ = write!(text, "\n### {}\n\n", title(area));
            row(&mut text, "rule", &names);
            rule(&mut text, names.len());
        }
        let mut found = Vec::with_capacity(subjects.len());
        for subject in subjects {
            found.push(match run(&check, subject).await {
                Outcome::Passed => "yes".to_owned(),
                Outcome::Skipped { reason } => format!("skipped: {reason}"),
                Outcome::Failed { .. } => "**no**".to_owned(),
            });
        }
        row(&mut text, &format!("{} <br> `{}`", check.rule, check.name), &found);
    }
    Ok(text)
}

const INTRODUCTION: &str = "\
# Guarantees

What every store promises, and what the conformance checks found when they were played against it. A check that needs what a store
says it can't do is skipped, with the store's reason. This page is printed by `cargo xtask guarantees`, not written by hand.
";

type Words = fn(&Capabilities) -> String;

const CAPABILITIES: &[(&str, Words)] = &[
    ("an acknowledged append survives", |store| store.durability.to_owned()),
    ("appends over several streams", |store| support(store.multi_stream_append)),
    ("appends that write records too", |store| support(store.records_in_append)),
    ("appends begun one after the other stand in that order", |store| support(store.appends_in_order)),
    ("appends under a condition", |store| support(store.conditions)),
    ("a repeated append is recognised", |store| match store.idempotency {
        Idempotency::Forever => "for ever".to_owned(),
        Idempotency::Window(window) => format!("for ever with an exact version, else {window}"),
    }),
    ("positions without gaps", |store| support(store.contiguous_positions)),
    ("`recorded_at` never goes back in the whole log", |store| support(store.monotonic_log_time)),
    ("queries answered from an index", |store| support(store.indexed_queries)),
    ("`truncate_before`", |store| support(store.truncate)),
    ("events outlive the process", |store| support(store.persistent)),
    ("data and metadata of one event, at most", |store| size(store.limits.payload_bytes_max)),
    ("events of one append, at most", |store| store.limits.append_events_max.to_string()),
    ("one append, at most", |store| size(store.limits.append_bytes_max)),
    ("one record, at most", |store| size(store.limits.record_bytes_max)),
];

fn support(support: Support) -> String {
    match support {
        Support::Yes => "yes".to_owned(),
        Support::No(reason) => format!("no: {reason}"),
    }
}

/// A size in the largest unit that divides it.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

fn row(text: &mut String, first: &str, cells: &[String]) {
    let _ = write!(text, "| {} |", cell(first));
    for words in cells {
        let _ = write!(text, " {} |", cell(words));
    }
    text.push('\n');
}

fn rule(text: &mut String, stores: usize) {
    text.push_str(&"|---".repeat(stores + 1));
    text.push_str("|\n");
}

/// Words that can stand between bars.
fn cell(words: &str) -> String {
    words.replace('|', "\\|").replace('\n', " ")
}

fn title(area: &str) -> String {
    let mut letters = area.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
