//! `factum trace`.

use serde_json::{Value, json};

use crate::folder::Folder;

const A: &str = "0190a0b0-0000-7000-8000-00000000000a";
const B: &str = "0190a0b0-0000-7000-8000-00000000000b";
const C: &str = "0190a0b0-0000-7000-8000-00000000000c";
const D: &str = "0190a0b0-0000-7000-8000-00000000000d";
const E: &str = "0190a0b0-0000-7000-8000-00000000000e";

fn line(stream: &str, event_type: &str, id: &str, metadata: Value) -> String {
    let time = "2026-03-01T12:00:00Z";
    json!({"stream": stream, "type": event_type, "id": id, "time": time, "data": {"n": 1}, "metadata": metadata}).to_string() + "\n"
}

fn carried(correlation: &str, cause: &str) -> Value {
    json!({"correlation_id": correlation, "causation_id": cause, "user": "ann"})
}

/// A request that placed an order, of which came an invoice, of which came a letter, and a shipment; beside events of others.
fn shop() -> Folder {
    let mut lines = String::new();
    lines += &line("Order-1", "OrderPlaced", A, json!({"correlation_id": "request-7"}));
    lines += &line("Other-1", "Noise", A, json!({"correlation_id": "request-8", "about": "request-7"}));
    lines += &line("Invoice-1", "InvoiceSent", B, carried("request-7", A));
    lines += &line("Letter-1", "LetterQueued", C, carried("request-7", B));
    lines += &line("Order-1", "OrderShipped", D, carried("request-7", A));
    lines += &line("Order-2", "Lost", E, carried("request-7", "0190a0b0-0000-7000-8000-0000000000ff"));
    Folder::with_events(&lines)
}

#[test]
fn what_came_of_a_request_is_a_tree() {
    let out = shop().run(&["trace", "request-7"]).succeeded().out.clone();
    let expected = "\
request-7  5 events in 4 streams
├─ Order-1 v1  OrderPlaced  2026-03-01T12:00:00Z  {\"n\":1}
│  ├─ Invoice-1 v1  InvoiceSent  2026-03-01T12:00:00Z  {\"n\":1}
│  │  └─ Letter-1 v1  LetterQueued  2026-03-01T12:00:00Z  {\"n\":1}
│  └─ Order-1 v2  OrderShipped  2026-03-01T12:00:00Z  {\"n\":1}
└─ Order-2 v1  Lost  2026-03-01T12:00:00Z  (follows from 0190a0b0-0000-7000-8000-0000000000ff, which is not in this trace)  {\"n\":1}
";
    assert_eq!(out, expected);
}

#[test]
fn each_line_of_json_is_an_event_with_its_depth() {
    let lines = shop().json(&["trace", "request-7"]);
    let depths: Vec<(u64, &str)> =
        lines.iter().map(|line| (line["depth"].as_u64().expect("a number"), line["event"]["type"].as_str().expect("a text"))).collect();
    assert_eq!(depths, [(0, "OrderPlaced"), (1, "InvoiceSent"), (2, "LetterQueued"), (1, "OrderShipped"), (0, "Lost")]);
    assert_eq!((&lines[0]["causation_id"], &lines[1]["causation_id"]), (&Value::Null, &json!(A)));
}

#[test]
fn an_event_that_began_without_a_correlation_id_is_traced_by_its_own() {
    let folder =
        Folder::with_events(&(line("Order-1", "OrderPlaced", A, Value::Null) + &line("Invoice-1", "InvoiceSent", B, carried(A, A))));
    let types: Vec<Value> = folder.json(&["trace", A]).into_iter().map(|line| line["event"]["type"].clone()).collect();
    assert_eq!(types, ["OrderPlaced", "InvoiceSent"]);
    let error = folder.run(&["trace", B]);
    assert_eq!(error.failed(1), format!("error: event {B} belongs to {A}; try `factum trace {A}`"));
}

#[test]
fn nothing_found_says_where_to_look() {
    let ran = shop().run(&["trace", "request-9"]);
    assert!(ran.failed(1).starts_with("error: no event carries the correlation id request-9;"));
}

#[test]
fn circles_in_metadata_are_no_circles_in_the_tree() {
    let lines =
        line("X-1", "Own", A, carried("r", A)) + &line("X-2", "Early", B, carried("r", C)) + &line("X-3", "Late", C, carried("r", B));
    let lines = Folder::with_events(&lines).json(&["trace", "r"]);
    let depths: Vec<u64> = lines.iter().map(|line| line["depth"].as_u64().expect("a number")).collect();
    assert_eq!(depths, [0, 0, 1]);
}

#[test]
fn a_limit_says_that_there_is_more() {
    let ran = shop().run(&["trace", "request-7", "--limit", "2"]);
    assert_eq!(ran.succeeded().out.lines().count(), 3);
    assert!(ran.err.contains("--limit 20 shows more"), "{}", ran.err);
    // The bug: with none to show it said that there is none.
    shop().run(&["trace", "request-7", "--limit", "0"]).failed(2);
}

#[test]
fn an_id_is_found_however_its_writer_has_escaped_it() {
    let metadata = "{\"correlation_id\":\"caf\\u00e9\\/7\"}";
    let line = format!("{{\"stream\":\"Order-1\",\"type\":\"OrderPlaced\",\"id\":\"{A}\",\"data\":1,\"metadata\":{metadata}}}\n");
    assert_eq!(Folder::with_events(&line).json(&["trace", "café/7"]).len(), 1);
}

#[test]
fn what_was_recorded_before_a_moment_is_not_looked_at() {
    let folder = shop();
    let whole = folder.run(&["trace", "request-7"]).succeeded().out.clone();
    assert_eq!(folder.run(&["trace", "request-7", "--since", "2000-01-01"]).succeeded().out, whole);
    let none = folder.run(&["trace", "request-7", "--since", "2999-01-01"]);
    assert!(none.failed(1).contains("no event carries"), "{}", none.err);
}
