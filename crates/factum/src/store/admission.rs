//! The rules of writing: whether an append is recorded, is a duplicate, or is refused; and the same for records and truncations. One
//! place, for every store that decides itself.
//!
//! The table of idempotency: an id that stands in the stream with other content is `IdReused`; all of the ids there, where this append
//! would have put them, is a duplicate; all there elsewhere, or only some, is a conflict. Duplicates come before expectations and
//! conditions, because a repeated append fails both by its own first success.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use uuid::Uuid;

use crate::error::{Conflict, ConflictReason, Error, Result};
use crate::{
    Append, ExpectedVersion, GlobalPosition, Limits, NewEvent, Query, Receipt, RecordName, RecordVersion, RecordWrite, RecordedEvent,
    StreamAppend, StreamId, StreamReceipt, StreamVersion,
};

/// What the rules ask of a store. Nothing may change between these calls and the write that follows.
pub(crate) trait Ledger {
    /// The stream's version, [`StreamVersion::NONE`] if it has no events. It is that of the append's part number `part`, from 0.
    fn version(&self, stream: &StreamId, part: usize) -> Result<StreamVersion>;

    /// The event of that id in the stream, if it is there and not truncated. `place` says where in the append the proposed one is.
    fn find(&self, stream: &StreamId, id: Uuid, place: Place) -> Result<Option<RecordedEvent>>;

    /// Which of the part's events have ids that may be in the stream, by their places in the part, rising; the others are new there.
    /// `place` is that of the first. A store that can tell many at once spares itself being asked for each.
    fn known(&self, part: &StreamAppend, place: Place) -> Result<Vec<usize>> {
        let _ = place;
        Ok((0..part.events.len()).collect())
    }

    /// The position of some event after `after` that matches.
    fn match_after(&self, query: &Query, after: GlobalPosition) -> Result<Option<GlobalPosition>>;

    /// How often the record has been written, and whether it is there. It is the append's record number `number`, from 0.
    fn standing(&self, name: &RecordName, number: usize) -> Result<(u64, bool)>;
}

/// Where in an append a proposed event is: the number of its part, and its number among the events of all parts, from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) part: usize,
    pub(crate) event: usize,
}

/// What becomes of an append that is not refused.
pub(crate) enum Admission {
    /// It is to be recorded.
    Fresh {
        /// The versions that each part's events follow on.
        versions: Vec<StreamVersion>,
        /// The new versions of the records, `None` where a write changes nothing.
        records: Vec<Option<RecordVersion>>,
    },
    /// It has been recorded before, and this is what it did.
    Duplicate(Receipt),
}

/// Checks what can be checked without looking at the store.
pub(crate) fn check_shape(append: &Append, limits: &Limits) -> Result<()> {
    let (events, records) = (append.events(), append.records.len());
    if events + records == 0 {
        return Err(Error::invalid("the append has no events; give it at least one"));
    }
    let max = limits.append_events_max;
    if (events + records) as u64 > max {
        let what = if records == 0 { String::new() } else { format!(" and {records} records") };
        return Err(Error::invalid(format!("the append has {events} events{what}, the limit is {max}; split it")));
    }
    let bytes = check_events(append, limits)? + check_records(append, limits)?;
    if bytes > limits.append_bytes_max {
        let max = limits.append_bytes_max;
        return Err(Error::invalid(format!("the append has {bytes} bytes, the limit is {max}; split it")));
    }
    Ok(())
}

/// Checks an append's events, and returns their size in bytes.
fn check_events(append: &Append, limits: &Limits) -> Result<u64> {
    let mut ids = Vec::with_capacity(append.events());
    let mut bytes = 0;
    for part in &append.streams {
        if part.events.is_empty() {
            return Err(Error::invalid(format!("the append has no events for stream {}; leave the stream out", part.stream)));
        }
        for event in &part.events {
            ids.push((event.id, &part.stream));
            bytes += check_event(event, limits)? + part.stream.as_str().len() as u64;
        }
    }
    // Ids that were made one after another rise, and need no second look.
    if !ids.is_sorted_by(|(before, _), (after, _)| before < after) && !surely_differ(&ids) {
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            let (id, stream) = pair[0];
            return Err(Error::invalid(format!("the append has event id {id} twice in stream {stream}")));
        }
    }
    Ok(bytes)
}

/// Whether no id comes twice in a stream, told by their hashes: if two of those are the same, who asks has to look.
fn surely_differ(ids: &[(Uuid, &StreamId)]) -> bool {
    let hashes = RandomState::default();
    let mut seen = HashSet::with_capacity_and_hasher(ids.len(), RandomState::default());
    ids.iter().all(|(id, stream)| seen.insert(hashes.hash_one((id.as_u128(), stream.as_str()))))
}

/// Checks an append's records, and returns their size in bytes.
fn check_records(append: &Append, limits: &Limits) -> Result<u64> {
    let mut names = HashSet::with_capacity(append.records.len());
    let mut bytes = 0;
    for write in &append.records {
        if !names.insert(&write.name) {
            return Err(Error::invalid(format!("the append writes record {} twice; give it one value", write.name)));
        }
        bytes += check_record(write, limits.record_bytes_max)? + write.name.as_str().len() as u64;
    }
    Ok(bytes)
}

/// Checks one event, and returns its size in bytes.
fn check_event(event: &NewEvent, limits: &Limits) -> Result<u64> {
    let payload = (event.data.len() + event.metadata.len()) as u64;
    if payload > limits.payload_bytes_max {
        return Err(Error::PayloadTooLarge { bytes: payload, bytes_max: limits.payload_bytes_max });
    }
    if event.tags.len() > NewEvent::TAGS_MAX {
        let (tags, max) = (event.tags.len(), NewEvent::TAGS_MAX);
        return Err(Error::invalid(format!("event {} has {tags} tags, the limit is {max}", event.id)));
    }
    let names = event.event_type.as_str().len() + event.tags.iter().map(|tag| tag.as_str().len()).sum::<usize>();
    Ok(payload + names as u64 + 64)
}

/// Decides about an append whose shape has been checked.
pub(crate) fn admit(append: &Append, ledger: &impl Ledger) -> Result<Admission> {
    let mut standings: HashMap<&StreamId, Standing, RandomState> =
        HashMap::with_capacity_and_hasher(append.streams.len(), RandomState::default());
    let mut versions = Vec::with_capacity(append.streams.len());
    let mut receipts = Vec::new();
    let mut first_recorded = None;
    let mut place = Place { part: 0, event: 0 };
    for part in &append.streams {
        let standing = match standings.entry(&part.stream) {
            Entry::Occupied(standing) => standing.into_mut(),
            Entry::Vacant(unseen) => unseen.insert(Standing::new(ledger.version(&part.stream, place.part)?)),
        };
        versions.push(standing.version());
        if let Some(receipt) = admit_part(part, standing, ledger, place)? {
            first_recorded.get_or_insert(place.part);
            standing.recorded_to = Some(receipt.last_version);
            receipts.push(receipt);
        }
        standing.added += part.events.len() as u64;
        place = Place { part: place.part + 1, event: place.event + part.events.len() };
    }
    if let Some(number) = first_recorded {
        if receipts.len() == append.streams.len() {
            return Ok(Admission::Duplicate(Receipt { streams: receipts, records: Vec::new(), duplicate: true }));
        }
        let part = &append.streams[number];
        let reason = ConflictReason::PartlyRecorded { id: part.events[0].id, version: receipts[0].first_version };
        return Err(conflict(part, versions[number], reason));
    }
    if let Some(condition) = &append.condition
        && let Some(position) = ledger.match_after(&condition.none_of, condition.after)?
    {
        return Err(Error::ConditionFailed { position });
    }
    let admit_one = |(number, write): (usize, &RecordWrite)| {
        let (written, is_there) = ledger.standing(&write.name, number)?;
        admit_record(write, written, is_there)
    };
    let records = append.records.iter().enumerate().map(admit_one).collect::<Result<_>>()?;
    Ok(Admission::Fresh { versions, records })
}

/// What is known of a stream while an append's parts are looked at.
struct Standing {
    /// The version it has in the store.
    stored: StreamVersion,
    /// How many events the earlier parts add.
    added: u64,
    /// Up to where the earlier parts had been recorded before.
    recorded_to: Option<StreamVersion>,
}

impl Standing {
    fn new(stored: StreamVersion) -> Self {
        Self { stored, added: 0, recorded_to: None }
    }

    fn version(&self) -> StreamVersion {
        self.stored.plus(self.added)
    }
}

/// Decides about one part: a receipt if all of it has been recorded before, `None` if all of it is new.
fn admit_part(part: &StreamAppend, standing: &Standing, ledger: &impl Ledger, place: Place) -> Result<Option<StreamReceipt>> {
    let version = standing.version();
    let mut recorded = Vec::new();
    if standing.stored > StreamVersion::NONE {
        for index in ledger.known(part, place)? {
            let event = &part.events[index];
            let Some(found) = ledger.find(&part.stream, event.id, Place { event: place.event + index, ..place })? else { continue };
            if !found.has_content_of(event) {
                return Err(Error::IdReused {
                    stream: part.stream.clone(),
                    id: event.id,
                    recorded: found.version,
                    proposed: part.expected.pinned().unwrap_or(version).plus(index as u64 + 1),
                });
            }
            recorded.push(found);
        }
    }
    let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else {
        let accepted = standing.recorded_to.is_some() || part.expected.accepts(version);
        return if accepted { Ok(None) } else { Err(conflict(part, version, ConflictReason::Version)) };
    };
    if recorded.len() < part.events.len() {
        return Err(conflict(part, version, ConflictReason::PartlyRecorded { id: first.id, version: first.version }));
    }
    if !stands_where_it_belongs(part.expected, standing, &recorded) {
        return Err(conflict(part, version, ConflictReason::RecordedElsewhere { id: first.id, version: first.version }));
    }
    Ok(Some(StreamReceipt {
        stream: part.stream.clone(),
        first_version: first.version,
        last_version: last.version,
        first_position: first.position,
        last_position: last.position,
    }))
}

/// Whether these events, all of a part's, stand where it would have put them: one after the other, and after the earlier parts'.
fn stands_where_it_belongs(expected: ExpectedVersion, standing: &Standing, recorded: &[RecordedEvent]) -> bool {
    let contiguous = recorded.windows(2).all(|pair| pair[1].version == pair[0].version.plus(1));
    let begins = |before: StreamVersion| recorded[0].version == before.plus(1);
    contiguous && expected.pinned().is_none_or(begins) && standing.recorded_to.is_none_or(begins)
}

fn conflict(part: &StreamAppend, actual: StreamVersion, reason: ConflictReason) -> Error {
    Conflict { stream: part.stream.clone(), expected: part.expected, actual, reason }.into()
}

/// Decides about a write to a record that has been written so often (0: never) and is there or not. `None` if nothing changes.
pub(crate) fn admit_record(write: &RecordWrite, written: u64, is_there: bool) -> Result<Option<RecordVersion>> {
    let actual = if is_there { RecordVersion::new(written) } else { RecordVersion::NONE };
    if let Some(expected) = write.expected
        && expected != actual
    {
        return Err(Error::RecordConflict { name: write.name.clone(), expected, actual });
    }
    // A removed record keeps its version, so that writing it again does not give an old version a new meaning.
    Ok((write.value.is_some() || is_there).then(|| RecordVersion::new(written + 1)))
}

/// Checks a record's size, and returns it in bytes.
pub(crate) fn check_record(write: &RecordWrite, bytes_max: u64) -> Result<u64> {
    let bytes = write.value.as_ref().map_or(0, |value| value.len() as u64);
    if bytes > bytes_max { Err(Error::PayloadTooLarge { bytes, bytes_max }) } else { Ok(bytes) }
}

/// Checks a truncation of a stream that is at `version` and can be read from `first` on. Returns from where on it can be read then.
pub(crate) fn admit_truncation(
    stream: &StreamId,
    version: StreamVersion,
    first: StreamVersion,
    before: StreamVersion,
) -> Result<StreamVersion> {
    if version == StreamVersion::NONE {
        return Err(Error::invalid(format!("stream {stream} does not exist; there is nothing to truncate")));
    }
    let max = version.plus(1);
    if before > max {
        return Err(Error::invalid(format!("stream {stream} is at version {version}; truncate before {max} at most")));
    }
    Ok(before.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventType;

    #[test]
    fn an_id_comes_once_in_each_stream_of_an_append() {
        let event = |id| NewEvent::new(EventType::new("T").expect("valid"), "{}").with_id(Uuid::from_u128(id));
        let part = |name: &str, ids: &[u128]| {
            let stream = StreamId::new(name).expect("valid");
            StreamAppend { stream, expected: ExpectedVersion::Any, events: ids.iter().copied().map(event).collect() }
        };
        let check = |streams| check_shape(&Append { streams, ..Append::default() }, &Limits::default());
        assert!(check(vec![part("a", &[2, 1]), part("b", &[1, 2]), part("c", &[1])]).is_ok());
        for wrong in [vec![part("a", &[2, 1, 2])], vec![part("a", &[2, 1]), part("b", &[1]), part("a", &[1])]] {
            assert!(matches!(check(wrong), Err(Error::Invalid { .. })));
        }
    }
}
