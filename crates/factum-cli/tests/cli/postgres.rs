//! Every command on a store in PostgreSQL: a real server, in a temporary folder.

use std::io::BufRead;

use factum_servers::PostgresServer;
use serde_json::json;

use crate::folder::{Folder, lines_of_five_streams as lines};

/// A server, or a skip that shows; where everything must be tried a missing one is a failure.
fn server() -> Option<PostgresServer> {
    if let Some(reason) = PostgresServer::missing() {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    Some(PostgresServer::start().expect("the server starts"))
}

#[test]
fn every_command_works_in_postgres() {
    let Some(server) = server() else { return };
    let folder = Folder::new();
    let url = server.url();
    let run = |words: &[&str]| folder.run(&[words, &["--store", &url]].concat());
    folder.write("events.jsonl", lines(300));
    for words in [&["read", "Order-1"][..], &["import", "events.jsonl"], &["append", "Order-1", "--type", "T", "--data", "1"]] {
        assert!(run(words).failed(1).contains("factum init"), "{words:?} made a store");
    }
    assert!(run(&["init"]).succeeded().out.contains("on the server's disk before the answer"));
    run(&["append", "Cart-1", "--type", "Opened", "--data", "{}", "--expect", "none"]).succeeded();
    run(&["append", "Cart-1", "--type", "Opened", "--data", "{}", "--expect", "none"]).failed(3);
    run(&["import", "events.jsonl"]).succeeded();
    assert!(run(&["import", "events.jsonl"]).succeeded().out.contains("300 had been imported before"));
    assert_eq!(run(&["init", "--json"]).succeeded().json()[0]["events"], 301);
    assert_eq!(run(&["export"]).succeeded().out.lines().count(), 301);
    assert_eq!(run(&["read", "Order-1", "--json"]).succeeded().json().len(), 60);
    assert_eq!(run(&["log", "--category", "Order", "--type", "Paid", "--json"]).succeeded().json().len(), 150);
    assert_eq!(run(&["streams", "--json"]).succeeded().json().len(), 6);
    assert!(run(&["replay", "Order-1", "--json"]).succeeded().out.contains("296"));
    run(&["truncate", "Order-1", "--before", "11"]).succeeded();
    assert_eq!(run(&["stats", "--json"]).succeeded().json()[0]["events"], 301);
    assert_eq!(run(&["verify", "--json"]).succeeded().json(), [json!({"ok": true, "events": 291, "streams": 6, "problems": []})]);
}

#[test]
fn a_copy_to_postgres_and_back_is_the_same() {
    let Some(server) = server() else { return };
    let folder = Folder::with_events(&lines(2_000));
    let first = folder.run(&["export"]).succeeded().out.clone();
    let (one, other) = (format!("{}?schema=one&create=true", server.url()), format!("{}?schema=other&create=true", server.url()));
    let hops = [("file:factum-data", one.as_str()), (&one, "file:middle"), ("file:middle", &other), (&other, "file:last")];
    for (from, to) in hops {
        assert_eq!(folder.json(&["copy", from, to]), [json!({"copied": 2_000, "present": 0, "streams": 5, "ok": true})]);
        assert_eq!(folder.run(&["export", "--store", to]).succeeded().out, first, "{from} to {to}");
    }
}

#[test]
fn a_copy_that_is_killed_goes_on() {
    let Some(server) = server() else { return };
    let folder = Folder::with_events(&lines(6_000));
    let url = server.url();
    folder.run(&["init", "--store", &url]).succeeded();
    let mut copy = folder.start(&mut folder.command(&["copy", "file:factum-data", &url]));
    let recorded = || server.sql("postgres", "SELECT count(*) FROM factum.events").ok().and_then(|count| count.trim().parse().ok());
    while recorded().unwrap_or(0) < 1_000 && matches!(copy.try_wait(), Ok(None)) {
        std::thread::yield_now();
    }
    copy.kill().expect("it can be killed");
    copy.wait().expect("it can be waited for");
    let again = folder.json(&["copy", "file:factum-data", &url]);
    let present = again[0]["present"].as_u64().expect("a count");
    assert!(present >= 1_000 && again[0]["ok"] == true, "{again:?}");
    assert_eq!(folder.run(&["export", "--store", &url]).succeeded().out, folder.run(&["export"]).succeeded().out);
}

#[test]
fn a_log_that_is_followed_shows_what_comes() {
    let Some(server) = server() else { return };
    let folder = Folder::new();
    let url = server.url();
    folder.run(&["init", "--store", &url]).succeeded();
    let append = |number: &str| {
        folder.run(&["append", "Order-1", "--type", "T", "--data", number, "--store", &url]).succeeded();
    };
    append("1");
    let mut follow = folder.start(&mut folder.command(&["log", "--follow", "--json", "--store", &url]));
    let mut lines = std::io::BufReader::new(follow.stdout.take().expect("it is piped")).lines();
    for number in 1..=3 {
        let line = lines.next().expect("another line").expect("a line of text");
        assert!(line.contains(&format!("\"data\":{number}")), "{line}");
        append(&(number + 1).to_string());
    }
    follow.kill().expect("it can be killed");
    follow.wait().expect("it can be waited for");
}
