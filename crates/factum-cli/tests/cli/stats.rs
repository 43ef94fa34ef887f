//! `factum stats`.

use serde_json::json;

use crate::folder::Folder;

#[test]
fn stats_count_events_by_category_and_type() {
    let folder = Folder::with_events(
        r#"{"stream":"Order-1","type":"Placed","data":1}
{"stream":"Order-2","type":"Placed","data":1}
{"stream":"Cart-1","type":"Opened","data":1}
"#,
    );
    let stats = folder.json(&["stats"]).remove(0);
    assert_eq!((&stats["events"], &stats["streams"], &stats["head"]), (&json!(3), &json!(3), &json!(3)));
    assert_eq!(stats["categories"], json!({"Order": 2, "Cart": 1}));
    assert_eq!(stats["types"], json!({"Placed": 2, "Opened": 1}));
    assert!(stats["disk_bytes"].as_object().is_some_and(|bytes| !bytes.is_empty()), "{stats}");
    assert!(stats["first_recorded_at"].is_string() && stats["last_recorded_at"].is_string());
    let shown = folder.run(&["stats"]).out;
    for line in ["events", "Order", "Placed", "last position"] {
        assert!(shown.contains(line), "{shown}");
    }
}
