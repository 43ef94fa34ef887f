//! Events as the engine's payloads, and the keys they are found under. The layout is drawn in `docs/format.md`.

use std::sync::OnceLock;

use bytes::Bytes;
use factum_engine::{Entry, Indexer, Key, KeyMaker, Kind, ScopedKeys, Terms};
use jiff::Timestamp;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::stream::category_of;
use crate::text::Trusted;
use crate::{EventType, GlobalPosition, NewEvent, RecordedEvent, StreamId, StreamVersion, Tag};

/// Entries of a stream, which are numbered.
const STREAM: Kind = Kind(1);
const CATEGORY: Kind = Kind(2);
const TYPE: Kind = Kind(3);
const TAG: Kind = Kind(4);
/// Of a stream and an event id together.
const ID: Kind = Kind(5);
/// The first events of a category's streams.
const STREAMS_OF_CATEGORY: Kind = Kind(6);
/// One key each: the first events of all streams, categories and types.
const STREAMS: Kind = Kind(7);
const CATEGORIES: Kind = Kind(8);
const TYPES: Kind = Kind(9);
/// The user's records.
const RECORD: Kind = Kind(0x80);
/// The store's own: from which version on a stream can be read.
pub(super) const TRUNCATION: Kind = Kind(0x81);

/// What an engine's record name begins with, so that a user's record is never taken for the store's own.
const RECORD_PREFIX: u8 = b'r';
const TRUNCATION_PREFIX: u8 = b't';

const HAS_OCCURRED_AT: u8 = 1;
const HAS_TAGS: u8 = 2;
const HAS_METADATA: u8 = 4;
/// Of a truncated event this is what is left.
const IS_HUSK: u8 = 8;

/// Makes the keys of one store's names.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    maker: KeyMaker,
    streams: Key,
    categories: Key,
    types: Key,
}

impl Keys {
    pub(super) fn new(maker: KeyMaker) -> Self {
        let list = |kind| maker.key(kind, b"");
        Self { streams: list(STREAMS), categories: list(CATEGORIES), types: list(TYPES), maker }
    }

    pub(super) fn stream(&self, stream: &str) -> Key {
        self.maker.key(STREAM, stream.as_bytes())
    }

    pub(super) fn category(&self, category: &str) -> Key {
        self.maker.key(CATEGORY, category.as_bytes())
    }

    pub(super) fn event_type(&self, event_type: &str) -> Key {
        self.maker.key(TYPE, event_type.as_bytes())
    }

    pub(super) fn tag(&self, tag: &str) -> Key {
        self.maker.key(TAG, tag.as_bytes())
    }

    pub(super) fn streams_of(&self, category: &str) -> Key {
        self.maker.key(STREAMS_OF_CATEGORY, category.as_bytes())
    }

    pub(super) fn streams(&self) -> Key {
        self.streams
    }

    pub(super) fn categories(&self) -> Key {
        self.categories
    }

    pub(super) fn types(&self) -> Key {
        self.types
    }

    /// The key and the engine's name of a user's record.
    pub(super) fn record(&self, name: &str) -> (Key, Vec<u8>) {
        (self.maker.key(RECORD, name.as_bytes()), [&[RECORD_PREFIX], name.as_bytes()].concat())
    }

    /// The key and the engine's name of the record that says how far a stream is truncated.
    pub(super) fn truncation(&self, stream: &str) -> (Key, Vec<u8>) {
        (self.maker.key(TRUNCATION, stream.as_bytes()), [&[TRUNCATION_PREFIX], stream.as_bytes()].concat())
    }
}

/// The keys that the events of one stream have in common.
#[derive(Debug)]
pub(super) struct StreamKeys {
    stream: Key,
    category: Key,
    /// The list of the category's streams.
    streams_of: Key,
    /// Makes the keys of the stream's event ids.
    ids: ScopedKeys,
}

impl StreamKeys {
    pub(super) fn key(&self) -> Key {
        self.stream
    }
}

impl Keys {
    fn stream_keys(&self, stream: &str, (category, streams_of): (Key, Key)) -> StreamKeys {
        StreamKeys { stream: self.stream(stream), category, streams_of, ids: self.maker.scoped(ID, stream.as_bytes()) }
    }

    fn category_keys(&self, category: &str) -> (Key, Key) {
        (self.category(category), self.streams_of(category))
    }

    /// Puts an event's keys together. The last of its labels is the key of its id, which is returned as well.
    fn terms_of<'t>(&self, stream: &StreamKeys, event_type: Key, tags: impl Iterator<Item = &'t str>, id: Uuid) -> (Terms, Key) {
        // Other events can have the same key, if rarely.
        let id = stream.ids.short_key(id.as_bytes());
        let mut labels: smallvec::SmallVec<[Key; 4]> = tags.map(|tag| self.tag(tag)).collect();
        labels.push(id);
        let terms = Terms {
            sequence: stream.stream,
            first_of_sequence: [stream.streams_of, self.streams],
            labels,
            first_of_label: [(stream.category, self.categories), (event_type, self.types)],
        };
        (terms, id)
    }
}

/// The keys of events that come one after another, and often have their names in common.
#[derive(Debug)]
pub(super) struct NameKeys<'k> {
    keys: &'k Keys,
    /// A category, its key, and that of the list of its streams.
    category: Option<(String, (Key, Key))>,
    event_type: Option<(String, Key)>,
}

impl<'k> NameKeys<'k> {
    pub(super) fn new(keys: &'k Keys) -> Self {
        Self { keys, category: None, event_type: None }
    }

    /// The keys that the events of a stream have in common.
    pub(super) fn stream(&mut self, stream: &StreamId) -> StreamKeys {
        let keys = self.keys;
        let category = remembered(&mut self.category, category_of(stream.as_str()), |name| keys.category_keys(name));
        keys.stream_keys(stream.as_str(), category)
    }

    /// All keys of an event, and among them that of its id.
    pub(super) fn terms<'t>(
        &mut self,
        stream: &StreamKeys,
        event_type: &str,
        tags: impl Iterator<Item = &'t str>,
        id: Uuid,
    ) -> (Terms, Key) {
        let keys = self.keys;
        let event_type = remembered(&mut self.event_type, event_type, |name| keys.event_type(name));
        keys.terms_of(stream, event_type, tags, id)
    }
}

fn remembered<T: Copy>(last: &mut Option<(String, T)>, name: &str, make: impl FnOnce(&str) -> T) -> T {
    match last {
        Some((known, keys)) if known == name => *keys,
        _ => last.insert((name.to_owned(), make(name))).1,
    }
}

/// Tells the engine the keys of what it finds in its log.
#[derive(Debug, Default)]
pub(super) struct EventIndexer {
    keys: OnceLock<Keys>,
}

impl Indexer for EventIndexer {
    fn terms(&self, keys: &KeyMaker, payload: &[u8]) -> Option<Terms> {
        let parts = Parts::read(payload)?;
        let keys = self.keys.get_or_init(|| Keys::new(keys.clone()));
        let stream = keys.stream_keys(parts.stream, keys.category_keys(category_of(parts.stream)));
        Some(keys.terms_of(&stream, keys.event_type(parts.event_type), parts.tags(), parts.id).0)
    }

    fn record_key(&self, keys: &KeyMaker, name: &[u8]) -> Option<Key> {
        let (prefix, name) = name.split_first()?;
        match *prefix {
            RECORD_PREFIX => Some(keys.key(RECORD, name)),
            TRUNCATION_PREFIX => Some(keys.key(TRUNCATION, name)),
            _ => None,
        }
    }

    fn hides(&self, keys: &KeyMaker, name: &[u8], value: &[u8]) -> Option<(Key, u64)> {
        let stream = name.strip_prefix(&[TRUNCATION_PREFIX])?;
        Some((keys.key(STREAM, stream), u64::from_le_bytes(value.try_into().ok()?)))
    }

    fn hidden_by(&self, keys: &KeyMaker, payload: &[u8]) -> Option<(Key, Vec<u8>)> {
        let stream = Parts::read(payload)?.stream.as_bytes();
        Some((keys.key(TRUNCATION, stream), [&[TRUNCATION_PREFIX], stream].concat()))
    }

    fn husk(&self, payload: &[u8]) -> Option<Vec<u8>> {
        Parts::read(payload).filter(|parts| !parts.is_husk).map(|parts| parts.husk())
    }
}

/// About how many bytes an event takes.
pub(super) fn bytes_of(stream: &StreamId, event: &NewEvent) -> usize {
    let tags: usize = event.tags.iter().map(|tag| tag.as_str().len() + 1).sum();
    event.data.len() + event.metadata.len() + stream.as_str().len() + event.event_type.as_str().len() + tags + 40
}

/// Writes an event as a payload.
pub(super) fn write(stream: &StreamId, event: &NewEvent, out: &mut Vec<u8>) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(
        flag(event.occurred_at.is_some(), HAS_OCCURRED_AT)
            | flag(!event.tags.is_empty(), HAS_TAGS)
            | flag(!event.metadata.is_empty(), HAS_METADATA),
    );
    out.extend_from_slice(event.id.as_bytes());
    if let Some(occurred_at) = event.occurred_at {
        out.extend_from_slice(&occurred_at.as_second().to_le_bytes());
        out.extend_from_slice(&occurred_at.subsec_nanosecond().to_le_bytes());
    }
    put_text(out, event.event_type.as_str());
    put_stream(out, stream.as_str());
    if !event.tags.is_empty() {
        out.push(u8::try_from(event.tags.len()).expect("an event has few tags"));
        for tag in &event.tags {
            put_text(out, tag.as_str());
        }
    }
    if !event.metadata.is_empty() {
        out.extend_from_slice(&u32::try_from(event.metadata.len()).expect("a payload is short").to_le_bytes());
        out.extend_from_slice(&event.metadata);
    }
    out.extend_from_slice(&event.data);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("types and tags are short"));
    out.extend_from_slice(text.as_bytes());
}

fn put_stream(out: &mut Vec<u8>, stream: &str) {
    out.extend_from_slice(&u16::try_from(stream.len()).expect("a stream id is short").to_le_bytes());
    out.extend_from_slice(stream.as_bytes());
}

/// The parts of a payload, where they stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'p> {
    /// Whether only the parts are left that others are found by: the event was truncated. It is never given out.
    pub(super) is_husk: bool,
    pub(super) id: Uuid,
    pub(super) stream: &'p str,
    pub(super) event_type: &'p str,
    occurred_at: Option<(i64, i32)>,
    tag_count: u8,
    /// The tags, one after another, each behind its length.
    tags: &'p [u8],
    metadata: &'p [u8],
    data: &'p [u8],
}

impl<'p> Parts<'p> {
    /// `None` if the payload makes no sense, which its checksum rules out unless it was written so.
    pub(super) fn read(payload: &'p [u8]) -> Option<Self> {
        let mut rest = payload;
        let [flags] = *take(&mut rest, 1)? else { return None };
        if flags & !(HAS_OCCURRED_AT | HAS_TAGS | HAS_METADATA | IS_HUSK) != 0 {
            return None;
        }
        let id = Uuid::from_slice(take(&mut rest, 16)?).ok()?;
        let occurred_at = if flags & HAS_OCCURRED_AT != 0 {
            let seconds = i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
            Some((seconds, i32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?)))
        } else {
            None
        };
        let event_type = std::str::from_utf8(take_short(&mut rest)?).ok()?;
        let stream_bytes = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
        let stream = std::str::from_utf8(take(&mut rest, stream_bytes.into())?).ok()?;
        let tag_count = if flags & HAS_TAGS != 0 { take(&mut rest, 1)?[0] } else { 0 };
        let tags = rest;
        for _ in 0..tag_count {
            std::str::from_utf8(take_short(&mut rest)?).ok()?;
        }
        let metadata = if flags & HAS_METADATA != 0 {
            let bytes = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
            take(&mut rest, usize::try_from(bytes).ok()?)?
        } else {
            &[]
        };
        let is_husk = flags & IS_HUSK != 0;
        Some(Self { is_husk, id, stream, event_type, occurred_at, tag_count, tags, metadata, data: rest })
    }

    /// The payload of what is left when the event is truncated: what it is found and counted by, and nothing of its content.
    fn husk(&self) -> Vec<u8> {
        let mut out = vec![IS_HUSK | if self.tag_count > 0 { HAS_TAGS } else { 0 }];
        out.extend_from_slice(self.id.as_bytes());
        put_text(&mut out, self.event_type);
        put_stream(&mut out, self.stream);
        if self.tag_count > 0 {
            out.push(self.tag_count);
            self.tags().for_each(|tag| put_text(&mut out, tag));
        }
        out
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = &'p str> {
        let mut rest = self.tags;
        (0..self.tag_count).map_while(move |_| std::str::from_utf8(take_short(&mut rest)?).ok())
    }
}

fn take<'p>(rest: &mut &'p [u8], bytes: usize) -> Option<&'p [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

fn take_short<'p>(rest: &mut &'p [u8]) -> Option<&'p [u8]> {
    let bytes = take(rest, 1)?[0];
    take(rest, bytes.into())
}

/// Makes events of entries. Names that come again and again share their text.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The time of the last entry; those of one append share theirs.
    time: Option<(u64, Timestamp)>,
    stream: Option<StreamId>,
    types: Vec<EventType>,
}

impl Decoder {
    /// So many types are remembered.
    const TYPES_MAX: usize = 16;

    /// The event in an entry; `None` if only its husk is left.
    pub(super) fn event(&mut self, entry: &Entry<'_>) -> Result<Option<RecordedEvent>> {
        let Some(parts) = Parts::read(entry.payload) else { return Err(senseless(entry.position)) };
        if parts.is_husk { Ok(None) } else { self.event_of(entry, &parts).map(Some) }
    }

    #[inline]
    pub(super) fn event_of(&mut self, entry: &Entry<'_>, parts: &Parts<'_>) -> Result<RecordedEvent> {
        let time = self.time(entry.time);
        let occurred_at = parts.occurred_at.map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds)).transpose();
        let (Some(recorded_at), Ok(occurred_at)) = (time, occurred_at) else { return Err(senseless(entry.position)) };
        Ok(RecordedEvent {
            position: GlobalPosition::from_number(entry.position),
            stream: self.stream(parts.stream),
            version: StreamVersion::new(entry.number),
            id: parts.id,
            event_type: self.event_type(parts.event_type),
            recorded_at,
            occurred_at,
            data: entry.keep(parts.data),
            metadata: if parts.metadata.is_empty() { Bytes::new() } else { entry.keep(parts.metadata) },
            tags: parts.tags().map(Tag::trusted).collect(),
        })
    }

    fn time(&mut self, microseconds: u64) -> Option<Timestamp> {
        match self.time {
            Some((known, time)) if known == microseconds => Some(time),
            _ => {
                let time = Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()?;
                Some(self.time.insert((microseconds, time)).1)
            }
        }
    }

    fn stream(&mut self, text: &str) -> StreamId {
        match &self.stream {
            Some(stream) if *stream == *text => stream.clone(),
            _ => self.stream.insert(StreamId::trusted(text)).clone(),
        }
    }

    fn event_type(&mut self, text: &str) -> EventType {
        if let Some(place) = self.types.iter().position(|known| *known == *text) {
            // The next event is likely to be of the same type.
            self.types.swap(0, place);
            return self.types[0].clone();
        }
        let event_type = EventType::trusted(text);
        if self.types.len() == Self::TYPES_MAX {
            self.types.clear();
        }
        self.types.push(event_type.clone());
        event_type
    }
}

pub(super) fn senseless(position: u64) -> Error {
    Error::Corrupt { reason: format!("the event at position {position} makes no sense"), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_husk_has_the_keys_of_its_event_and_nothing_of_its_content() {
        let maker = KeyMaker::new([5; 16]);
        let indexer = EventIndexer::default();
        for number in 0..64u128 {
            let stream = StreamId::new(["Order-1", "Bestellung-ü", "alone"][number as usize % 3]).expect("valid");
            let mut event = NewEvent::json("Placed", &"secret").expect("it can be written").with_id(Uuid::from_u128(number));
            for tag in 0..number % 4 {
                event = event.with_tag(Tag::new(format!("tag:{tag}")).expect("valid"));
            }
            if number & 4 > 0 {
                event = event.with_metadata("secret");
            }
            if number & 8 > 0 {
                event = event.with_occurred_at(Timestamp::UNIX_EPOCH);
            }
            let mut payload = Vec::new();
            write(&stream, &event, &mut payload);
            let husk = indexer.husk(&payload).expect("something is left out");
            assert!(husk.len() < payload.len() && !husk.windows(6).any(|part| part == b"secret"), "{event:?}");
            assert_eq!(indexer.terms(&maker, &husk).expect("it makes sense"), indexer.terms(&maker, &payload).expect("it makes sense"));
            assert_eq!(indexer.hidden_by(&maker, &husk), indexer.hidden_by(&maker, &payload));
            assert_eq!(indexer.husk(&husk), None, "nothing more is left out");
        }
    }
}
