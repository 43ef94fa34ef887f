//! Golden files notice what would make stored events unreadable.

use std::fs;
use std::path::Path;

use factum::testing::Golden;
use factum::{Event, Upcasters};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure;

#[derive(Serialize, Deserialize)]
enum UserEvent {
    UserRegistered { email: String, locale: String },
    UserClosed,
}

impl Event for UserEvent {
    fn upcasters() -> Upcasters {
        Upcasters::new()
            .from("UserRegistered", 1, |shape| shape.default_field("locale", "en"))
            .rename_type("UserDeleted", "UserClosed")
            .drop_type("UserPinged")
    }
}

fn samples() -> [UserEvent; 2] {
    [UserEvent::UserRegistered { email: "a@b.c".into(), locale: "fr".into() }, UserEvent::UserClosed]
}

fn write(folder: &Path, event_type: &str, version: u32, data: &Value, today: &Value) {
    let file = json!({"type": event_type, "schema_version": version, "data": data, "today": today});
    fs::write(folder.join(format!("{event_type}.v{version}.json")), file.to_string()).expect("it is written");
}

/// A folder in which all is as it should be.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let registered = |data: Value| json!([{"type": "UserRegistered", "data": data}]);
    let (french, english) = (json!({"email": "a@b.c", "locale": "fr"}), json!({"email": "d@e.f", "locale": "en"}));
    write(folder.path(), "UserRegistered", 2, &french, &registered(french.clone()));
    write(folder.path(), "UserRegistered", 1, &json!({"email": "d@e.f"}), &registered(english));
    write(folder.path(), "UserClosed", 1, &json!({}), &json!([{"type": "UserClosed", "data": {}}]));
    write(folder.path(), "UserDeleted", 1, &json!({"why": "spam"}), &json!([{"type": "UserClosed", "data": {}}]));
    write(folder.path(), "UserPinged", 1, &json!({}), &json!([]));
    folder
}

#[test]
fn what_is_as_the_files_say_passes() {
    Golden::<UserEvent>::in_folder(folder().path()).check(samples());
}

#[test]
fn a_version_without_a_file_is_noticed() {
    for (file, from_sample) in [("UserRegistered.v1.json", false), ("UserClosed.v1.json", true), ("UserPinged.v1.json", false)] {
        let folder = folder();
        fs::remove_file(folder.path().join(file)).expect("it is there");
        let message = failure(|| Golden::<UserEvent>::in_folder(folder.path()).check(samples()));
        assert!(message.contains(&format!("{file} is missing")), "{from_sample} {message}");
    }
}

#[test]
fn another_meaning_of_what_is_stored_is_noticed() {
    let folder = folder();
    let today = json!([{"type": "UserRegistered", "data": {"email": "d@e.f", "locale": "de"}}]);
    write(folder.path(), "UserRegistered", 1, &json!({"email": "d@e.f"}), &today);
    let message = failure(|| Golden::<UserEvent>::in_folder(folder.path()).check(samples()));
    assert!(message.starts_with("UserRegistered.v1.json is read as something else than it says:"), "{message}");
    assert!(message.contains("-  \"locale\": \"de\"\n+  \"locale\": \"en\""), "{message}");
}

#[test]
fn another_shape_without_a_new_version_is_noticed() {
    #[derive(Serialize, Deserialize)]
    struct UserClosed {
        #[serde(default)]
        reason: String,
    }
    impl Event for UserClosed {}
    let folder = folder();
    let closed = UserClosed { reason: "spam".into() };
    let message = failure(|| Golden::<UserClosed>::in_folder(folder.path()).check([closed]));
    assert!(message.contains("UserClosed is stored in another shape, and still as schema version 1"), "{message}");
    assert!(message.contains("+data.reason: text"), "{message}");
}

/// The bug: only the files of today's types and of those with upcasters were looked at, so a variant could go and nobody noticed.
#[test]
fn a_type_that_is_gone_from_the_code_is_noticed() {
    let folder = folder();
    write(folder.path(), "UserMoved", 1, &json!({"city": "Rome"}), &json!([]));
    let message = failure(|| Golden::<UserEvent>::in_folder(folder.path()).check(samples()));
    assert!(message.starts_with("UserMoved.v1.json: "), "{message}");
    assert!(message.contains("UserMoved is no event of") && message.contains("give it an upcaster"), "{message}");
}

#[test]
fn what_can_not_be_read_any_more_is_noticed() {
    #[derive(Serialize, Deserialize)]
    struct UserRegistered {
        name: String,
    }
    impl Event for UserRegistered {}
    let folder = folder();
    fs::remove_file(folder.path().join("UserRegistered.v2.json")).expect("it is there");
    let message = failure(|| Golden::<UserRegistered>::in_folder(folder.path()).check([]));
    assert!(message.contains("missing field `name`"), "{message}");
}
