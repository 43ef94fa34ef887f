//! Correlation and causation ids flow from commands to events to what handlers make others do.

use factum::causation::{self, Causation, CorrelationId};
use factum::{CommandOptions, EventStoreExt, RecordedEvent};
use serde_json::{Value, json};

use crate::account::{Command, with_account};
use crate::memory;

fn metadata(event: &RecordedEvent) -> Value {
    serde_json::from_slice(&event.metadata).expect("it is JSON")
}

#[tokio::test]
async fn a_command_in_a_scope_stamps_all_its_events() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    let request = CorrelationId::new("request-7").expect("a short text");
    let options = CommandOptions::default().with_metadata("user", "ann").with_metadata("causation_id", "mine");
    causation::correlated(request.clone(), accounts.execute_with("1", Command::Withdraw { amount: 1 }, options)).await.expect("it is done");
    let events = store.load(&accounts.stream("1").expect("a name")).await.expect("it is read");
    for event in &events[2..] {
        assert_eq!(metadata(event), json!({"correlation_id": "request-7", "user": "ann", "causation_id": "mine"}));
    }

    let follow = causation::caused_by(&events[3], accounts.execute("1", Command::Deposit { amount: 1 }));
    follow.await.expect("it is done");
    let last = store.last_event(&events[0].stream).await.expect("it is read").expect("it is there");
    assert_eq!(causation::of(&last), Some(Causation { correlation_id: request, causation_id: Some(events[3].id) }));
}

#[tokio::test]
async fn events_of_one_command_belong_together_without_a_scope() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    accounts.execute("1", Command::Withdraw { amount: 1 }).await.expect("it is done");
    let events = store.load(&accounts.stream("1").expect("a name")).await.expect("it is read");
    assert!(events[0].metadata.is_empty() && events[2].metadata.is_empty());
    assert_eq!(metadata(&events[3]), json!({"correlation_id": events[2].id}));
    assert_eq!(causation::following(&events[2]).correlation_id, causation::following(&events[3]).correlation_id);
}

#[tokio::test]
async fn the_key_that_says_how_an_event_is_stored_is_not_the_users() {
    let accounts = with_account(&memory().await, 10).await;
    let options = CommandOptions::default().with_metadata("schema_version", 7);
    let error = accounts.execute_with("1", Command::Deposit { amount: 1 }, options).await.expect_err("it is refused");
    assert!(error.to_string().contains("use another"), "{error}");
}
