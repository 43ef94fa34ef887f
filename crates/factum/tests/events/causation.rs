//! Correlation and causation ids flow from what is handled to what is recorded.

use factum::causation::{self, Causation, CorrelationId};
use factum::{EventStoreExt, ExpectedVersion, NewEvent, RecordedEvent, SharedStore, StreamId, connect};
use serde_json::{Value, json};

async fn record(store: &SharedStore, stream: &str, event: NewEvent) -> RecordedEvent {
    let stream = StreamId::new(stream).expect("a short name");
    store.append_to(&stream, ExpectedVersion::Any, vec![event]).await.expect("it is recorded");
    store.last_event(&stream).await.expect("it is read").expect("there is one")
}

fn event() -> NewEvent {
    NewEvent::json("Happened", &json!({})).expect("an event")
}

#[tokio::test]
async fn what_a_handler_records_follows_from_what_it_handles() {
    let store = connect("memory:").await.expect("it opens");
    let request = CorrelationId::new("request-7").expect("a short text");
    let first = causation::correlated(request.clone(), async { record(&store, "A-1", event()).await }).await;
    assert_eq!(causation::of(&first), Some(Causation { correlation_id: request.clone(), causation_id: None }));

    let second = causation::caused_by(&first, async { record(&store, "B-1", event()).await }).await;
    let third = causation::caused_by(&second, async { record(&store, "C-1", event()).await }).await;
    assert_eq!(causation::of(&second), Some(Causation { correlation_id: request.clone(), causation_id: Some(first.id) }));
    assert_eq!(causation::of(&third), Some(Causation { correlation_id: request, causation_id: Some(second.id) }));
}

#[tokio::test]
async fn an_event_without_a_correlation_id_is_the_beginning_of_one() {
    let store = connect("memory:").await.expect("it opens");
    let first = record(&store, "A-1", event()).await;
    assert!(first.metadata.is_empty(), "outside of a scope nothing is added");
    let second = causation::caused_by(&first, async { record(&store, "B-1", event()).await }).await;
    assert_eq!(causation::of(&second), Some(Causation { correlation_id: first.id.into(), causation_id: Some(first.id) }));
}

#[tokio::test]
async fn the_users_metadata_and_own_ids_are_kept() {
    let store = connect("memory:").await.expect("it opens");
    let request = CorrelationId::new("request-7").expect("a short text");
    causation::correlated(request, async {
        let users = record(&store, "A-1", event().with_metadata(r#"{"user":"ann"}"#)).await;
        let metadata: Value = serde_json::from_slice(&users.metadata).expect("it is JSON");
        assert_eq!(metadata, json!({"user": "ann", "correlation_id": "request-7"}));
        let own = record(&store, "A-1", event().with_metadata(r#"{"correlation_id":"mine"}"#)).await;
        assert_eq!(own.metadata, r#"{"correlation_id":"mine"}"#);
        let bytes = record(&store, "A-1", event().with_metadata("not JSON")).await;
        assert_eq!(bytes.metadata, "not JSON");
    })
    .await;
}

#[tokio::test]
async fn a_spawned_task_gets_its_causation_by_hand() {
    let request = CorrelationId::new("request-7").expect("a short text");
    causation::correlated(request.clone(), async {
        let alone = tokio::spawn(async { event().metadata }).await.expect("it ends");
        assert!(alone.is_empty());
        let along = tokio::spawn(causation::scope(causation::current(), async { causation::current() })).await.expect("it ends");
        assert_eq!(along.expect("it is in the scope").correlation_id, request);
    })
    .await;
}
