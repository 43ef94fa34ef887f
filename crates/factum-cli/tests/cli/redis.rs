//! Every command on a store on Redis: a real server, in a temporary folder.

use std::io::BufRead;

use factum_servers::RedisServer;
use serde_json::json;

use crate::folder::{Folder, lines_of_five_streams as lines};

/// A server, or a skip that shows; where everything must be tried a missing one is a failure.
pub(crate) fn server() -> Option<RedisServer> {
    if let Some(reason) = RedisServer::missing() {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    Some(RedisServer::start().expect("the server starts"))
}

#[test]
fn every_command_works_on_redis() {
    let Some(server) = server() else { return };
    let folder = Folder::new();
    let url = server.url();
    let run = |words: &[&str]| folder.run(&[words, &["--store", &url]].concat());
    folder.write("events.jsonl", lines(300));
    assert!(run(&["read", "Order-1"]).failed(1).contains("there is no store named factum"));
    run(&["append", "Cart-1", "--type", "Opened", "--data", "{}", "--expect", "none"]).succeeded();
    run(&["append", "Cart-1", "--type", "Opened", "--data", "{}", "--expect", "none"]).failed(3);
    run(&["import", "events.jsonl"]).succeeded();
    assert!(run(&["import", "events.jsonl"]).succeeded().out.contains("300 had been imported before"));
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
fn a_copy_to_redis_and_back_is_the_same() {
    let Some(server) = server() else { return };
    let folder = Folder::with_events(&lines(2_000));
    let first = folder.run(&["export"]).succeeded().out.clone();
    let (one, parts) = (format!("{}?name=one", server.url()), format!("{}?name=parts&partitions=3", server.url()));
    let hops = [("file:factum-data", one.as_str()), (&one, "file:middle"), ("file:middle", &parts), (&parts, "file:last")];
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
    let mut copy = folder.start(&mut folder.command(&["copy", "file:factum-data", &url]));
    let recorded = || server.ask(&["XLEN", "{factum:0}:log"]).ok().and_then(|answer| answer.trim().trim_start_matches(':').parse().ok());
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
fn what_the_server_may_lose_is_said_once() {
    let Some(server) = server() else { return };
    let folder = Folder::new();
    let append = |url: &str| folder.run(&["append", "Order-1", "--type", "T", "--data", "1", "--store", url]);
    assert_eq!(append(&server.url()).succeeded().err, "");
    server.ask(&["CONFIG", "SET", "appendfsync", "everysec"]).expect("it answers");
    let warned = append(&server.url());
    assert_eq!(warned.succeeded().err.matches("note: ").count(), 1, "{warned:?}");
    assert!(warned.err.contains("appendfsync everysec"), "{warned:?}");
    assert_eq!(append(&format!("{}?durability=any", server.url())).succeeded().err, "");
    assert!(append(&format!("{}?durability=always", server.url())).failed(1).contains("appendfsync everysec"));
}

#[test]
fn a_log_that_is_followed_shows_what_comes() {
    let Some(server) = server() else { return };
    let folder = Folder::new();
    let append = |number: &str| {
        let words = ["append", "Order-1", "--type", "T", "--data", number, "--store", &server.url()];
        folder.run(&words).succeeded();
    };
    append("1");
    let mut follow = folder.start(&mut folder.command(&["log", "--follow", "--json", "--store", &server.url()]));
    let mut lines = std::io::BufReader::new(follow.stdout.take().expect("it is piped")).lines();
    for number in 1..=3 {
        let line = lines.next().expect("another line").expect("a line of text");
        assert!(line.contains(&format!("\"data\":{number}")), "{line}");
        append(&(number + 1).to_string());
    }
    follow.kill().expect("it can be killed");
    follow.wait().expect("it can be waited for");
}
