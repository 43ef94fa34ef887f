//! The reference: a list of events, and every answer worked out from it by looking at all of them.

use std::collections::HashMap;

use factum::{
    Append, Category, Direction, ExpectedVersion, GlobalPosition, ListStreams, NewEvent, QueryItem, ReadLog, ReadStream, Record,
    RecordName, RecordVersion, RecordWrite, RecordedEvent, StreamId, StreamInfo, StreamVersion, Uuid,
};

use crate::places::Places;

/// What is said of a recorded event, but for when it was recorded; first its place.
pub(crate) type Said = (u64, String, u64, NewEvent);

pub(crate) fn said_of(places: &Places, event: &RecordedEvent) -> Said {
    let RecordedEvent { id, event_type, data, metadata, tags, occurred_at, .. } = event.clone();
    let content = NewEvent { id, event_type, data, metadata, tags, occurred_at };
    (places.place(event.position), event.stream.as_str().to_owned(), event.version.get(), content)
}

/// What a store must answer to an append.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It stands at these versions, first and last of each part, and at these positions; its records have these versions.
    Stands { parts: Vec<[u64; 4]>, records: Vec<RecordVersion>, duplicate: bool },
    /// One of these.
    Refused(Vec<Refusal>),
}

/// A reason to refuse an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflict { stream: StreamId, actual: u64 },
    IdReused { stream: StreamId, id: Uuid, recorded: u64, proposed: u64 },
    ConditionFailed,
    RecordConflict { name: RecordName, actual: RecordVersion },
}

#[derive(Default)]
pub(crate) struct Reference {
    /// Every event that was ever recorded; its position is its place in this list, from 1.
    events: Vec<(StreamId, NewEvent)>,
    /// How many events of a stream are unreadable.
    truncated: HashMap<StreamId, u64>,
    /// How often a record was written or removed, and what it holds.
    records: HashMap<RecordName, (u64, Option<bytes::Bytes>)>,
    /// The appends that were sent, to be sent again.
    pub(crate) sent: Vec<Append>,
    /// How many ids were made.
    pub(crate) ids: u128,
    /// Where the store has put the events.
    pub(crate) places: Places,
}

impl Reference {
    /// Everything that was recorded in a stream: versions, positions and events.
    fn of_stream(&self, stream: &StreamId) -> Vec<(u64, u64, &NewEvent)> {
        let places = (1..).zip(&self.events).filter(|(_, (of, _))| of == stream);
        (1..).zip(places).map(|(version, (position, (_, event)))| (version, position, event)).collect()
    }

    pub(crate) fn version(&self, stream: &StreamId) -> u64 {
        self.of_stream(stream).len() as u64
    }

    fn truncated(&self, stream: &StreamId) -> u64 {
        self.truncated.get(stream).copied().unwrap_or(0)
    }

    pub(crate) fn head(&self) -> GlobalPosition {
        GlobalPosition::from_number(self.events.len() as u64)
    }

    pub(crate) fn append(&mut self, append: &Append) -> Answer {
        let mut refusals = Vec::new();
        let mut standing = Vec::new();
        // How many events the earlier parts add to a stream, and at which version the last of them stands if it does.
        let mut added: HashMap<&StreamId, u64> = HashMap::new();
        let mut stood: HashMap<&StreamId, u64> = HashMap::new();
        for part in &append.streams {
            let added = added.entry(&part.stream).or_default();
            let actual = self.version(&part.stream) + *added;
            *added += part.events.len() as u64;
            let readable: Vec<_> = self.of_stream(&part.stream).split_off(usize::try_from(self.truncated(&part.stream)).expect("few"));
            let there = |event: &NewEvent| readable.iter().find(|(_, _, recorded)| recorded.id == event.id);
            let differs = |index: usize, event: &NewEvent| {
                let (recorded, _, content) = there(event)?;
                let same = (&content.event_type, &content.data, &content.metadata) == (&event.event_type, &event.data, &event.metadata);
                let before = match part.expected {
                    ExpectedVersion::NoStream => 0,
                    ExpectedVersion::Exact(version) => version.get(),
                    ExpectedVersion::Any | ExpectedVersion::StreamExists => actual,
                };
                let (stream, id, proposed) = (part.stream.clone(), event.id, before.saturating_add(index as u64 + 1));
                (!same).then_some(Refusal::IdReused { stream, id, recorded: *recorded, proposed })
            };
            let reused: Vec<_> = part.events.iter().enumerate().filter_map(|(index, event)| differs(index, event)).collect();
            let found: Vec<_> = part.events.iter().filter_map(there).collect();
            let conflict = || Refusal::Conflict { stream: part.stream.clone(), actual };
            if !reused.is_empty() {
                refusals.extend(reused);
            } else if found.is_empty() {
                let as_expected = match part.expected {
                    ExpectedVersion::Any => true,
                    ExpectedVersion::NoStream => actual == 0,
                    ExpectedVersion::StreamExists => actual != 0,
                    ExpectedVersion::Exact(version) => actual == version.get(),
                };
                if !as_expected {
                    refusals.push(conflict());
                }
            } else {
                let (first, last) = (found[0], found[found.len() - 1]);
                let in_a_row = found.iter().zip(first.0..).all(|((version, ..), expected)| *version == expected);
                let begins_right = match part.expected {
                    ExpectedVersion::Any => true,
                    ExpectedVersion::NoStream => first.0 == 1,
                    ExpectedVersion::StreamExists => true,
                    ExpectedVersion::Exact(version) => first.0 - 1 == version.get(),
                };
                let follows = stood.get(&part.stream).is_none_or(|last| first.0 == last + 1);
                if found.len() == part.events.len() && in_a_row && begins_right && follows {
                    stood.insert(&part.stream, last.0);
                    standing.push(([first.0, last.0, first.1, last.1], conflict()));
                } else {
                    refusals.push(conflict());
                }
            }
        }
        if !standing.is_empty() && standing.len() == append.streams.len() {
            let parts = standing.into_iter().map(|(part, _)| part).collect();
            return Answer::Stands { parts, records: Vec::new(), duplicate: true };
        }
        refusals.extend(standing.into_iter().map(|(_, conflict)| conflict));
        if let Some(condition) = &append.condition {
            let after = usize::try_from(condition.after.number()).unwrap_or(usize::MAX);
            let mut newer = self.events.iter().skip(after);
            if newer.any(|(stream, event)| matches(&condition.none_of.items, stream, event)) {
                refusals.push(Refusal::ConditionFailed);
            }
        }
        let before = self.records.clone();
        let mut records = Vec::new();
        for write in &append.records {
            match self.write_record(write) {
                Ok(version) => records.push(version),
                Err(actual) => refusals.push(Refusal::RecordConflict { name: write.name.clone(), actual }),
            }
        }
        if !refusals.is_empty() {
            self.records = before;
            return Answer::Refused(refusals);
        }
        let mut parts = Vec::new();
        for part in &append.streams {
            let (version, position) = (self.version(&part.stream), self.events.len() as u64);
            self.events.extend(part.events.iter().map(|event| (part.stream.clone(), event.clone())));
            let count = part.events.len() as u64;
            parts.push([version + 1, version + count, position + 1, position + count]);
        }
        Answer::Stands { parts, records, duplicate: false }
    }

    /// The events that can be read, with all that is said of them.
    fn readable(&self) -> Vec<Said> {
        let mut versions: HashMap<&StreamId, u64> = HashMap::new();
        let mut readable = Vec::new();
        for (position, (stream, event)) in (1..).zip(&self.events) {
            let version = versions.entry(stream).or_default();
            *version += 1;
            if *version > self.truncated(stream) {
                readable.push((position, stream.as_str().to_owned(), *version, event.clone()));
            }
        }
        readable
    }

    pub(crate) fn stream_with(&self, stream: &StreamId, options: &ReadStream) -> Vec<Said> {
        let mut events = self.readable();
        events.retain(|(_, of, version, _)| {
            of == stream.as_str()
                && options.from.is_none_or(|from| *version >= from.get())
                && options.to.is_none_or(|to| *version <= to.get())
        });
        directed(events, options.direction, options.limit)
    }

    pub(crate) fn log_with(&self, options: &ReadLog) -> Vec<Said> {
        let mut events = self.readable();
        events.retain(|(position, stream, _, event)| {
            *position > options.after.number()
                && options.up_to.is_none_or(|up_to| *position <= up_to.number())
                && matches(&options.query.items, &StreamId::new(stream).expect("it was one"), event)
        });
        directed(events, options.direction, options.limit)
    }

    pub(crate) fn stream(&self, stream: &StreamId) -> Option<StreamInfo> {
        let version = self.version(stream);
        let first_version = StreamVersion::new(self.truncated(stream) + 1);
        (version > 0).then(|| StreamInfo { stream: stream.clone(), version: StreamVersion::new(version), first_version })
    }

    pub(crate) fn streams_with(&self, options: &ListStreams) -> Vec<StreamInfo> {
        let mut streams: Vec<StreamId> = Vec::new();
        for (stream, _) in &self.events {
            if !streams.contains(stream) && options.category.as_ref().is_none_or(|category| is_of(stream, category)) {
                streams.push(stream.clone());
            }
        }
        let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        streams.iter().take(limit).filter_map(|stream| self.stream(stream)).collect()
    }

    /// `None` if that is not allowed.
    pub(crate) fn truncate_before(&mut self, stream: &StreamId, before: u64) -> Option<StreamInfo> {
        let version = self.version(stream);
        if version == 0 || before > version + 1 {
            return None;
        }
        let truncated = self.truncated(stream).max(before.saturating_sub(1));
        self.truncated.insert(stream.clone(), truncated);
        self.stream(stream)
    }

    pub(crate) fn record(&self, name: &RecordName) -> Option<Record> {
        let (version, value) = self.records.get(name)?;
        Some(Record { version: RecordVersion::new(*version), value: value.clone()? })
    }

    /// The new version, or the actual one if another was expected.
    pub(crate) fn write_record(&mut self, write: &RecordWrite) -> Result<RecordVersion, RecordVersion> {
        let actual = self.record(&write.name).map_or(RecordVersion::NONE, |record| record.version);
        if write.expected.is_some_and(|expected| expected != actual) {
            return Err(actual);
        }
        if write.value.is_none() && actual == RecordVersion::NONE {
            return Ok(actual);
        }
        let held = self.records.entry(write.name.clone()).or_default();
        *held = (held.0 + 1, write.value.clone());
        Ok(RecordVersion::new(held.0))
    }
}

fn directed(mut events: Vec<Said>, direction: Direction, limit: Option<u64>) -> Vec<Said> {
    if direction == Direction::Backward {
        events.reverse();
    }
    events.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    events
}

fn matches(items: &[QueryItem], stream: &StreamId, event: &NewEvent) -> bool {
    let of_item = |item: &QueryItem| {
        let QueryItem { category, stream_prefix, types, tags } = item;
        category.as_ref().is_none_or(|category| is_of(stream, category))
            && stream_prefix.as_ref().is_none_or(|prefix| stream.as_str().get(..prefix.len()) == Some(prefix))
            && (types.is_empty() || types.contains(&event.event_type))
            && tags.iter().all(|tag| event.tags.iter().any(|one| one == tag))
    };
    items.is_empty() || items.iter().any(of_item)
}

fn is_of(stream: &StreamId, category: &Category) -> bool {
    stream.as_str().split('-').next() == Some(category.as_str())
}
