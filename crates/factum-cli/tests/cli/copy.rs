//! `factum copy`.

use serde_json::{Value, json};

use crate::folder::Folder;

fn lines(numbers: impl IntoIterator<Item = u32>) -> String {
    let line = |number: u32| {
        let id = uuid::Uuid::from_u128(u128::from(number));
        let (stream, tag) = (number % 5, number % 3);
        format!(
            "{{\"stream\":\"Order-{stream}\",\"type\":\"T\",\"id\":\"{id}\",\"time\":\"2026-03-01T00:00:00Z\",\"data\":{number},\"tags\":[\"t{tag}\"]}}\n"
        )
    };
    numbers.into_iter().map(line).collect()
}

fn events(folder: &Folder, store: &str) -> Vec<Value> {
    let mut events = folder.json(&["log", "--store", store]);
    for event in &mut events {
        let event = event.as_object_mut().expect("an object");
        event.remove("recorded_at");
        event.remove("position");
    }
    events
}

#[test]
fn a_copy_is_the_same_and_can_be_repeated_and_brought_up_to_date() {
    let folder = Folder::with_events(&lines(1..=1_000));
    let copy = || folder.json(&["copy", "file:factum-data", "file:copy"]);
    assert_eq!(copy(), [json!({"copied": 1_000, "present": 0, "streams": 5, "ok": true})]);
    assert_eq!(events(&folder, "file:factum-data"), events(&folder, "file:copy"));
    assert_eq!(copy(), [json!({"copied": 0, "present": 1_000, "streams": 5, "ok": true})]);
    folder.run_with(&["import", "-"], lines(1_001..=1_200)).succeeded();
    assert_eq!(copy(), [json!({"copied": 200, "present": 1_000, "streams": 5, "ok": true})]);
    assert_eq!(events(&folder, "file:factum-data"), events(&folder, "file:copy"));
    assert!(folder.run(&["copy", "file:factum-data", "file:copy"]).succeeded().out.contains("ok: both stores were read"));
}

#[test]
fn a_stream_that_holds_something_else_is_a_conflict() {
    let folder = Folder::with_events(&lines(1..=20));
    folder.run(&["append", "Order-3", "--type", "Other", "--data", "1", "--store", "file:copy"]).succeeded();
    let ran = folder.run(&["copy", "file:factum-data", "file:copy"]);
    assert!(ran.failed(3).contains("stream Order-3 in file:copy holds something else"), "{ran:?}");
    assert_eq!(folder.json(&["read", "Order-3", "--store", "file:copy"]).len(), 1);
}

#[test]
fn streams_that_only_the_target_has_are_left_alone() {
    let folder = Folder::with_events(&lines(1..=20));
    folder.run(&["append", "Mine-1", "--type", "Other", "--data", "1", "--store", "file:copy"]).succeeded();
    folder.run(&["copy", "file:factum-data", "file:copy"]).succeeded();
    folder.run(&["append", "Mine-1", "--type", "Other", "--data", "1", "--store", "file:copy"]).succeeded();
    folder.run_with(&["import", "-"], lines(21..=30)).succeeded();
    assert_eq!(folder.json(&["copy", "file:factum-data", "file:copy"])[0]["copied"], 10);
    assert_eq!(folder.json(&["read", "Mine-1", "--store", "file:copy"]).len(), 2);
}

#[test]
fn truncated_streams_keep_their_versions() {
    let folder = Folder::with_events(&lines(1..=50));
    folder.run(&["truncate", "Order-1", "--before", "5"]).succeeded();
    folder.run(&["truncate", "Order-2", "--before", "11"]).succeeded();
    let copy = || folder.json(&["copy", "file:factum-data", "file:copy"]);
    copy();
    let streams = |store: &str| {
        let mut streams = folder.json(&["streams", "--store", store]);
        streams.sort_by_key(|stream| stream["stream"].to_string());
        streams
    };
    assert_eq!(streams("file:factum-data"), streams("file:copy"));
    assert_eq!(events(&folder, "file:factum-data"), events(&folder, "file:copy"));
    folder.run(&["truncate", "Order-3", "--before", "2"]).succeeded();
    folder.run_with(&["import", "-"], lines(51..=60)).succeeded();
    copy();
    assert_eq!(streams("file:factum-data"), streams("file:copy"));
    assert_eq!(events(&folder, "file:factum-data"), events(&folder, "file:copy"));
}

#[test]
fn a_copy_with_nothing_to_copy_from_is_an_error() {
    let folder = Folder::new();
    assert!(folder.run(&["copy", "file:nowhere", "file:copy"]).failed(1).contains("no store at nowhere"));
    assert!(!folder.path("copy").exists());
    folder.run(&["copy", "memory:", "file:copy"]).failed(2);
    folder.run(&["copy", "file:a", "file:a"]).failed(2);
    folder.run(&["copy", "file:a"]).failed(2);
}

#[test]
fn a_copy_into_memory_only_compares() {
    let folder = Folder::with_events(&lines(1..=50));
    assert_eq!(folder.json(&["copy", "file:factum-data", "memory:"])[0]["ok"], true);
}
