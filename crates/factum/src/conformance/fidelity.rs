//! Fidelity: an event comes back as it was given, bit by bit.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::check::{Check, Verdict, check, ensure_eq};
use super::sample::{event, event_type, events, ids, stream, tag, tagged, typed};
use super::stage::Stage;
use crate::{NewEvent, RecordedEvent};

pub(super) const CHECKS: &[Check] = &[
    check!(binary_data_comes_back_bit_by_bit, "Data and metadata are bytes; any bytes come back unchanged."),
    check!(empty_data_and_metadata_stay_empty, "Empty data and empty metadata come back empty."),
    check!(metadata_and_data_are_kept_apart, "Metadata comes back as metadata, data as data."),
    check!(tags_keep_their_order, "Tags come back all, in the order given."),
    check!(types_and_tags_may_be_any_text, "Types and tags may hold any characters but control characters."),
    check!(stream_ids_may_be_any_text, "Stream ids may hold any characters but control characters, and differ by each of them."),
    check!(event_ids_may_be_any, "Any id is an id, the nil one too."),
    check!(occurred_at_is_kept_to_the_nanosecond, "occurred_at comes back exactly, or stays absent where there was none."),
    check!(stream_and_log_give_the_same_event, "An event is the same however it is read."),
];

/// What of a recorded event its writer gave.
fn proposal(recorded: &RecordedEvent) -> NewEvent {
    let RecordedEvent { id, event_type, data, metadata, tags, occurred_at, .. } = recorded.clone();
    NewEvent { id, event_type, data, metadata, tags, occurred_at }
}

/// Records events and fails unless they are read back as they were given, from the stream and from the log.
async fn come_back(stage: &Stage, proposed: Vec<NewEvent>) -> Verdict {
    let order = stream("Order-1");
    let before = stage.log().await?.len();
    stage.record(&order, &proposed).await?;
    let read = stage.stream(&order).await?.split_off(before);
    ensure_eq!(read.iter().map(proposal).collect::<Vec<_>>(), proposed, "the events in the stream");
    let read = stage.log().await?.split_off(before);
    ensure_eq!(read.iter().map(proposal).collect::<Vec<_>>(), proposed, "the events in the log");
    Ok(())
}

async fn binary_data_comes_back_bit_by_bit(stage: Stage) -> Verdict {
    let all: Vec<u8> = (0..=255).collect();
    let texts: [&[u8]; 6] = [&all, b"\0", b"\xFF\xFE", b"\r\n", b"\xC3\x28", "naïve \u{1F980}".as_bytes()];
    let each = |bytes: &&[u8]| event("").with_metadata(bytes.iter().rev().copied().collect::<Vec<_>>()).data(bytes);
    come_back(&stage, texts.iter().map(each).collect()).await?;
    let long: Vec<u8> = all.iter().copied().cycle().take(100_003).collect();
    come_back(&stage, vec![event("").data(&long).with_metadata(long.clone())]).await
}

async fn empty_data_and_metadata_stay_empty(stage: Stage) -> Verdict {
    come_back(&stage, vec![event(""), event("").with_metadata("only metadata"), event("only data")]).await
}

async fn metadata_and_data_are_kept_apart(stage: Stage) -> Verdict {
    let pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")];
    come_back(&stage, pairs.map(|(data, metadata)| event(data).with_metadata(metadata)).to_vec()).await
}

async fn tags_keep_their_order(stage: Stage) -> Verdict {
    let many = (0..16).rev().map(|number| tag(&format!("t:{number}"))).fold(event("many"), NewEvent::with_tag);
    come_back(&stage, vec![event("none"), tagged("Noted", "b", ["b", "a", "c"]), tagged("Noted", "a", ["a", "b", "c"]), many]).await
}

async fn types_and_tags_may_be_any_text(stage: Stage) -> Verdict {
    let texts =
        [" ", "a b", "'; drop table events; --", "ÄÖÜ-ß", "\u{1F980}", "%_*?[]{}", "a:b:c", "$all", "\\", "\"", "e\u{301}", "\u{E9}"];
    come_back(&stage, texts.map(|text| tagged(text, text, [text, "common"])).to_vec()).await
}

async fn stream_ids_may_be_any_text(stage: Stage) -> Verdict {
    let texts = [
        "a",
        "A",
        "a-",
        "a-1",
        "a-1 ",
        " a-1",
        "a-01",
        "-",
        "--",
        "-a",
        "no dash at all",
        "a/b",
        "a:b",
        "a\\b",
        "../a",
        ".",
        "a.b",
        "{a}-1",
        "a*",
        "a%",
        "a_",
        "'",
        "\"",
        "$all",
        "ÄÖÜ-ß",
        "äöü-ß",
        "\u{1F980}-\u{1F980}",
        "e\u{301}-1",
        "\u{E9}-1",
        "日本-語",
        "\u{FEFF}a",
        "a\u{200B}",
    ];
    let mut given = Vec::new();
    for text in texts {
        let proposed = event(text);
        given.push(proposed.id);
        stage.record(&stream(text), &[proposed]).await?;
    }
    let log = stage.log().await?;
    ensure_eq!(log.iter().map(|event| event.stream.as_str()).collect::<Vec<_>>(), texts, "the streams in the log");
    for (text, id) in texts.into_iter().zip(given) {
        ensure_eq!(ids(&stage.stream(&stream(text)).await?), [id], "the events of stream {text:?}");
    }
    Ok(())
}

async fn event_ids_may_be_any(stage: Stage) -> Verdict {
    let some = ["67e55044-10b1-426f-9247-bb680e5fe0c8", "00000000-0000-0000-0000-000000000001"];
    let some = some.map(|text| text.parse::<Uuid>().expect("an id"));
    let all = [Uuid::nil(), Uuid::max(), some[0], some[1], Uuid::new_v5(&Uuid::NAMESPACE_URL, b"factum")];
    come_back(&stage, all.map(|id| event("").with_id(id)).to_vec()).await
}

async fn occurred_at_is_kept_to_the_nanosecond(stage: Stage) -> Verdict {
    let nanosecond = SignedDuration::from_nanos(1);
    let instants = [
        Timestamp::UNIX_EPOCH,
        Timestamp::UNIX_EPOCH + nanosecond,
        Timestamp::UNIX_EPOCH - nanosecond,
        Timestamp::MIN,
        Timestamp::MAX,
        Timestamp::UNIX_EPOCH + SignedDuration::new(20_000_000_000, 123_456_789),
        Timestamp::UNIX_EPOCH - SignedDuration::new(20_000_000_000, 123_456_789),
        Timestamp::now(),
    ];
    let mut proposed = instants.map(|instant| event("then").with_occurred_at(instant)).to_vec();
    proposed.push(event("whenever"));
    come_back(&stage, proposed).await
}

async fn stream_and_log_give_the_same_event(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(5)).await?;
    stage
        .record(&order, &[tagged("Paid", "{}", ["a", "b"]).with_metadata("m"), typed("Shipped", "").with_occurred_at(Timestamp::MIN)])
        .await?;
    ensure_eq!(stage.stream(&order).await?, stage.log().await?, "the stream, beside the log that holds nothing else");
    let shipped = crate::Query::types([event_type("Shipped")]);
    let queried = stage.log_with(crate::ReadLog { query: shipped, ..crate::ReadLog::default() }).await?;
    ensure_eq!(queried, stage.log().await?.split_off(6), "the event, read by a query");
    Ok(())
}

impl NewEvent {
    /// The same event with these bytes as its data.
    fn data(mut self, bytes: &[u8]) -> Self {
        self.data = Bytes::copy_from_slice(bytes);
        self
    }
}
