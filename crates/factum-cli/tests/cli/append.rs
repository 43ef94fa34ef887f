//! `factum append`.

use serde_json::json;

use crate::folder::Folder;

const ID: &str = "0190a0b0-0000-7000-8000-000000000001";

#[test]
fn append_makes_a_store_and_prints_where_the_event_is() {
    let folder = Folder::new();
    let ran = folder.run(&["append", "Order-1", "--type", "OrderPlaced", "--data", r#"{"total": 42}"#]);
    ran.succeeded();
    assert_eq!(ran.out, "Order-1 version 1, position 1: appended\n");
    assert!(ran.err.contains("made a new store"), "{}", ran.err);

    let printed = folder.json(&["append", "Order-1", "--type", "OrderPaid", "--data", "{}", "--id", ID]);
    assert_eq!(printed, [json!({"stream": "Order-1", "version": 2, "position": 2, "id": ID, "duplicate": false})]);
}

#[test]
fn everything_given_is_kept() {
    let folder = Folder::new();
    let words = ["append", "Order-1", "--type", "OrderPlaced", "--data", "{\n  \"b\": 1.50,\n  \"a\": \"x  y\"\n}"];
    let more = [
        "--metadata",
        "{\"user\": \"ada\"}",
        "--id",
        ID,
        "--tag",
        "vip",
        "--tag",
        "city:Cork",
        "--time",
        "2026-03-01T12:00:00.000000001+01:00",
    ];
    folder.run(&[&words[..], &more[..]].concat()).succeeded();
    let ran = folder.run(&["read", "Order-1", "--json"]);
    let event = &ran.json()[0];
    assert_eq!(event["occurred_at"], "2026-03-01T11:00:00.000000001Z");
    assert_eq!((&event["id"], &event["type"]), (&json!(ID), &json!("OrderPlaced")));
    assert_eq!((&event["tags"], &event["metadata"]), (&json!(["vip", "city:Cork"]), &json!({"user": "ada"})));
    assert!(ran.out.contains(r#""data":{"b":1.50,"a":"x  y"}"#), "numbers and the order of names stay: {}", ran.out);
}

#[test]
fn data_comes_from_a_file_or_standard_input() {
    let folder = Folder::new();
    folder.write("data.json", "\u{feff}{\"from\": \"file\"}\n");
    folder.run(&["append", "s", "--type", "T", "--data", "@data.json"]).succeeded();
    folder.run_with(&["append", "s", "--type", "T", "--data", "-"], "[1,\n2]\n").succeeded();
    let data: Vec<_> = folder.json(&["read", "s"]).into_iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [json!({"from": "file"}), json!([1, 2])]);
    folder.run(&["append", "s", "--type", "T", "--data", "@nowhere.json"]).failed(1);
}

#[test]
fn a_repeated_append_is_a_duplicate() {
    let folder = Folder::new();
    let words = ["append", "Order-1", "--type", "T", "--data", "{}", "--id", ID, "--expect", "none"];
    folder.run(&words).succeeded();
    let again = folder.run(&words);
    assert!(again.succeeded().out.contains("version 1, position 1: duplicate"), "{again:?}");
    let again = &folder.json(&words)[0];
    assert_eq!((&again["version"], &again["duplicate"]), (&json!(1), &json!(true)));
    assert_eq!(folder.json(&["read", "Order-1"]).len(), 1);
}

#[test]
fn a_conflict_is_exit_code_3_and_names_the_version() {
    let folder = Folder::new();
    let append = |expect: &str| folder.run(&["append", "Order-1", "--type", "T", "--data", "{}", "--expect", expect]);
    append("exists").failed(3);
    append("none").succeeded();
    append("1").succeeded();
    let ran = append("1");
    assert!(ran.failed(3).contains("expected version 1, but it is at version 2"), "{ran:?}");
    append("none").failed(3);
    append("exists").succeeded();
    append("any").succeeded();
    assert_eq!(folder.json(&["read", "Order-1"]).len(), 4);
}

#[test]
fn an_id_used_for_other_content_is_a_conflict() {
    let folder = Folder::new();
    folder.run(&["append", "s", "--type", "T", "--data", "1", "--id", ID]).succeeded();
    let ran = folder.run(&["append", "s", "--type", "T", "--data", "2", "--id", ID]);
    assert!(ran.failed(3).contains(ID), "{ran:?}");
    folder.run(&["append", "other", "--type", "T", "--data", "2", "--id", ID]).succeeded();
}

#[test]
fn what_is_wrong_with_a_call_is_exit_code_2_on_one_line() {
    let folder = Folder::new();
    let ran = folder.run(&["append", "s", "--type", "T", "--data", "{total: 42}"]);
    assert!(ran.failed(2).contains("--data is not JSON"), "{ran:?}");
    assert!(folder.run(&["append", "s"]).failed(2).contains("--type"));
    assert!(folder.run(&["append", "a\nb", "--type", "T", "--data", "1"]).failed(2).contains("U+000A"));
    folder.run(&["append", "", "--type", "T", "--data", "1"]).failed(2);
    folder.run(&["append", "s", "--type", "T", "--data", "1", "--id", "7"]).failed(2);
    folder.run(&["append", "s", "--type", "T", "--data", "1", "--expect", "maybe"]).failed(2);
    folder.run(&["append", "s", "--type", "T", "--data", "1", "--time", "soon"]).failed(2);
    folder.run(&["append", "s", "--type", "T", "--data", "-", "--metadata", "-"]).failed(2);
    assert!(!folder.path("factum-data").exists(), "a wrong call makes no store");
}

#[test]
fn a_payload_that_is_too_large_is_refused_with_both_sizes() {
    let folder = Folder::new();
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let ran = folder.run_with(&["append", "s", "--type", "T", "--data", "-"], large);
    let error = ran.failed(1);
    assert!(error.contains("1048578") && error.contains("1048576"), "{error}");
}
