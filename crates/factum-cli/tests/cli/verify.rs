//! `factum verify`, on whole stores and on damaged ones.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::folder::Folder;

fn store() -> Folder {
    let line = |number: u32| format!("{{\"stream\":\"Order-{}\",\"type\":\"Counted\",\"data\":{{\"number\":{number}}}}}\n", number % 9);
    Folder::with_events(&(1..=2_000).map(line).collect::<String>())
}

#[test]
fn a_whole_store_is_ok() {
    let folder = store();
    let report = folder.json(&["verify"]).remove(0);
    assert_eq!((&report["ok"], &report["events"], &report["streams"]), (&json!(true), &json!(2_000), &json!(9)));
    assert_eq!(report["problems"], json!([]));
    let ran = folder.run(&["verify"]);
    assert!(ran.succeeded().out.starts_with("ok: 2,000 events in 9 streams"), "{ran:?}");
    assert!(!folder.path("saved").exists());
}

/// The file that holds the first event's data, and where in it.
fn place_of_an_event(folder: &Folder) -> (PathBuf, usize) {
    let mut files = vec![folder.path("factum-data")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
            continue;
        }
        let bytes = fs::read(&path).expect("readable");
        if let Some(at) = bytes.windows(14).position(|window| window == b"{\"number\":700}") {
            return (path, at);
        }
    }
    panic!("some file holds the events");
}

#[test]
fn a_damaged_byte_is_found_and_the_rest_saved() {
    let folder = store();
    let (file, at) = place_of_an_event(&folder);
    let mut bytes = fs::read(&file).expect("readable");
    bytes[at + 10] ^= 1;
    fs::write(&file, bytes).expect("writable");

    let ran = folder.run(&["verify"]);
    let error = ran.failed(1);
    assert!(error.contains("damaged") && error.contains("--salvage"), "{error}");
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    assert!(ran.out.contains(&name), "the damage is reported with its file: {}", ran.out);
    let ran = folder.run(&["verify", "--json"]);
    let report = &ran.json()[0];
    assert_eq!((ran.code, &report["ok"]), (Some(1), &json!(false)));
    assert!(report["problems"][0]["offset"].is_u64() && report["problems"][0]["what"].is_string(), "{report}");

    let ran = folder.run(&["verify", "--salvage", "saved", "--json"]);
    assert_eq!(ran.code, Some(1), "the exit code is about the store that was checked");
    let saved = ran.json()[0]["salvaged"]["events"].as_u64().expect("a number");
    assert!((1_000..2_000).contains(&saved), "{saved}");
    assert_eq!(folder.json(&["verify", "--store", "file:saved"])[0]["events"], saved);
    folder.run(&["verify", "--salvage", "saved"]).failed(1);
}

#[test]
fn a_damaged_index_is_found_and_made_again() {
    let folder = store();
    let index = folder.path("factum-data/index");
    let files = fs::read_dir(&index).expect("readable").map(|file| file.expect("readable").path());
    let file = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "run")).expect("there is an index file");
    let mut bytes = fs::read(&file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("writable");
    let ran = folder.run(&["verify"]);
    assert!(ran.failed(1).contains("delete ./factum-data/index"), "{ran:?}");

    fs::remove_dir_all(&index).expect("it can be deleted");
    assert_eq!(folder.json(&["read", "Order-1"]).len(), 223);
    folder.run(&["append", "Order-1", "--type", "T", "--data", "1", "--expect", "223"]).succeeded();
    folder.run(&["verify"]).succeeded();
}

#[test]
fn only_a_directory_can_be_verified() {
    let folder = Folder::new();
    folder.run(&["verify", "--store", "memory:"]).failed(2);
    assert!(folder.run(&["verify", "--store", "file:nowhere"]).failed(1).contains("no store at nowhere"));
}
