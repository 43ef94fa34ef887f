//! Typed events are stored as their names and fields, and read back the same.

use std::collections::BTreeMap;

use factum::{Codec, Error, Event, EventStoreExt, ExpectedVersion, NewEvent, RecordedEvent, Shape, StreamId, UnknownTypes, Uuid, connect};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Everything {
    Nothing,
    Fields {
        text: String,
        more: Option<u32>,
    },
    One(Inner),
    Number(u64),
    Two(u8, String),
    #[serde(rename = "GivenName")]
    Renamed {
        a: u8,
    },
    Flat {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u32>,
    },
    #[serde(skip)]
    Other(Shape),
}
impl Event for Everything {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    nested: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fields {
    text: String,
}
impl Event for Fields {
    fn tags(&self) -> Vec<String> {
        vec![format!("text:{}", self.text)]
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number(u64);
impl Event for Number {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;
impl Event for Nothing {}

async fn record(events: Vec<NewEvent>) -> Vec<RecordedEvent> {
    let store = connect("memory:").await.expect("it opens");
    let stream = StreamId::new("Stream-1").expect("a short name");
    store.append_to(&stream, ExpectedVersion::NoStream, events).await.expect("it is recorded");
    store.load(&stream).await.expect("it is read")
}

fn every_form() -> Vec<(Everything, &'static str, &'static str)> {
    vec![
        (Everything::Nothing, "Nothing", "{}"),
        (Everything::Fields { text: "a".into(), more: None }, "Fields", r#"{"text":"a","more":null}"#),
        (Everything::One(Inner { nested: vec![1, 2] }), "One", r#"{"nested":[1,2]}"#),
        (Everything::Number(7), "Number", "7"),
        (Everything::Two(1, "b".into()), "Two", r#"[1,"b"]"#),
        (Everything::Renamed { a: 1 }, "GivenName", r#"{"a":1}"#),
        (Everything::Flat { a: 1, rest: BTreeMap::from([("b".into(), 2)]) }, "Flat", r#"{"a":1,"b":2}"#),
    ]
}

#[tokio::test]
async fn every_form_that_serde_knows_is_read_back() {
    let codec = Codec::<Everything>::new();
    let mut stored = Vec::new();
    for (event, name, json) in every_form() {
        let new = codec.encode(&event, Uuid::now_v7()).expect("it is written");
        assert_eq!((new.event_type.as_str(), &*new.data), (name, json.as_bytes()));
        assert!(new.metadata.is_empty(), "version 1 of a schema needs no metadata");
        stored.push(new);
    }
    let recorded = record(stored).await;
    for (recorded, (event, ..)) in recorded.iter().zip(every_form()) {
        assert_eq!(codec.decode(recorded).expect("it is read"), [event]);
    }
}

#[tokio::test]
async fn a_struct_reads_the_one_type_it_is_named_after() {
    let everything = Codec::<Everything>::new();
    let stored = every_form().iter().map(|(event, ..)| everything.encode(event, Uuid::now_v7()).expect("it is written")).collect();
    let recorded = record(stored).await;
    let fields = Codec::<Fields>::with(UnknownTypes::Skip);
    let found: Vec<Fields> = recorded.iter().flat_map(|event| fields.decode(event).expect("it is read")).collect();
    assert_eq!(found, [Fields { text: "a".into() }]);
    assert_eq!(Codec::<Number>::new().decode(&recorded[3]).expect("it is read"), [Number(7)]);
    assert_eq!(Codec::<Nothing>::new().decode(&recorded[0]).expect("it is read"), [Nothing]);
    assert_eq!(fields.encode(&found[0], Uuid::nil()).expect("it is written").tags[0], "text:a");
}

#[tokio::test]
async fn unknown_types_fail_are_skipped_or_pass_by_choice() {
    let unknown = &record(vec![NewEvent::json("Unheard", &serde_json::json!({"a": 1})).expect("an event")]).await[0];
    let error = Codec::<Everything>::new().decode(unknown).expect_err("it fails").to_string();
    assert!(error.starts_with("Stream-1 version 1 (Unheard) can't be read: Unheard is no event of"), "{error}");
    assert_eq!(Codec::<Everything>::with(UnknownTypes::Skip).decode(unknown).expect("it is skipped"), []);
    let shape = Shape::new("Unheard", serde_json::json!({"a": 1}));
    assert_eq!(
        Codec::<Everything>::with(UnknownTypes::Pass(Everything::Other)).decode(unknown).expect("it passes"),
        [Everything::Other(shape)]
    );
}

#[tokio::test]
async fn damaged_data_is_an_error_that_says_where() {
    for data in [&b"{"[..], b"", b"[]", br#"{"text":7,"more":null}"#, br#"{"text":"a"} x"#] {
        let event = NewEvent::new("Fields".parse().expect("a type"), data.to_vec());
        let error = Codec::<Fields>::new().decode(&record(vec![event]).await[0]).expect_err("it fails");
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(error.to_string().starts_with("Stream-1 version 1 (Fields) can't be read: "), "{error}");
    }
}

#[test]
#[should_panic(expected = "without #[serde(tag)]")]
fn a_type_without_names_is_noticed_at_once() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        _A,
    }
    impl Event for Tagged {}
    _ = Codec::<Tagged>::new();
}
