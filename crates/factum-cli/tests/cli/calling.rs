//! Calling `factum` at all: help, stores by URL, and what is said of wrong calls.

use serde_json::json;

use crate::folder::Folder;

const COMMANDS: [&str; 14] = [
    "append",
    "import",
    "export",
    "read",
    "log",
    "streams",
    "replay",
    "truncate",
    "verify",
    "compact",
    "stats",
    "copy",
    "demo",
    "completions",
];

#[test]
fn every_command_has_help_with_examples() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]);
    help.succeeded();
    for command in COMMANDS {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command} is listed");
        let ran = folder.run(&[command, "--help"]);
        ran.succeeded();
        assert!(ran.out.contains("Examples:\n") && ran.out.contains(&format!("factum {command}")), "{}", ran.out);
    }
    assert!(folder.run(&["--version"]).succeeded().out.starts_with("factum "));
}

#[test]
fn a_wrong_call_says_what_is_wrong_and_where_to_look() {
    let folder = Folder::new();
    assert!(folder.run(&[]).failed(2).contains("factum --help"));
    let ran = folder.run(&["raed", "Order-1"]);
    assert!(ran.failed(2).contains("read"), "{ran:?}");
    assert!(folder.run(&["read", "Order-1", "--form", "1"]).failed(2).contains("--from"));
    assert!(folder.run(&["read"]).failed(2).contains("factum read --help"));
    folder.run(&["log", "--follow", "--backward"]).failed(2);
    folder.run(&["replay"]).failed(2);
}

#[test]
fn reading_never_makes_a_store() {
    let folder = Folder::new();
    for words in [
        &["read", "Order-1"][..],
        &["log"],
        &["log", "--follow"],
        &["export"],
        &["streams"],
        &["replay", "Order-1"],
        &["stats"],
        &["verify"],
        &["truncate", "Order-1", "--before", "2"],
    ] {
        let ran = folder.run(words);
        let error = ran.failed(1);
        assert!(error.contains("no store at ./factum-data") && error.contains("--store"), "{error}");
    }
    assert!(!folder.path("factum-data").exists());
}

#[test]
fn a_store_in_memory_makes_no_sense_for_one_command() {
    let folder = Folder::new();
    for words in [&["stats"][..], &["append", "s", "--type", "T", "--data", "1"], &["verify"]] {
        folder.run(&[words, &["--store", "memory:"]].concat()).failed(2);
    }
    assert!(folder.run(&["stats", "--store", "kafka://nowhere"]).failed(2).contains("file:PATH"));
}

#[test]
fn the_store_is_given_by_option_or_environment() {
    let folder = Folder::new();
    folder.run(&["append", "s", "--type", "T", "--data", "1", "--store", "file:a b"]).succeeded();
    assert!(folder.path("a b").is_dir());
    let ran = folder.command(&["read", "s", "--json"]).env("FACTUM_STORE", "file:a b").output().expect("it runs");
    assert!(ran.status.success());
}

#[test]
fn a_folder_of_something_else_is_not_taken_for_a_store() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("mine")).expect("it can be made");
    folder.write("mine/letter.txt", "dear reader");
    let ran = folder.run(&["append", "s", "--type", "T", "--data", "1", "--store", "file:mine"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    let names: Vec<_> =
        std::fs::read_dir(folder.path("mine")).expect("it is there").map(|entry| entry.expect("readable").file_name()).collect();
    assert_eq!(names, ["letter.txt"]);
}

#[test]
fn a_stream_that_is_not_there_is_an_error_that_helps() {
    let folder = Folder::with_events(r#"{"stream":"Order-1","type":"T","data":1}"#);
    for words in [&["read", "Order-2"][..], &["replay", "Order-2"], &["truncate", "Order-2", "--before", "1"]] {
        let ran = folder.run(words);
        assert!(ran.failed(1).contains("no stream Order-2"), "{ran:?}");
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(folder.run(&["completions", shell]).succeeded().out.contains("factum"), "{shell}");
    }
    folder.run(&["completions", "tcl"]).failed(2);
}

#[test]
fn streams_are_listed_with_their_versions() {
    let folder = Folder::with_events(concat!(
        r#"{"stream":"Order-2","type":"T","data":1}"#,
        "\n",
        r#"{"stream":"Cart-1","type":"T","data":1}"#,
        "\n",
        r#"{"stream":"Order-2","type":"T","data":1}"#,
        "\n"
    ));
    assert_eq!(
        folder.json(&["streams"]),
        [json!({"stream": "Order-2", "version": 2, "first_version": 1}), json!({"stream": "Cart-1", "version": 1, "first_version": 1})]
    );
    assert_eq!(folder.json(&["streams", "--category", "Cart"]).len(), 1);
    assert_eq!(folder.json(&["streams", "--limit", "1"]).len(), 1);
    assert_eq!(folder.run(&["streams"]).out, "version  stream\n      2  Order-2\n      1  Cart-1\n");
}

#[test]
fn truncated_events_are_gone_and_versions_stay() {
    let folder = Folder::with_events(
        &r#"{"stream":"s-1","type":"T","data":1}
"#
        .repeat(5),
    );
    assert_eq!(folder.json(&["truncate", "s-1", "--before", "4"]), [json!({"stream": "s-1", "version": 5, "first_version": 4})]);
    let versions: Vec<_> = folder.json(&["read", "s-1"]).into_iter().map(|event| event["version"].clone()).collect();
    assert_eq!(versions, [json!(4), json!(5)]);
    assert!(folder.run(&["replay", "s-1"]).succeeded().err.contains("truncated before version 4"));
    folder.run(&["truncate", "s-1", "--before", "7"]).failed(2);
    assert!(folder.run(&["truncate", "s-1", "--before", "6"]).succeeded().out.contains("2 events forgotten, 0 left"));
    assert!(folder.run(&["read", "s-1"]).succeeded().err.contains("all of them are truncated"));
    assert_eq!(folder.json(&["append", "s-1", "--type", "T", "--data", "1"])[0]["version"], 6);
}
