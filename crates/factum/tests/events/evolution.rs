//! What was stored in an earlier shape is read in the one of today.

use factum::{Codec, Event, EventStoreExt, ExpectedVersion, NewEvent, RecordedEvent, Shape, StreamId, Upcasters, Uuid, connect};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum UserEvent {
    UserRegistered { name: String, email: String, locale: String },
    StreetChanged { street: String },
    CityChanged { city: String },
    NameChanged { first: Option<String>, last: Option<String> },
    UserClosed {},
}

impl Event for UserEvent {
    fn upcasters() -> Upcasters {
        Upcasters::new()
            .from("UserRegistered", 1, |shape| shape.rename_field("mail", "email"))
            .from("UserRegistered", 2, |shape| shape.default_field("locale", "en"))
            .from("UserMoved", 1, |shape| {
                let (street, city) = (shape.data["street"].clone(), shape.data["city"].clone());
                vec![Shape::new("StreetChanged", json!({"street": street})), Shape::new("CityChanged", json!({"city": city}))]
            })
            .from("FirstNameChanged", 1, |shape| Shape::new("NameChanged", json!({"first": shape.data["name"]})))
            .from("LastNameChanged", 1, |shape| Shape::new("NameChanged", json!({"last": shape.data["name"]})))
            .rename_type("UserDeleted", "UserClosed")
            .drop_type("UserPinged")
    }
}

fn stored(event_type: &str, data: Value, version: u32) -> NewEvent {
    let event = NewEvent::json(event_type, &data).expect("an event");
    if version == 1 { event } else { event.with_metadata(json!({"schema_version": version, "user": "ann"}).to_string()) }
}

async fn record(events: Vec<NewEvent>) -> Vec<RecordedEvent> {
    let store = connect("memory:").await.expect("it opens");
    let stream = StreamId::new("User-1").expect("a short name");
    store.append_to(&stream, ExpectedVersion::NoStream, events).await.expect("it is recorded");
    store.load(&stream).await.expect("it is read")
}

#[tokio::test]
async fn every_stored_shape_is_read_in_the_one_of_today() {
    let registered = |locale: &str| UserEvent::UserRegistered { name: "Ann".into(), email: "a@b.c".into(), locale: locale.into() };
    let cases = [
        (stored("UserRegistered", json!({"name": "Ann", "mail": "a@b.c"}), 1), vec![registered("en")]),
        (stored("UserRegistered", json!({"name": "Ann", "email": "a@b.c"}), 2), vec![registered("en")]),
        (stored("UserRegistered", json!({"name": "Ann", "email": "a@b.c", "locale": "fr"}), 3), vec![registered("fr")]),
        (
            stored("UserMoved", json!({"street": "Main", "city": "Rome"}), 1),
            vec![UserEvent::StreetChanged { street: "Main".into() }, UserEvent::CityChanged { city: "Rome".into() }],
        ),
        (stored("FirstNameChanged", json!({"name": "Bea"}), 1), vec![UserEvent::NameChanged { first: Some("Bea".into()), last: None }]),
        (stored("LastNameChanged", json!({"name": "Lee"}), 1), vec![UserEvent::NameChanged { first: None, last: Some("Lee".into()) }]),
        (stored("UserPinged", json!({}), 1), vec![]),
        (stored("UserDeleted", json!({}), 1), vec![UserEvent::UserClosed {}]),
    ];
    let codec = Codec::<UserEvent>::new();
    let recorded = record(cases.iter().map(|(stored, _)| stored.clone()).collect()).await;
    for (recorded, (_, today)) in recorded.iter().zip(&cases) {
        assert_eq!(&codec.decode(recorded).expect("it is read"), today);
    }
}

#[tokio::test]
async fn what_is_written_says_its_schema_version() {
    let codec = Codec::<UserEvent>::new();
    let event = UserEvent::UserRegistered { name: "Ann".into(), email: "a@b.c".into(), locale: "fr".into() };
    let new = codec.encode(&event, Uuid::now_v7()).expect("it is written");
    assert_eq!(new.metadata, r#"{"schema_version":3}"#);
    assert_eq!(codec.decode(&record(vec![new]).await[0]).expect("it is read"), [event]);
}

#[tokio::test]
async fn what_a_newer_program_stored_is_not_guessed_at() {
    let newer = stored("UserRegistered", json!({"who": {}}), 4);
    let plain = stored("CityChanged", json!({"city": "Rome"}), 2);
    for recorded in record(vec![newer, plain]).await {
        let error = Codec::<UserEvent>::new().decode(&recorded).expect_err("it fails").to_string();
        assert!(error.contains("use a newer program"), "{error}");
    }
}

#[test]
#[should_panic(expected = "no upcaster leads on from version 1 of A")]
fn a_gap_between_versions_is_noticed_at_once() {
    #[derive(Debug, Serialize, Deserialize)]
    struct A {}
    impl Event for A {
        fn upcasters() -> Upcasters {
            Upcasters::new().from("A", 2, |shape| shape)
        }
    }
    _ = Codec::<A>::new();
}
