//! The other commands of the program on a store that is being served, and events across doors.

use serde_json::{Value, json};

use crate::serving::Serving;

#[track_caller]
fn objects(server: &Serving, words: &[&str]) -> Vec<Value> {
    let ran = server.factum(&[words, &["--json"]].concat());
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn nobody_else_writes_to_a_store_that_is_served() {
    let server = Serving::start();
    let ran = server.factum(&["append", "Order-1", "--type", "OrderPlaced", "--data", "{}"]);
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn what_is_added_is_read_replayed_and_verified_while_the_server_runs() {
    let server = Serving::start();
    let mut wire = server.connect();
    for (name, data) in [("OrderPlaced", r#"{"total":42,"status":"placed"}"#), ("OrderPaid", r#"{"status":"paid"}"#)] {
        wire.ask(&["XADD", "Order-1", "*", "event_type", name, "data", data]);
        wire.line();
        let events = objects(&server, &["read", "Order-1"]);
        let last = events.last().expect("what was acknowledged is there");
        assert_eq!((&last["type"], &last["data"]), (&json!(name), &serde_json::from_str(data).expect("JSON")));
    }
    assert_eq!(objects(&server, &["replay", "Order-1"])[0]["state"], json!({"total": 42, "status": "paid"}));
    assert_eq!(objects(&server, &["log", "--type", "OrderPaid"]).len(), 1);
    assert!(objects(&server, &["streams"]).iter().any(|stream| stream["stream"] == "Order-1" && stream["version"] == 2));
    assert!(server.factum(&["verify"]).status.success());
    assert_eq!(wire.ask(&["XLEN", "Order-1"]), ":2");
}

#[test]
fn what_the_command_line_appends_is_an_entry_with_flat_fields() {
    let mut server = Serving::start();
    server.terminate();
    assert!(server.wait().success());
    let data = r#"{"total":42}"#;
    assert!(server.factum(&["append", "Order-1", "--type", "OrderPlaced", "--data", data]).status.success());
    server.restart();
    let mut wire = server.connect();
    assert_eq!(wire.ask(&["XRANGE", "Order-1", "-", "+"]), "*1");
    wire.expect("*2\r\n");
    let (_, id) = (wire.line(), wire.line());
    assert!(id.ends_with("-1"), "{id}");
    let count: usize = wire.line()[1..].parse().expect("a number");
    let fields: Vec<String> = (0..count).map(|_| (wire.line(), wire.line()).1).collect();
    let field = |name: &str| fields.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
    assert_eq!(field("event_type"), Some("OrderPlaced"), "{fields:?}");
    assert_eq!((field("data"), field("aggregate_id"), field("version")), (Some(data), Some("1"), Some("1")), "{fields:?}");
    // The same entry by its id, and one after it.
    assert_eq!(wire.ask(&["XRANGE", "Order-1", &id, &id, "COUNT", "1"]), "*1");
    server.kill();
    server.restart();
    let mut wire = server.connect();
    assert_eq!(wire.ask(&["XRANGE", "Order-1", &id, &id]), "*1", "its id is the same every time");
}

#[test]
fn the_field_that_holds_the_type_can_be_chosen() {
    let server = Serving::with(&["--type-fields", "kind"]);
    let mut wire = server.connect();
    wire.ask(&["XADD", "Order-1", "*", "event_type", "Other", "kind", "OrderPlaced", "data", "{}"]);
    wire.line();
    assert_eq!(objects(&server, &["read", "Order-1"])[0]["type"], "OrderPlaced");
}

#[test]
fn a_long_transaction_is_one_append() {
    let server = Serving::start();
    let mut wire = server.connect();
    let added: String = (1..=10_000).map(|number| format!("XADD Log-1 {number} type Noted data {number}\r\n")).collect();
    wire.send(format!("MULTI\r\n{added}EXEC\r\n"));
    wire.expect(format!("+OK\r\n{}*10000\r\n", "+QUEUED\r\n".repeat(10_000)));
    (1..=10_000).for_each(|number: u32| wire.expect(format!("${}\r\n{number}-0\r\n", number.to_string().len() + 2)));
    let events = objects(&server, &["read", "Log-1"]);
    assert_eq!(events.len(), 10_000);
    assert_eq!(events[0]["recorded_at"], events[9_999]["recorded_at"]);
}
