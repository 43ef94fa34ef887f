//! `factum log` and `factum read`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::folder::Folder;

fn shop() -> Folder {
    let mut lines = String::new();
    for number in 1..=30 {
        let category = if number % 3 == 0 { "Cart" } else { "Order" };
        let event_type = if number % 2 == 0 { "Even" } else { "Odd" };
        let tags = if number % 5 == 0 { r#","tags":["five","all"]"# } else { r#","tags":["all"]"# };
        lines.push_str(&format!("{{\"stream\":\"{category}-{}\",\"type\":\"{event_type}\",\"data\":{number}{tags}}}\n", number % 4));
    }
    Folder::with_events(&lines)
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"].as_u64().expect("a number")).collect()
}

#[test]
fn an_event_has_all_its_fields() {
    let folder = Folder::with_events(
        r#"{"stream":"Order-1","type":"T","id":"0190a0b0-0000-7000-8000-000000000001","time":"2026-03-01T12:00:00Z","data":{"a":1}}"#,
    );
    let event = folder.json(&["log"]).remove(0);
    let names: Vec<&String> = event.as_object().expect("an object").keys().collect();
    let mut expected = ["position", "stream", "version", "id", "type", "recorded_at", "occurred_at", "data", "metadata", "tags"];
    expected.sort_unstable();
    let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!((&event["occurred_at"], &event["metadata"], &event["tags"]), (&json!("2026-03-01T12:00:00Z"), &Value::Null, &json!([])));
}

#[test]
fn the_log_is_filtered_and_read_both_ways() {
    let folder = shop();
    let of = |words: &[&str]| numbers(&folder.json(&[&["log"], words].concat()));
    assert_eq!(of(&[]), (1..=30).collect::<Vec<_>>());
    assert_eq!(of(&["--backward", "--limit", "3"]), [30, 29, 28]);
    assert_eq!(of(&["--after", "28"]), [29, 30]);
    assert_eq!(of(&["--after", "27", "--backward"]), [30, 29, 28]);
    assert_eq!(of(&["--category", "Cart", "--type", "Even"]), [6, 12, 18, 24, 30]);
    assert_eq!(of(&["--tag", "five", "--tag", "all", "--limit", "2"]), [5, 10]);
    assert_eq!(of(&["--type", "Even", "--type", "Odd", "--limit", "2"]), [1, 2]);
    assert_eq!(of(&["--category", "Cart", "--category", "Order", "--limit", "3"]), [1, 2, 3]);
    assert!(folder.run(&["log", "--category", "None"]).succeeded().err.contains("no such events"));
}

#[test]
fn a_stream_is_read_by_version() {
    let folder = shop();
    let of = |words: &[&str]| numbers(&folder.json(&[&["read", "Order-1"], words].concat()));
    let all = [1, 5, 13, 17, 25, 29];
    assert_eq!(of(&[]), all);
    assert_eq!(of(&["--from", "2", "--to", "4"]), all[1..4]);
    assert_eq!(of(&["--backward", "--limit", "2"]), [29, 25]);
    assert_eq!(of(&["--backward", "--to", "3"]), [13, 5, 1]);
    assert_eq!(of(&["--from", "7"]), [0u64; 0]);
    assert!(folder.run(&["read", "Order-1", "--from", "7"]).succeeded().err.contains("versions 1 to 6"));
    let shown = folder.run(&["read", "Order-1", "--limit", "1"]);
    assert!(shown.out.starts_with("v1  ") && shown.out.ends_with("  Odd               1\n"), "{shown:?}");
    assert!(!shown.out.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn data_that_is_not_json_is_told_apart() {
    let folder = Folder::with_events(r#"{"stream":"s","type":"T","data_base64":"/wA="}"#);
    let event = folder.json(&["read", "s"]).remove(0);
    assert_eq!((&event["data"], &event["data_base64"]), (&Value::Null, &json!("/wA=")));
    assert!(folder.run(&["read", "s"]).out.contains("(2 bytes that are not JSON)"));
    let ran = folder.run(&["replay", "s"]);
    assert!(ran.failed(1).contains("s version 1 (T): its data is not JSON"), "{ran:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::with_events(
        &r#"{"stream":"s","type":"T","data":"a line that is long enough to fill a pipe soon"}
"#
        .repeat(20_000),
    );
    for words in [&["log"][..], &["log", "--json"], &["export"], &["read", "s"]] {
        let mut child = folder.start(&mut folder.command(words));
        let mut first = [0; 10];
        child.stdout.take().expect("it is piped").read_exact(&mut first).expect("there is output");
        let mut err = String::new();
        child.stderr.take().expect("it is piped").read_to_string(&mut err).expect("it is text");
        assert_eq!((child.wait().expect("it ends").code(), err.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn following_sees_what_another_process_appends() {
    let folder = shop();
    let mut child = folder.start(folder.command(&["log", "--follow", "--json", "--after", "29", "--limit", "4"]).stdout(Stdio::piped()));
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next =
        || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("it is text")).expect("it is JSON")["data"].clone();
    assert_eq!(next(), 30);
    for number in 31..34 {
        folder.run(&["append", "Order-1", "--type", "T", "--data", &number.to_string()]).succeeded();
        assert_eq!(next(), number);
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_following_cleanly() {
    let folder = shop();
    let mut child = folder.start(&mut folder.command(&["log", "--follow"]));
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for _ in 0..30 {
        lines.next().expect("a line").expect("it is text");
    }
    // All has been printed, so that it waits, or is about to: whichever it is, the signal ends it.
    let signal = || std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("there is a kill");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(signal().success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
