//! An append as the arguments of the function, and its answer as a receipt or an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use redis::Value;

use super::error::{Failure, corrupt, unavailable, unreadable};
use super::library::{Call, Request};
use super::link::{Link, Repeat};
use super::servers::Servers;
use crate::error::{Conflict, ConflictReason, Error, Result};
use crate::store::SendBatch;
use crate::{
    Append, ExpectedVersion, GlobalPosition, NewEvent, Query, Receipt, RecordVersion, RecordWrite, StreamAppend, StreamReceipt,
    StreamVersion,
};

/// Where positions are given: partition number `partition` of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partitions: u32,
    pub(super) partition: u32,
}

impl Place {
    /// The number that a position has in its partition: the same for all partitions at the same height.
    pub(super) fn height(self, position: GlobalPosition) -> u64 {
        position.number() / u64::from(self.partitions)
    }
}

/// Sends batches of appends to a partition.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) servers: Arc<Servers>,
    pub(super) link: Arc<Link>,
    pub(super) log: String,
    pub(super) place: Place,
    /// The height that this process knows the log has come to, in any partition: what it appends stands above.
    pub(super) height: Arc<AtomicU64>,
}

#[async_trait]
impl SendBatch for Arc<Appender> {
    async fn send_batch(&self, batch: Vec<Append>) -> Vec<Result<Receipt>> {
        // With one partition positions follow one another, and there is nothing to be above of.
        let height = if self.place.partitions == 1 { 0 } else { self.height.load(Ordering::Acquire) };
        let mut request = self.servers.library().call(Call::Append, &self.log);
        let Place { partitions, partition } = self.place;
        request.arg(if self.servers.is_cluster() { "cluster" } else { "single" }).arg(partitions).arg(partition).arg(height);
        request.arg(batch.len());
        batch.iter().for_each(|append| add_append(&mut request, append));
        let answers = match self.link.command(request.into_cmd(), Repeat::Never).await {
            Ok(Value::Array(answers)) if answers.len() == batch.len() => answers,
            Ok(_) => return batch.iter().map(|_| Err(unreadable("one of a batch of appends"))).collect(),
            Err(error) => return for_each(error, batch.len()),
        };
        let receipt = |(append, answer)| receipt(append, answer, self.place);
        let receipts: Vec<_> = batch.into_iter().zip(answers).map(receipt).collect();
        let reached = receipts.iter().flatten().map(Receipt::last_position).max().unwrap_or_default();
        self.height.fetch_max(self.place.height(reached), Ordering::AcqRel);
        receipts
    }
}

/// The same error for each append of a batch; the first has its source.
fn for_each(error: Error, count: usize) -> Vec<Result<Receipt>> {
    let again = |error: &Error| match error {
        Error::OutcomeUnknown { reason, .. } => Error::OutcomeUnknown { reason: reason.clone(), source: None },
        Error::Corrupt { reason, .. } => corrupt(reason.clone()),
        Error::Unavailable { reason, .. } => unavailable(reason.clone()),
        other => unavailable(other.to_string()),
    };
    let mut errors: Vec<_> = (1..count).map(|_| Err(again(&error))).collect();
    errors.insert(0, Err(error));
    errors
}

fn add_append(request: &mut Request, append: &Append) {
    if let Some((part, event)) = plain(append) {
        match part.expected {
            ExpectedVersion::Any => request.arg("+any"),
            ExpectedVersion::StreamExists => request.arg("+exists"),
            ExpectedVersion::NoStream => request.arg("+0"),
            ExpectedVersion::Exact(version) => request.arg(format!("+{version}")),
        };
        request.arg(part.stream.as_str());
        add_id(request, event);
        request.arg(event.event_type.as_str()).arg(&event.data[..]);
        return;
    }
    request.arg(append.streams.len());
    for part in &append.streams {
        add_part(request, part);
    }
    request.arg(append.records.len());
    for write in &append.records {
        add_record(request, write);
    }
    match &append.condition {
        None => request.arg(-1),
        Some(condition) => {
            request.arg(condition.after.number());
            add_query(request, &condition.none_of)
        }
    };
}

/// The part and the event of an append that is one event for one stream, with nothing besides: most are.
fn plain(append: &Append) -> Option<(&StreamAppend, &NewEvent)> {
    let [part] = append.streams.as_slice() else { return None };
    let [event] = part.events.as_slice() else { return None };
    let bare = event.metadata.is_empty() && event.occurred_at.is_none() && event.tags.is_empty();
    (bare && append.records.is_empty() && append.condition.is_none()).then_some((part, event))
}

fn add_id(request: &mut Request, event: &NewEvent) {
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    request.arg(event.id.as_bytes()).arg(&*event.id.hyphenated().encode_lower(&mut id));
}

fn add_part(request: &mut Request, part: &StreamAppend) {
    request.arg(part.stream.as_str());
    match part.expected {
        ExpectedVersion::Any => request.arg("any"),
        ExpectedVersion::StreamExists => request.arg("exists"),
        ExpectedVersion::NoStream => request.arg(0),
        ExpectedVersion::Exact(version) => request.arg(version.get()),
    };
    request.arg(part.events.len());
    for event in &part.events {
        add_id(request, event);
        request.arg(event.event_type.as_str()).arg(&event.data[..]).arg(&event.metadata[..]);
        match event.occurred_at {
            Some(instant) => request.arg(instant.to_string()),
            None => request.arg(""),
        };
        request.arg(event.tags.len());
        for tag in &event.tags {
            request.arg(tag.as_str());
        }
    }
}

pub(super) fn add_record(request: &mut Request, write: &RecordWrite) {
    request.arg(write.name.as_str());
    match write.expected {
        None => request.arg("any"),
        Some(version) => request.arg(version.get()),
    };
    match &write.value {
        Some(value) => request.arg("set").arg(&value[..]),
        None => request.arg("remove").arg(""),
    };
}

pub(super) fn add_query<'a>(request: &'a mut Request, query: &Query) -> &'a mut Request {
    request.arg(query.items.len());
    for item in &query.items {
        request.arg(item.category.as_ref().map_or("", |category| category.as_str()));
        request.arg(item.stream_prefix.as_deref().unwrap_or(""));
        request.arg(item.types.len());
        for event_type in &item.types {
            request.arg(event_type.as_str());
        }
        request.arg(item.tags.len());
        for tag in &item.tags {
            request.arg(tag.as_str());
        }
    }
    request
}

/// What the function answered to an append.
pub(super) fn receipt(append: Append, answer: Value, place: Place) -> Result<Receipt> {
    let answer = Numbers::of(answer)?;
    match answer.at(0)? {
        0 => recorded(append, &answer, place),
        1 => duplicate(append, &answer),
        2 => Err(conflict(&append, &answer)?),
        3 => Err(Error::ConditionFailed { position: GlobalPosition::from_number(answer.at(1)?) }),
        4 => Err(id_reused(&append, &answer)?),
        5 => Err(record_conflict(append.records.get(answer.index(1)?), answer.at(2)?)?),
        6 => Err(corrupt(format!("its keys contradict each other, nothing more was written: {}", answer.text(1)))),
        7 => Err(Failure::of_text(&answer.text(1)).into_error()),
        other => Err(unreadable(&format!("one of an append (it begins with {other})"))),
    }
}

fn recorded(append: Append, answer: &Numbers, place: Place) -> Result<Receipt> {
    let mut position = answer.at(1)?;
    let step = u64::from(place.partitions);
    let mut streams = Vec::with_capacity(append.streams.len());
    let mut at = 2;
    for part in append.streams {
        let (before, events) = (answer.at(at)?, part.events.len() as u64);
        streams.push(StreamReceipt {
            stream: part.stream,
            first_version: StreamVersion::new(before + 1),
            last_version: StreamVersion::new(before + events),
            first_position: GlobalPosition::from_number(position),
            last_position: GlobalPosition::from_number(position + (events - 1) * step),
        });
        position += events * step;
        at += 1;
    }
    let records = (0..append.records.len()).map(|number| Ok(RecordVersion::new(answer.at(at + number)?)));
    Ok(Receipt { streams, records: records.collect::<Result<_>>()?, duplicate: false })
}

fn duplicate(append: Append, answer: &Numbers) -> Result<Receipt> {
    let mut streams = Vec::with_capacity(append.streams.len());
    for (number, part) in append.streams.into_iter().enumerate() {
        let at = |offset: usize| answer.at(1 + number * 4 + offset);
        streams.push(StreamReceipt {
            stream: part.stream,
            first_version: StreamVersion::new(at(0)?),
            last_version: StreamVersion::new(at(1)?),
            first_position: GlobalPosition::from_number(at(2)?),
            last_position: GlobalPosition::from_number(at(3)?),
        });
    }
    Ok(Receipt { streams, records: Vec::new(), duplicate: true })
}

fn conflict(append: &Append, answer: &Numbers) -> Result<Error> {
    let part = part_of(append, answer)?;
    let id = part.events.get(answer.index(4)?).ok_or_else(|| unreadable("an event of the append"))?.id;
    let version = StreamVersion::new(answer.at(5)?);
    let reason = match answer.at(3)? {
        0 => ConflictReason::Version,
        1 => ConflictReason::PartlyRecorded { id, version },
        _ => ConflictReason::RecordedElsewhere { id, version },
    };
    let actual = StreamVersion::new(answer.at(2)?);
    Ok(Conflict { stream: part.stream.clone(), expected: part.expected, actual, reason }.into())
}

fn id_reused(append: &Append, answer: &Numbers) -> Result<Error> {
    let part = part_of(append, answer)?;
    let place = answer.index(2)?;
    let event = part.events.get(place).ok_or_else(|| unreadable("an event of the append"))?;
    Ok(Error::IdReused {
        stream: part.stream.clone(),
        id: event.id,
        recorded: StreamVersion::new(answer.at(3)?),
        proposed: part.expected.pinned().unwrap_or(StreamVersion::new(answer.at(4)?)).plus(place as u64 + 1),
    })
}

fn part_of<'a>(append: &'a Append, answer: &Numbers) -> Result<&'a StreamAppend> {
    append.streams.get(answer.index(1)?).ok_or_else(|| unreadable("a stream of the append"))
}

/// What the function answered to the write of a record.
pub(super) fn record_version(write: &RecordWrite, answer: Value) -> Result<RecordVersion> {
    let answer = Numbers::of(answer)?;
    match answer.at(0)? {
        0 => Ok(RecordVersion::new(answer.at(1)?)),
        _ => Err(record_conflict(Some(write), answer.at(2)?)?),
    }
}

fn record_conflict(write: Option<&RecordWrite>, actual: u64) -> Result<Error> {
    let write = write.ok_or_else(|| unreadable("a record of the append"))?;
    let expected = write.expected.unwrap_or_default();
    Ok(Error::RecordConflict { name: write.name.clone(), expected, actual: RecordVersion::new(actual) })
}

/// An answer of numbers, and perhaps texts.
pub(super) struct Numbers(Vec<Value>);

impl Numbers {
    pub(super) fn of(answer: Value) -> Result<Self> {
        match answer {
            Value::Array(values) => Ok(Self(values)),
            other => Err(unreadable(&format!("an array: {other:?}"))),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&self, index: usize) -> Result<u64> {
        match self.0.get(index) {
            Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| unreadable("a positive number")),
            _ => Err(unreadable("a number")),
        }
    }

    fn index(&self, index: usize) -> Result<usize> {
        usize::try_from(self.at(index)?).map_err(|_| unreadable("an index"))
    }

    pub(super) fn text(&self, index: usize) -> String {
        match self.0.get(index) {
            Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }
}
