//! `factum import`.

use serde_json::{Value, json};

use crate::folder::Folder;

fn lines(count: usize) -> String {
    (1..=count)
        .map(|number| {
            let (stream, id) = (number % 7, uuid::Uuid::from_u128(number as u128));
            format!("{{\"stream\":\"Order-{stream}\",\"type\":\"Counted\",\"id\":\"{id}\",\"data\":{{\"number\":{number}}}}}\n")
        })
        .collect()
}

fn numbers(folder: &Folder) -> Vec<u64> {
    folder.json(&["log"]).iter().map(|event| event["data"]["number"].as_u64().expect("a number")).collect()
}

#[test]
fn lines_become_events_in_their_order() {
    let folder = Folder::new();
    folder.write("events.jsonl", lines(5_000));
    assert_eq!(folder.json(&["import", "events.jsonl"]), [json!({"imported": 5_000, "duplicates": 0, "rejected": 0})]);
    assert_eq!(numbers(&folder), (1..=5_000).collect::<Vec<_>>());
    assert_eq!(folder.json(&["import", "events.jsonl"]), [json!({"imported": 0, "duplicates": 5_000, "rejected": 0})]);
    let again = folder.run(&["import", "events.jsonl"]);
    assert!(again.succeeded().out.starts_with("imported 0 events, 5,000 had been imported before"), "{again:?}");
    assert_eq!(folder.json(&["log"]).len(), 5_000);
}

#[test]
fn an_import_comes_from_standard_input_too() {
    let folder = Folder::new();
    let ran = folder.run_with(&["import", "-", "--json"], lines(100));
    assert_eq!(ran.succeeded().json(), [json!({"imported": 100, "duplicates": 0, "rejected": 0})]);
}

#[test]
fn an_import_goes_on_from_wherever_it_was_stopped() {
    let all = lines(1_000);
    for stopped in [1, 7, 333, 999] {
        let folder = Folder::new();
        let first: String = all.lines().take(stopped).flat_map(|line| [line, "\n"]).collect();
        folder.run_with(&["import", "-"], first).succeeded();
        let ran = folder.run_with(&["import", "-", "--json"], &all);
        assert_eq!(ran.succeeded().json(), [json!({"imported": 1_000 - stopped, "duplicates": stopped, "rejected": 0})]);
        assert_eq!(numbers(&folder), (1..=1_000).collect::<Vec<_>>());
    }
}

#[cfg(unix)]
#[test]
fn an_import_killed_half_way_is_resumed() {
    let folder = Folder::new();
    let all = lines(200_000);
    folder.write("events.jsonl", &all);
    let mut child = folder.start(&mut folder.command(&["import", "events.jsonl"]));
    // As soon as something is there, it is killed.
    let size = || std::fs::read_dir(folder.path("factum-data")).map_or(0, |entries| entries.count());
    while size() == 0 {
        std::thread::yield_now();
    }
    std::thread::sleep(std::time::Duration::from_millis(60));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let ran = folder.run(&["import", "events.jsonl", "--json"]);
    let summary = &ran.succeeded().json()[0];
    let count = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!((count("imported") + count("duplicates"), count("rejected")), (200_000, 0));
    assert_eq!(numbers(&folder), (1..=200_000).collect::<Vec<_>>());
}

#[test]
fn the_first_bad_line_stops_an_import_with_all_before_it_on_disk() {
    let folder = Folder::new();
    let mut bad = lines(20);
    bad = bad.replacen("{\"number\":7}", "{\"number\":7", 1);
    folder.write("events.jsonl", bad);
    let ran = folder.run(&["import", "events.jsonl", "--json"]);
    assert_eq!(ran.json(), [json!({"imported": 6, "duplicates": 0, "rejected": 1})]);
    assert!(ran.failed(1).contains("events.jsonl line 7: EOF while parsing"), "{ran:?}");
    assert_eq!(numbers(&folder), (1..=6).collect::<Vec<_>>());
}

#[test]
fn with_keep_going_only_the_bad_lines_are_left_out() {
    let folder = Folder::new();
    let id = "00000000-0000-0000-0000-000000000001";
    let large = format!(r#"{{"stream":"s","type":"T","data":"{}"}}"#, "x".repeat(1 << 20));
    let long = format!(r#"{{"stream":"s","type":"T","data":"{}"}}"#, "x".repeat(9 << 20));
    let given: Vec<(&[u8], &str)> = vec![
        (br#"{"stream":"s","type":"T","data":1}"#, ""),
        (b"{broken", "line 2: key must be a string at column 2"),
        (br#"{"type":"T","data":1}"#, "line 3: it has no \"stream\""),
        (br#"{"stream":"s","data":1}"#, "line 4: it has no \"type\""),
        (br#"{"stream":"s","type":"T"}"#, "line 5: it has no \"data\""),
        (br#"{"stream":"a\nb","type":"T","data":1}"#, "line 6: stream id \"a\\nb\" contains the control character U+000A"),
        (br#"{"stream":"s","type":"T","data":1,"id":"one"}"#, "line 7: \"id\" is not a UUID"),
        (br#"{"stream":"s","type":"T","data":1,"time":"today"}"#, "line 8: \"time\" is not a time in RFC 3339"),
        (b"", ""),
        (b"{\"stream\":\"s\",\"type\":\"\xff\",\"data\":1}", "line 10: it is not UTF-8 from byte 23"),
        (large.as_bytes(), "line 11: the payload has 1048578 bytes, the limit is 1048576"),
        (long.as_bytes(), "line 12: it has more than"),
        (br#"{"stream":"s","type":"T","data":2,"id":"00000000-0000-0000-0000-000000000001"}"#, ""),
        (br#"{"stream":"s","type":"T","data":3,"id":"00000000-0000-0000-0000-000000000001"}"#, id),
        (b"[1]", "line 15: invalid type: sequence"),
        (br#"{"stream":"s","type":"T","data":4}"#, ""),
    ];
    let file: Vec<u8> = given.iter().flat_map(|(line, _)| [*line, b"\n"].concat()).collect();
    folder.write("events.jsonl", file);
    let ran = folder.run(&["import", "events.jsonl", "--keep-going", "--json"]);
    assert_eq!(ran.code, Some(1));
    let expected: Vec<&str> = given.iter().map(|(_, reason)| *reason).filter(|reason| !reason.is_empty()).collect();
    let said: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(said.len(), expected.len(), "{}", ran.err);
    for (said, expected) in said.iter().zip(&expected) {
        assert!(said.contains("events.jsonl line ") && said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(ran.json(), [json!({"imported": 3, "duplicates": 0, "rejected": expected.len()})]);
    let data: Vec<Value> = folder.json(&["read", "s"]).iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [json!(1), json!(2), json!(4)]);
}

#[test]
fn a_dry_run_checks_and_records_nothing() {
    let folder = Folder::new();
    folder.write("good.jsonl", lines(50));
    folder.write("bad.jsonl", format!("{}nonsense\n", lines(50)));
    assert!(folder.run(&["import", "good.jsonl", "--dry-run"]).succeeded().out.starts_with("checked 50 events"));
    assert!(folder.run(&["import", "bad.jsonl", "--dry-run"]).failed(1).contains("bad.jsonl line 51"));
    assert!(!folder.path("factum-data").exists());
}

#[test]
fn files_come_as_other_systems_write_them() {
    let folder = Folder::new();
    let line = |number: u32| format!(r#"{{"stream":"s","type":"T","data":{number}}}"#);
    let file = format!("\u{feff}{}\r\n\r\n   \n{}\r\n{}", line(1), line(2), line(3));
    let ran = folder.run_with(&["import", "-", "--json"], file);
    assert_eq!(ran.succeeded().json()[0]["imported"], 3);
    let data: Vec<Value> = folder.json(&["read", "s"]).iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [json!(1), json!(2), json!(3)]);
    assert_eq!(folder.run_with(&["import", "-", "--json"], "").succeeded().json()[0]["imported"], 0);
}

#[test]
fn lines_without_ids_are_recognised_when_they_come_again() {
    let folder = Folder::new();
    let file = r#"{"stream":"s","type":"T","data":1}
{"stream":"s","type":"T","data":1}
{"stream":"s","type":"T","data":1,"tags":["x"]}
"#;
    folder.write("events.jsonl", file);
    assert_eq!(folder.json(&["import", "events.jsonl"])[0]["imported"], 3, "equal lines are different events");
    assert_eq!(folder.json(&["import", "events.jsonl"])[0]["duplicates"], 3);
    folder.write("events.jsonl", format!("{file}{}", r#"{"stream":"s","type":"T","data":1}"#));
    assert_eq!(folder.json(&["import", "events.jsonl"]), [json!({"imported": 1, "duplicates": 3, "rejected": 0})]);
}

#[test]
fn fields_that_are_not_kept_are_said() {
    let folder = Folder::new();
    let ran = folder.run_with(&["import", "-"], r#"{"stream":"s","type":"T","data":1,"version":9,"user":"ada"}"#);
    assert!(ran.succeeded().err.contains("line 1 has the field \"user\", which is not kept"), "{ran:?}");
    assert_eq!(folder.json(&["read", "s"])[0]["version"], 1);
}

#[test]
fn a_file_that_can_not_be_read_is_an_error() {
    let folder = Folder::new();
    assert!(folder.run(&["import", "nowhere.jsonl"]).failed(1).contains("can't read nowhere.jsonl"));
    assert!(folder.run(&["import", "."]).failed(1).contains("is a directory"));
    assert!(!folder.path("factum-data").exists(), "no store is made for it");
}

#[test]
fn a_second_writer_is_refused_while_readers_read_along() {
    let folder = Folder::with_events(&lines(10));
    let mut writer = folder.start(folder.command(&["import", "-"]).stdin(std::process::Stdio::piped()));
    // It holds the store as long as its input is open; until it has opened it, an append succeeds.
    let append = || folder.run(&["append", "s", "--type", "T", "--data", "{\"number\":0}"]);
    let refused = loop {
        let ran = append();
        if ran.code != Some(0) {
            break ran;
        }
    };
    let error = refused.failed(1);
    assert!(error.contains("factum-data") && error.contains(&writer.id().to_string()), "which process holds it, and where: {error}");
    assert!(folder.json(&["log"]).len() >= 10);
    folder.run(&["verify"]).succeeded();
    drop(writer.stdin.take());
    assert!(writer.wait().expect("it ends").success());
    append().succeeded();
}
