//! `factum compact`.

use serde_json::json;

use crate::folder::Folder;

#[test]
fn truncated_events_are_given_back() {
    let line = |number: u32| format!("{{\"stream\":\"Order-{}\",\"type\":\"Counted\",\"data\":\"{number:0900}\"}}\n", number % 2);
    let folder = Folder::with_events(&(1..=400).map(line).collect::<String>());
    assert!(folder.run(&["compact"]).succeeded().out.starts_with("nothing to give back: "));
    folder.run(&["truncate", "Order-1", "--before", "201"]).succeeded();
    let log = folder.run(&["log"]).succeeded().out.clone();
    let shown = folder.run(&["compact"]).succeeded().out.clone();
    assert!(shown.contains(" given back: ") && shown.contains("1 of 2 segments were compacted"), "{shown}");
    let report = folder.json(&["compact"]).remove(0);
    assert_eq!((&report["compacted"], &report["bytes_before"]), (&json!(0), &report["bytes_after"]));
    assert!(report["bytes_after"].as_u64().is_some_and(|bytes| bytes < 300_000), "{report}");
    assert_eq!(folder.run(&["log"]).succeeded().out, log, "what can be read stays the same");
    assert_eq!(folder.json(&["verify"])[0]["events"], json!(400), "truncated events are still counted");
    assert_eq!(folder.json(&["stats"])[0]["streams"], json!(2));
}
