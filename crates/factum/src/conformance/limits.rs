//! Limits: what is just small enough is taken, what is just too large is refused, and says so.

use bytes::Bytes;

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{invalid, too_large};
use super::sample::{category, event, event_type, events, ids, new_ids, record_name, stream, tag};
use super::stage::Stage;
use crate::{EventType, ListStreams, NewEvent, Query, QueryItem, ReadLog, RecordName, RecordWrite, StreamId, Tag};

pub(super) const CHECKS: &[Check] = &[
    check!(payload_of_the_limit_is_taken, "Data and metadata that together are as large as the limit come back unchanged."),
    check!(payload_beyond_the_limit_names_both_sizes, "One byte more is PayloadTooLarge with both sizes; nothing changes."),
    check!(sixteen_tags_are_taken_and_seventeen_are_not, "An event has at most 16 tags; one more is Invalid."),
    check!(append_of_as_many_events_as_allowed_is_whole, "An append of as many events as the limit says is recorded whole."),
    check!(append_of_too_many_events_is_invalid, "One event more is Invalid; nothing changes."),
    check!(append_of_as_many_bytes_as_allowed_is_whole, "An append that is nearly as large as the limit is recorded whole."),
    check!(append_of_too_many_bytes_is_refused, "An append that is larger than the limit is refused whole."),
    check!(longest_names_are_names, "Ids of 1,024 bytes, types and tags of 255 work everywhere, and are not cut."),
    check!(shortest_names_are_names, "So do names of one byte."),
    check!(record_of_the_limit_is_taken, "A record as large as the limit comes back; one byte more is PayloadTooLarge."),
];

/// Beyond this, trying a limit would cost more than it shows.
const TRIED_BYTES_MAX: u64 = 64 << 20;

fn bytes(count: u64) -> Bytes {
    let count = usize::try_from(count).expect("what is tried fits in memory");
    let pattern: Vec<u8> = (0..=255).collect();
    let mut bytes = pattern.repeat(count / pattern.len() + 1);
    bytes.truncate(count);
    bytes.into()
}

/// An event with so much data and metadata.
fn sized(data: u64, metadata: u64) -> NewEvent {
    NewEvent::new(event_type("Sized"), bytes(data)).with_metadata(bytes(metadata))
}

async fn payload_of_the_limit_is_taken(stage: Stage) -> Verdict {
    let max = stage.store.capabilities().limits.payload_bytes_max.min(TRIED_BYTES_MAX);
    let proposed = [sized(max, 0), sized(0, max), sized(max / 2, max - max / 2)];
    for event in &proposed {
        stage.record(&stream("Order-1"), std::slice::from_ref(event)).await?;
    }
    let read = stage.stream(&stream("Order-1")).await?;
    ensure_eq!(ids(&read), new_ids(&proposed), "the events");
    let same = read.iter().zip(&proposed).all(|(read, proposed)| read.has_content_of(proposed));
    ensure!(same, "an event of {max} bytes did not come back as it was");
    Ok(())
}

async fn payload_beyond_the_limit_names_both_sizes(stage: Stage) -> Verdict {
    let max = stage.store.capabilities().limits.payload_bytes_max;
    if max >= TRIED_BYTES_MAX {
        return Ok(());
    }
    stage.record(&stream("Order-1"), &events(1)).await?;
    let before = stage.picture().await?;
    for (data, metadata) in [(max + 1, 0), (0, max + 1), (max, 1), (1, max), (2 * max, 5)] {
        let refused = too_large(stage.record(&stream("Order-1"), &[event("small"), sized(data, metadata)]).await)?;
        ensure_eq!(refused, (data + metadata, max), "the size and the limit in the refusal");
    }
    stage.unchanged_since(&before).await
}

async fn sixteen_tags_are_taken_and_seventeen_are_not(stage: Stage) -> Verdict {
    let with_tags = |count| (0..count).map(|number| tag(&format!("t:{number}"))).fold(event("tagged"), NewEvent::with_tag);
    stage.record(&stream("Order-1"), &[with_tags(16)]).await?;
    let before = stage.picture().await?;
    ensure_eq!(before.log[0].tags.len(), 16, "the number of tags");
    invalid(stage.record(&stream("Order-1"), &[event("small"), with_tags(17)]).await)?;
    stage.unchanged_since(&before).await
}

async fn append_of_as_many_events_as_allowed_is_whole(stage: Stage) -> Verdict {
    let max = stage.store.capabilities().limits.append_events_max.min(100_000);
    let proposed = events(max);
    let receipt = stage.record(&stream("Order-1"), &proposed).await?;
    ensure_eq!(receipt.last_version().get(), max, "the version after it");
    ensure!(ids(&stage.stream(&stream("Order-1")).await?) == new_ids(&proposed), "the stream does not hold the events in their order");
    ensure!(ids(&stage.log().await?) == new_ids(&proposed), "the log does not hold the events in their order");
    Ok(())
}

async fn append_of_too_many_events_is_invalid(stage: Stage) -> Verdict {
    let max = stage.store.capabilities().limits.append_events_max;
    if max > 100_000 {
        return Ok(());
    }
    let before = stage.picture().await?;
    invalid(stage.record(&stream("Order-1"), &events(max + 1)).await)?;
    if stage.store.capabilities().multi_stream_append.is_yes() {
        let append = crate::Append::to(stream("Order-1"), events(max / 2 + 1));
        invalid(stage.append(append.and_to(stream("Order-2"), Default::default(), events(max / 2 + 1))).await)?;
    }
    stage.unchanged_since(&before).await
}

/// Events of at most 256 KiB that together have so many bytes of data; they share their bytes.
fn events_of(total: u64, each_max: u64) -> Vec<NewEvent> {
    let each = each_max.min(256 << 10);
    let data = bytes(each);
    (0..total / each).map(|_| NewEvent::new(event_type("Sized"), data.clone())).collect()
}

async fn append_of_as_many_bytes_as_allowed_is_whole(stage: Stage) -> Verdict {
    let limits = stage.store.capabilities().limits;
    // What is not data (names, ids, times, framing) takes a little too.
    let total = (limits.append_bytes_max.min(TRIED_BYTES_MAX) / 100) * 95;
    let mut proposed = events_of(total, limits.payload_bytes_max);
    proposed.truncate(usize::try_from(limits.append_events_max).unwrap_or(usize::MAX));
    stage.record(&stream("Order-1"), &proposed).await?;
    let read = stage.stream(&stream("Order-1")).await?;
    ensure!(ids(&read) == new_ids(&proposed), "the stream does not hold the events in their order");
    let same = read.iter().zip(&proposed).all(|(read, proposed)| read.has_content_of(proposed));
    ensure!(same, "an event of an append of {total} bytes did not come back as it was");
    Ok(())
}

async fn append_of_too_many_bytes_is_refused(stage: Stage) -> Verdict {
    let limits = stage.store.capabilities().limits;
    let proposed = events_of(limits.append_bytes_max.saturating_add(1 << 20), limits.payload_bytes_max.min(1 << 20));
    if limits.append_bytes_max > 1 << 30 || proposed.len() as u64 > limits.append_events_max {
        return Ok(());
    }
    let before = stage.picture().await?;
    invalid(stage.record(&stream("Order-1"), &proposed).await)?;
    stage.unchanged_since(&before).await
}

async fn longest_names_are_names(stage: Stage) -> Verdict {
    let long = |last: &str, max: usize| format!("{}{last}", "é".repeat((max - last.len()) / 2));
    let alike = ["aa", "ab", "ba"];
    for last in alike {
        let id = stream(&long(last, StreamId::BYTES_MAX));
        ensure_eq!(id.as_str().len(), StreamId::BYTES_MAX, "the bytes of the longest id");
        let name = event_type(&long(if last == "aa" { "a" } else { "b" }, EventType::BYTES_MAX));
        let proposed = NewEvent::new(name, "").with_tag(tag(&long(if last == "ba" { "a" } else { "b" }, Tag::BYTES_MAX)));
        stage.record(&id, &[proposed]).await?;
    }
    let log = stage.log().await?;
    let streams = stage.streams_with(ListStreams::default()).await?;
    for (index, event) in log.iter().enumerate() {
        ensure_eq!(event.stream, stream(&long(alike[index], StreamId::BYTES_MAX)), "the stream id");
        ensure_eq!(stage.stream(&event.stream).await?, std::slice::from_ref(event), "the stream");
        ensure_eq!(streams[index].stream, event.stream, "the stream in the list");
        let prefix = QueryItem { stream_prefix: Some(event.stream.as_str().to_owned()), ..QueryItem::default() };
        let by = [
            Query::category(event.stream.category()),
            Query::item(prefix),
            Query::types([event.event_type.clone()]),
            Query::tags(event.tags.clone()),
        ];
        for query in by {
            let expected: Vec<_> = log.iter().filter(|event| query.matches_event(event)).cloned().collect();
            ensure_eq!(stage.log_with(ReadLog { query, ..ReadLog::default() }).await?, expected, "what matches the longest names");
        }
    }
    Ok(())
}

async fn shortest_names_are_names(stage: Stage) -> Verdict {
    let proposed = NewEvent::new(event_type("t"), "").with_tag(tag("g"));
    stage.record(&stream("s"), std::slice::from_ref(&proposed)).await?;
    for query in [Query::category(category("s")), Query::types([event_type("t")]), Query::tags([tag("g")])] {
        ensure_eq!(ids(&stage.log_with(ReadLog { query, ..ReadLog::default() }).await?), [proposed.id], "what matches the name");
    }
    stage.store.write_record(RecordWrite::set(record_name("r"), "v")).await?;
    ensure!(stage.store.record(&record_name("r")).await?.is_some(), "the record is not there");
    Ok(())
}

async fn record_of_the_limit_is_taken(stage: Stage) -> Verdict {
    let max = stage.store.capabilities().limits.record_bytes_max;
    let name: RecordName = record_name("a");
    let value = bytes(max.min(TRIED_BYTES_MAX));
    stage.store.write_record(RecordWrite::set(name.clone(), value.clone())).await?;
    if max < TRIED_BYTES_MAX {
        let refused = too_large(stage.store.write_record(RecordWrite::set(name.clone(), bytes(max + 1))).await)?;
        ensure_eq!(refused, (max + 1, max), "the size and the limit in the refusal");
    }
    let read = stage.store.record(&name).await?;
    ensure!(read.is_some_and(|record| record.value == value), "a record of {max} bytes did not come back as it was");
    Ok(())
}
