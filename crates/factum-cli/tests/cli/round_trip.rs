//! Export and import: what comes out goes in again, the same.

use serde_json::Value;

use crate::folder::Folder;

/// Everything that an export must keep.
const LINES: &str = r#"{"stream":"Order-1","type":"Placed","id":"5fb0e53e-5011-5e4e-bf7c-483d960f4b2a","time":"2010-09-30T22:00:00.020Z","data":{"b": 1.50, "a":[ ]},"metadata":{},"tags":["vip","city:Cork"]}
{"stream":"Order-2","type":"Placed","id":"5fb0e53e-5011-5e4e-bf7c-483d960f4b2a","time":"2010-09-30T22:00:00.123456789Z","data":12345678901234567890123}
{"stream":"Order-1","type":"Paid \"twice\"","id":"22904920-aca0-5b43-85b0-83fd42bc0f8c","time":"2010-09-30T22:00:00Z","data":null,"metadata":{"user":"ä\u0000"}}
{"stream":"Bürger-3","type":"T","id":"2364a2f8-76db-5eb3-a32d-a287cef765d1","time":"1969-07-20T20:17:40Z","data_base64":"/wAK","metadata_base64":"eyJhIjoKMX0="}
"#;

#[test]
fn an_export_is_the_file_that_was_imported() {
    let folder = Folder::with_events(LINES);
    assert_eq!(folder.run(&["export"]).succeeded().out, LINES);
}

#[test]
fn importing_an_export_gives_the_same_events() {
    let folder = Folder::with_events(LINES);
    folder.run(&["append", "Order-1", "--type", "NoTime", "--data", "{}"]).succeeded();
    let export = folder.run(&["export"]).succeeded().out.clone();
    folder.run_with(&["import", "-", "--store", "file:other"], &export).succeeded();
    let events = |store: &str| {
        let mut events = folder.json(&["log", "--store", store]);
        events.iter_mut().for_each(|event| _ = event.as_object_mut().expect("an object").remove("recorded_at"));
        events
    };
    assert_eq!(events("file:factum-data"), events("file:other"));
    assert_eq!(folder.run(&["export", "--store", "file:other"]).out, export);
    let again = folder.run_with(&["import", "-", "--json"], &export);
    assert_eq!(again.succeeded().json()[0]["duplicates"], 5);
}

#[test]
fn an_export_is_filtered_like_the_log() {
    let folder = Folder::with_events(LINES);
    let exported = |words: &[&str]| {
        let ran = folder.run(&[&["export"], words].concat());
        ran.succeeded().json().iter().map(|line| line["type"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(exported(&["--category", "Order", "--type", "Placed"]), ["Placed", "Placed"]);
    assert_eq!(exported(&["--tag", "vip"]), ["Placed"]);
    assert_eq!(exported(&["--after", "3"]), ["T"]);
}

#[test]
fn what_the_log_prints_can_be_imported_as_well() {
    let folder = Folder::with_events(LINES);
    let printed = folder.run(&["log", "--json"]).out;
    folder.run_with(&["import", "-", "--store", "file:other"], printed).succeeded();
    assert_eq!(folder.run(&["export", "--store", "file:other"]).out.lines().count(), 4);
}

#[test]
fn an_export_of_truncated_streams_says_so() {
    let folder = Folder::with_events(LINES);
    folder.run(&["truncate", "Order-1", "--before", "2"]).succeeded();
    let ran = folder.run(&["export"]);
    assert_eq!(ran.succeeded().out.lines().count(), 3);
    assert!(ran.err.contains("1 truncated stream"), "{ran:?}");
}
