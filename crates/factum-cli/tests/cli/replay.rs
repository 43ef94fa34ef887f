//! `factum replay`.

use serde_json::{Value, json};

use crate::folder::Folder;

fn orders() -> Folder {
    Folder::with_events(
        r#"{"stream":"Order-1","type":"Placed","time":"2026-03-01T10:00:00Z","data":{"status":"placed","total":1.50,"ship":{"to":"Cork"}}}
{"stream":"Order-2","type":"Placed","time":"2026-03-01T11:00:00Z","data":{"status":"placed","total":7}}
{"stream":"Order-1","type":"Moved","time":"2026-03-02T10:00:00Z","data":{"ship":{"to":"Bruges","by":"Iris"}}}
{"stream":"Order-1","type":"Paid","time":"2026-03-03T10:00:00Z","data":{"status":"paid","total":null,"big":12345678901234567890123}}
{"stream":"Cart-1","type":"Opened","data":{"open":true}}
"#,
    )
}

#[test]
fn the_state_is_merged_from_the_events() {
    let folder = orders();
    let ran = folder.run(&["replay", "Order-1", "--json"]);
    assert_eq!(
        ran.out,
        "{\"stream\":\"Order-1\",\"version\":3,\"state\":{\"status\":\"paid\",\"ship\":{\"to\":\"Bruges\",\"by\":\"Iris\"},\"big\":12345678901234567890123}}\n"
    );
    let shown = folder.run(&["replay", "Order-1"]);
    assert!(shown.out.starts_with("Order-1 at version 3 of 3, since 2026-03-03T10:00:00Z\n{\n  \"status\": \"paid\","), "{shown:?}");
}

#[test]
fn any_earlier_moment_can_be_replayed() {
    let folder = orders();
    let state = |words: &[&str]| {
        let line = folder.json(&[&["replay", "Order-1"], words].concat()).remove(0);
        (line["version"].as_u64().expect("a number"), line["state"]["ship"]["to"].clone())
    };
    assert_eq!(state(&["--at-version", "1"]), (1, json!("Cork")));
    assert_eq!(state(&["--at-version", "2"]), (2, json!("Bruges")));
    assert_eq!(state(&["--at-version", "0"]), (0, Value::Null));
    assert_eq!(state(&["--at-time", "2026-03-02"]), (1, json!("Cork")));
    assert_eq!(state(&["--at-time", "2026-03-02T10:00:00Z"]), (2, json!("Bruges")));
    assert_eq!(state(&["--at-time", "2026-03-02T11:00:00+01:00"]), (2, json!("Bruges")));
    assert_eq!(state(&["--at-time", "2026-03-02T09:59:59.999Z"]), (1, json!("Cork")));
    assert_eq!(state(&["--at-time", "2020-01-01"]), (0, Value::Null));
    assert_eq!(state(&["--at-time", "2026-03-03", "--recorded"]), (0, Value::Null), "it was recorded today");
    assert_eq!(state(&["--at-time", "9999-01-01", "--recorded"]), (3, json!("Bruges")));
    assert!(folder.run(&["replay", "Order-1", "--at-time", "2020-01-01"]).out.contains("nothing had happened by 2020-01-01"));
    assert!(folder.run(&["replay", "Order-1", "--at-version", "4"]).failed(1).contains("is at version 3"));
    folder.run(&["replay", "Order-1", "--at-time", "yesterday"]).failed(2);
    folder.run(&["replay", "Order-1", "--at-version", "1", "--at-time", "2026-03-02"]).failed(2);
    folder.run(&["replay", "Order-1", "--recorded"]).failed(2);
}

#[test]
fn each_event_is_shown_with_what_it_changed() {
    let folder = orders();
    let steps = folder.json(&["replay", "Order-1", "--each"]);
    assert_eq!(steps.len(), 3);
    assert_eq!(
        steps[1],
        json!({"stream": "Order-1", "version": 2, "type": "Moved",
            "state": {"status": "placed", "total": 1.50, "ship": {"to": "Bruges", "by": "Iris"}},
            "changed": [{"path": "/ship/to", "from": "Cork", "to": "Bruges"}, {"path": "/ship/by", "to": "Iris"}]})
    );
    let shown = folder.run(&["replay", "Order-1", "--each"]).out;
    for line in ["+ status: \"placed\"", "~ ship.to: \"Cork\" → \"Bruges\"", "+ ship.by: \"Iris\"", "- total: 1.50"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn a_category_gives_one_state_per_stream() {
    let folder = orders();
    let states = folder.json(&["replay", "--category", "Order"]);
    assert_eq!(states.iter().map(|line| line["stream"].clone()).collect::<Vec<_>>(), [json!("Order-1"), json!("Order-2")]);
    assert_eq!(states[1]["state"], json!({"status": "placed", "total": 7}));
    let states = folder.json(&["replay", "--category", "Order", "--at-time", "2026-03-01T10:30:00Z"]);
    assert_eq!(states.iter().map(|line| line["version"].clone()).collect::<Vec<_>>(), [json!(1), json!(0)]);
    assert_eq!(folder.json(&["replay", "--category", "Order", "--each"]).len(), 4);
    assert!(folder.run(&["replay", "--category", "None"]).succeeded().err.contains("no streams of category None"));
    folder.run(&["replay", "Order-1", "--category", "Order"]).failed(2);
}

#[test]
fn a_fold_in_jq_makes_the_state() {
    let folder = orders();
    let fold = |program: &str| {
        folder.write("fold.jq", program);
        folder.run(&["replay", "Order-1", "--fold", "fold.jq", "--json"])
    };
    assert_eq!(fold(".state + 1").json()[0]["state"], 3);
    assert_eq!(fold(".state + [.event.type]").json()[0]["state"], json!(["Placed", "Moved", "Paid"]));
    assert_eq!(
        fold(".state.types[.event.type] += .event.version | .state").json()[0]["state"],
        json!({"types": {"Placed": 1, "Moved": 2, "Paid": 3}})
    );
    assert_eq!(
        fold("select(.event.type == \"Moved\") | .event | {stream, occurred_at, tags, metadata}").json()[0]["state"],
        json!({"stream": "Order-1", "occurred_at": "2026-03-02T10:00:00Z", "tags": [], "metadata": null})
    );
    assert!(fold(".state | nosuch").failed(1).contains("fold.jq line 1 column 10: undefined filter nosuch"));
    assert!(fold("{").failed(1).contains("fold.jq line 1"));
    assert!(fold(".event.type | error").failed(1).contains("Order-1 version 1 (Placed): the fold failed: "));
    folder.run(&["replay", "Order-1", "--fold", "nowhere.jq"]).failed(1);
}
