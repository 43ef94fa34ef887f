//! `factum subscriptions`, `factum groups` and the names that `factum projections` lists, on what a program has left.

use factum::{Backoff, Group, Groups, OnFailure, Processor, RecordedEvent, connect};
use serde_json::json;

use crate::folder::Folder;

/// A shop whose reader can't read the second of three orders.
pub(crate) fn shop() -> Folder {
    let lines: Vec<String> = (1..=3).map(|number| format!(r#"{{"stream":"Order-{number}","type":"Placed","data":{number}}}"#)).collect();
    Folder::with_events(&lines.join("\n"))
}

pub(crate) fn run<T>(folder: &Folder, program: impl AsyncFnOnce(factum::SharedStore) -> factum::Result<T>) -> T {
    let url = format!("file:{}", folder.path("factum-data").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be started");
    runtime.block_on(async {
        let store = connect(&url).await.expect("the store opens");
        let outcome = program(store.clone()).await.expect("the program runs");
        store.close().await.expect("the store closes");
        outcome
    })
}

async fn handle(event: RecordedEvent) -> factum::Handled {
    if event.stream == "Order-2" { Err("it can't be read".into()) } else { Ok(()) }
}

#[test]
fn subscriptions_are_listed_shown_replayed_and_skipped() {
    let folder = shop();
    assert!(folder.run(&["subscriptions"]).succeeded().err.contains("no subscriptions"));
    run(&folder, async |store| {
        Processor::new(store, "letters").retry(Backoff::ONCE).on_failure(OnFailure::Park).otherwise(handle).run_to_end().await
    });
    folder.run(&["append", "Order-4", "--type", "Placed", "--data", "4"]).succeeded();
    let expected = json!({"subscription": "letters", "position": 3, "behind": 1, "parked": 1, "fence": 1});
    assert_eq!(folder.json(&["subscriptions"]), [expected]);
    let shown = folder.json(&["subscriptions", "show", "letters"]).remove(0);
    assert_eq!((&shown["parked"][0]["stream"], &shown["parked"][0]["reason"]), (&json!("Order-2"), &json!("it can't be read")));
    assert!(folder.run(&["subscriptions", "show", "letters"]).succeeded().out.contains("Order-2 v1"));
    assert!(folder.run(&["subscriptions", "replay", "letters"]).succeeded().err.contains("1 event will be handled again"));
    // What it does it says to programs, too.
    assert_eq!(folder.json(&["subscriptions", "replay", "letters"]), [json!({"subscription": "letters", "replayed": 1})]);
    assert_eq!(folder.json(&["subscriptions", "skip", "letters", "--position", "2"]), [json!({"subscription": "letters", "skipped": 2})]);
    assert!(folder.run(&["subscriptions", "skip", "letters", "--position", "2"]).failed(2).contains("no event at position 2"));
    assert!(folder.run(&["subscriptions", "replay", "nobody"]).failed(2).contains("there is no subscription"));
}

#[test]
fn groups_are_listed_shown_replayed_skipped_parked_and_reset() {
    let folder = shop();
    assert!(folder.run(&["groups"]).succeeded().err.contains("no groups"));
    run(&folder, async |store| {
        let groups = Groups::new(store.clone());
        let parked = async {
            loop {
                // Before the group has begun there is none.
                if groups.get("letters").await.is_ok_and(|group| group.held.len() == 1 && group.position.number() == 3) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        Group::new(store, "letters").retry(Backoff::ONCE).otherwise(handle).run_until(parked).await
    });
    let listed = folder.json(&["groups"]).remove(0);
    assert_eq!(
        (&listed["members"], &listed["position"], &listed["behind"], &listed["parked"]),
        (&json!(0), &json!(3), &json!(0), &json!(1))
    );
    let shown = folder.json(&["groups", "show", "letters"]).remove(0);
    assert_eq!((&shown["held"][0]["key"], &shown["held"][0]["event"]["reason"]), (&json!("Order-2"), &json!("it can't be read")));
    assert!(folder.run(&["groups", "show", "letters"]).succeeded().out.contains("it can't be read"));
    assert!(folder.run(&["groups", "replay", "letters"]).succeeded().err.contains("1 key will be tried again"));
    assert_eq!(folder.json(&["groups", "replay", "letters"]), [json!({"group": "letters", "replayed": 1})]);
    assert_eq!(
        folder.json(&["groups", "park", "letters", "--key", "Order-2", "--reason", "later"]),
        [json!({"group": "letters", "parked": "Order-2"})]
    );
    assert_eq!(folder.json(&["groups", "skip", "letters", "--key", "Order-2"]), [json!({"group": "letters", "skipped": "Order-2"})]);
    assert!(folder.run(&["groups", "skip", "letters", "--key", "Order-9"]).failed(2).contains("nothing holds key"));
    assert_eq!(folder.json(&["groups", "reset", "letters", "--to", "1"]), [json!({"group": "letters", "position": 1})]);
    let listed = folder.json(&["groups"]).remove(0);
    assert_eq!((&listed["position"], &listed["behind"], &listed["parked"]), (&json!(1), &json!(2), &json!(0)));
    assert!(folder.run(&["groups", "reset", "letters", "--to", "soon"]).failed(2).contains("is none of beginning"));
}

#[test]
fn projections_are_listed_by_name_and_ask_for_their_database() {
    let folder = shop();
    assert!(folder.run(&["projections"]).succeeded().err.contains("no projections"));
    assert!(folder.run(&["projections", "switch", "orders"]).failed(2).contains("--database"));
}
