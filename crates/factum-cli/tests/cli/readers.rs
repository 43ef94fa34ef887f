//! `factum subscriptions`, `factum groups` and `factum projections`, on what a program has left.

use factum::{Backoff, Group, Groups, OnFailure, Processor, RecordedEvent, connect};
use serde_json::json;

use crate::folder::Folder;

/// A shop whose reader can't read the second of three orders.
fn shop() -> Folder {
    let lines: Vec<String> = (1..=3).map(|number| format!(r#"{{"stream":"Order-{number}","type":"Placed","data":{number}}}"#)).collect();
    Folder::with_events(&lines.join("\n"))
}

fn run<T>(folder: &Folder, program: impl AsyncFnOnce(factum::SharedStore) -> factum::Result<T>) -> T {
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

#[cfg(feature = "sqlite")]
#[test]
fn projections_are_compared_switched_and_dropped() {
    use factum::projection::{Projection, Projector, SqlRows, SqlTarget};

    /// Adds so much to each number.
    struct Numbers(i64);

    #[factum::async_trait]
    impl Projection<SqlRows> for Numbers {
        fn name(&self) -> &str {
            "numbers"
        }

        fn tables(&self) -> &[&'static str] {
            &["numbers"]
        }

        async fn create(&self, rows: &mut SqlRows) -> factum::Handled {
            rows.execute("CREATE TABLE {numbers} (number BIGINT)", &[]).await?;
            Ok(())
        }

        async fn apply(&self, event: &RecordedEvent, rows: &mut SqlRows) -> factum::Handled {
            let number: i64 = event.json()?;
            rows.execute("INSERT INTO {numbers} VALUES ($1)", &[(number + self.0).into()]).await?;
            Ok(())
        }
    }

    let folder = shop();
    let database = format!("sqlite:{}", folder.path("rows.db").display());
    run(&folder, async |store| {
        let target = SqlTarget::connect(&database).await?;
        Projector::new(store.clone(), target.clone(), Numbers(0)).run_to_end().await?;
        Projector::new(store, target, Numbers(1)).version(2).run_to_end().await
    });
    let of = |words: &[&str]| folder.json(&[words, &["--database", &database]].concat());
    let listed = of(&["projections"]);
    assert_eq!((&listed[0]["version"], &listed[0]["live"], &listed[0]["behind"]), (&json!(1), &json!(true), &json!(0)));
    assert_eq!((&listed[1]["version"], &listed[1]["live"], &listed[1]["tables"]), (&json!(2), &json!(false), &json!(["numbers_v2"])));
    let compared = of(&["projections", "compare", "numbers"]).remove(0);
    assert_eq!((&compared["same"], &compared["position"]), (&json!(false), &json!(3)));
    assert_eq!(compared["tables"][0]["examples"], json!(["- 1", "+ 4"]));
    assert_eq!(of(&["projections", "switch", "numbers"])[0]["version"], 2);
    assert_eq!(of(&["projections", "drop", "numbers"])[0]["dropped"], 1);
    assert_eq!(of(&["projections"]).len(), 1);
    // A program builds what is asked for, while it runs.
    assert_eq!(of(&["projections", "rebuild", "numbers"])[0]["version"], 3);
    run(&folder, async |store| {
        let target = SqlTarget::connect(&database).await?;
        let built = async {
            while !target.builds("numbers").await.is_ok_and(|builds| builds.iter().any(|b| b.version == 3 && b.position.number() == 3)) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        Projector::new(store, target.clone(), Numbers(2)).run_until(built).await
    });
    let compared = of(&["projections", "compare", "numbers"]).remove(0);
    assert_eq!(compared["tables"][0]["examples"], json!(["- 2", "+ 5"]));
    assert_eq!(of(&["projections", "drop", "numbers", "--version", "3"])[0]["dropped"], 1);
    let nobody = folder.run(&["projections", "rebuild", "nobody", "--database", &database]);
    assert!(nobody.failed(2).contains("there is no projection"));
    let again = folder.run(&["projections", "switch", "numbers", "--database", &database]);
    assert!(again.failed(2).contains("no version after 2"));
}
