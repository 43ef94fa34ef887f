//! What is handed to the log's writer: appends, writes to records, truncations.

use factum_engine::{Decision, Draft, Failure, Key, Looked, Pending, Proposal};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::error::failed;
use super::payload::{self, Decoder, Keys, NameKeys, Parts, senseless};
use super::reading::truncation_of;
use super::selection::Selection;
use super::source::Source;
use crate::error::Result;
use crate::store::{Admission, Ledger, Place, admit, admit_record, admit_truncation};
use crate::{
    Append, Direction, GlobalPosition, Query, Receipt, RecordName, RecordVersion, RecordWrite, RecordedEvent, StreamAppend, StreamId,
    StreamInfo, StreamReceipt, StreamVersion,
};

/// So many events for each stream are worth a look before the writer looks.
const LOOKED_UP_MIN: usize = 16;

/// So many streams in an append are worth a look at all that is known of them before the first is decided about.
const LOOKED_AHEAD_MIN: usize = 8;

/// A request with its answer, which is given when what it rests on is durable.
pub(super) struct Request<D: Decide> {
    decide: D,
    keys: Keys,
    answer: Option<Result<D::Answer>>,
    sender: oneshot::Sender<Answered<D>>,
}

/// The answer to a request, and the request.
pub(super) type Answered<D> = (Result<<D as Decide>::Answer>, D);

/// How a request is decided, on the writer's thread.
pub(super) trait Decide: Send + 'static {
    type Answer: Send + 'static;

    /// The answer, and what is to be recorded for it to be true.
    fn decide(&mut self, log: &Pending<'_>, keys: &Keys) -> Result<(Self::Answer, Option<Draft>)>;
}

impl<D: Decide> Request<D> {
    pub(super) fn new(decide: D, keys: Keys) -> (Box<Self>, oneshot::Receiver<Answered<D>>) {
        let (sender, receiver) = oneshot::channel();
        (Box::new(Self { decide, keys, answer: None, sender }), receiver)
    }
}

impl<D: Decide> Proposal for Request<D> {
    fn decide(&mut self, log: &Pending<'_>) -> Decision {
        match self.decide.decide(log, &self.keys) {
            Ok((answer, draft)) => {
                self.answer = Some(Ok(answer));
                draft.map_or(Decision::Nothing, Decision::Record)
            }
            Err(error) => {
                self.answer = Some(Err(error));
                Decision::Nothing
            }
        }
    }

    fn settle(self: Box<Self>, outcome: Result<(), Failure>) {
        let answer = match outcome {
            Ok(()) => self.answer.expect("it was decided"),
            Err(failure) => Err(failed(failure)),
        };
        // Whoever asked may have gone. The request goes back with the answer, to be taken apart on the caller's thread.
        let _ = self.sender.send((answer, self.decide));
    }
}

/// An append, with its events already written as payloads.
pub(super) struct AppendRequest {
    append: Append,
    draft: Option<Draft>,
    keys: RequestKeys,
}

/// Keys that the rules of an append ask for.
#[derive(Default)]
struct RequestKeys {
    /// Of each part's stream.
    streams: Vec<Key>,
    /// Of each event's id.
    ids: Vec<Key>,
    /// What is known already of the ids of each part, if anything is.
    looked: Vec<Looked>,
    /// Of each record, with the log's name for it.
    records: Vec<(Key, Vec<u8>)>,
}

impl AppendRequest {
    pub(super) fn new(append: Append, keys: &Keys) -> Self {
        let events = append.streams.iter().flat_map(|part| part.events.iter().map(|event| (&part.stream, event)));
        let bytes = events.map(|(stream, event)| payload::bytes_of(stream, event)).sum();
        let mut draft = Draft::with_capacity(bytes, append.events());
        let mut streams = Vec::with_capacity(append.streams.len());
        let mut ids = Vec::with_capacity(append.events());
        let mut names = NameKeys::new(keys);
        for part in &append.streams {
            let of_stream = names.stream(&part.stream);
            streams.push(of_stream.key());
            for event in &part.events {
                let tags = event.tags.iter().map(|tag| tag.as_str());
                let (terms, id) = names.terms(&of_stream, event.event_type.as_str(), tags, event.id);
                ids.push(id);
                draft.entry(&terms, |out| payload::write(&part.stream, event, out));
            }
        }
        let records = append.records.iter().map(|write| keys.record(write.name.as_str())).collect();
        Self { append, draft: Some(draft), keys: RequestKeys { streams, ids, looked: Vec::new(), records } }
    }

    /// Looks ids up where nothing changes any more, if they are many: each thread that appends does that for itself, and there is
    /// only one writer.
    pub(super) fn look_up(&mut self, source: &Source) -> Result<()> {
        let RequestKeys { streams, ids, looked, .. } = &mut self.keys;
        if ids.len() < LOOKED_UP_MIN * streams.len() {
            return Ok(());
        }
        let snapshot = source.snapshot()?;
        let mut rest = &ids[..];
        for (part, stream) in self.append.streams.iter().zip(streams) {
            let (of_part, others) = rest.split_at(part.events.len());
            rest = others;
            looked.push(snapshot.look_up_within(*stream, of_part)?);
        }
        Ok(())
    }
}

impl Decide for AppendRequest {
    type Answer = Receipt;

    fn decide(&mut self, log: &Pending<'_>, keys: &Keys) -> Result<(Receipt, Option<Draft>)> {
        if self.keys.streams.len() >= LOOKED_AHEAD_MIN {
            let ids = self.append.streams.iter().scan(&self.keys.ids[..], |rest, part| {
                let (of_part, others) = rest.split_at(part.events.len());
                *rest = others;
                Some(of_part)
            });
            log.look_ahead(self.keys.streams.iter().copied().zip(ids));
        }
        match admit(&self.append, &PendingLedger { log, keys, request: &self.keys })? {
            Admission::Duplicate(receipt) => Ok((receipt, None)),
            Admission::Fresh { versions, records } => {
                let mut position = log.next_position();
                let parts = self.append.streams.iter().zip(versions);
                let receipt = |(part, before): (&StreamAppend, StreamVersion)| {
                    let events = part.events.len() as u64;
                    let first = position;
                    position += events;
                    StreamReceipt {
                        stream: part.stream.clone(),
                        first_version: before.plus(1),
                        last_version: before.plus(events),
                        first_position: GlobalPosition::from_number(first),
                        last_position: GlobalPosition::from_number(position - 1),
                    }
                };
                let streams = parts.map(receipt).collect();
                let mut draft = self.draft.take().expect("it is decided once");
                let names = self.append.records.iter().zip(&self.keys.records);
                for ((write, (key, name)), version) in names.zip(&records) {
                    if let Some(version) = version {
                        draft.record(*key, name, version.get(), write.value.as_deref());
                    }
                }
                let records = records.into_iter().map(Option::unwrap_or_default).collect();
                Ok((Receipt { streams, records, duplicate: false }, Some(draft)))
            }
        }
    }
}

/// The log as the rules of an append see it.
struct PendingLedger<'l> {
    log: &'l Pending<'l>,
    keys: &'l Keys,
    request: &'l RequestKeys,
}

impl PendingLedger<'_> {
    fn event(&self, position: u64, wanted: impl FnOnce(&Parts<'_>) -> bool) -> Result<Option<RecordedEvent>> {
        self.log.entry(position, |entry| {
            let Some(parts) = Parts::read(entry.payload) else { return Err(senseless(position)) };
            if wanted(&parts) { Decoder::default().event_of(&entry, &parts).map(Some) } else { Ok(None) }
        })?
    }
}

/// The first version of a stream that can be read.
fn first_version(log: &Pending<'_>, keys: &Keys, stream: &str) -> Result<u64> {
    let (key, name) = keys.truncation(stream);
    Ok(log.record(key, &name, |record| truncation_of(record.value))?.unwrap_or(1))
}

impl Ledger for PendingLedger<'_> {
    fn version(&self, _stream: &StreamId, part: usize) -> Result<StreamVersion> {
        Ok(StreamVersion::new(self.log.count(self.request.streams[part])?))
    }

    fn known(&self, part: &StreamAppend, place: Place) -> Result<Vec<usize>> {
        let ids = &self.request.ids[place.event..][..part.events.len()];
        let nothing = Looked::default();
        let looked = self.request.looked.get(place.part).unwrap_or(&nothing);
        Ok(self.log.known_within(self.request.streams[place.part], ids, looked)?)
    }

    fn find(&self, stream: &StreamId, id: Uuid, place: Place) -> Result<Option<RecordedEvent>> {
        let mut found = None;
        // The same id stands there more than once only if it was forgotten by a truncation: the newest counts.
        for position in self.log.positions_within(self.request.streams[place.part], self.request.ids[place.event])?.into_iter().rev() {
            found = self.event(position, |parts| !parts.is_husk && parts.id == id && parts.stream == stream.as_str())?;
            if found.is_some() {
                break;
            }
        }
        let Some(event) = found else { return Ok(None) };
        Ok((event.version.get() >= first_version(self.log, self.keys, stream.as_str())?).then_some(event))
    }

    fn match_after(&self, query: &Query, after: GlobalPosition) -> Result<Option<GlobalPosition>> {
        let last = self.log.next_position() - 1;
        let mut after = after.number();
        let selection = Selection::of(query, self.keys);
        while after < last {
            let positions = match &selection {
                Some(selection) => selection.positions(self.log, (after, last), Direction::Forward, 16)?,
                None => (after + 1..=last.min(after + 16)).collect(),
            };
            let Some(end) = positions.last().copied() else { break };
            for position in positions {
                let matches = |parts: &Parts<'_>| may_be(query, parts);
                if let Some(event) = self.event(position, matches)?
                    && query.matches_event(&event)
                {
                    return Ok(Some(event.position));
                }
            }
            after = end;
        }
        Ok(None)
    }

    fn standing(&self, _name: &RecordName, number: usize) -> Result<(u64, bool)> {
        let (key, name) = &self.request.records[number];
        standing(self.log, *key, name)
    }
}

/// How often a record has been written, and whether it is there.
fn standing(log: &Pending<'_>, key: Key, name: &[u8]) -> Result<(u64, bool)> {
    Ok(log.record(key, name, |record| (record.version, record.value.is_some()))?.unwrap_or_default())
}

/// Whether the stream is one that the query asks for; a look at the bytes, before an event is made of them.
fn may_be(query: &Query, parts: &Parts<'_>) -> bool {
    query.items.is_empty()
        || query.items.iter().any(|item| item.stream_prefix.as_ref().is_none_or(|prefix| parts.stream.starts_with(prefix.as_str())))
}

impl Decide for RecordWrite {
    type Answer = RecordVersion;

    fn decide(&mut self, log: &Pending<'_>, keys: &Keys) -> Result<(RecordVersion, Option<Draft>)> {
        let (key, name) = keys.record(self.name.as_str());
        let (written, is_there) = standing(log, key, &name)?;
        let Some(version) = admit_record(self, written, is_there)? else { return Ok((RecordVersion::NONE, None)) };
        let mut draft = Draft::default();
        draft.record(key, &name, version.get(), self.value.as_deref());
        Ok((version, Some(draft)))
    }
}

/// Makes a stream's events below a version unreadable.
pub(super) struct TruncateRequest {
    pub(super) stream: StreamId,
    pub(super) before: StreamVersion,
}

impl Decide for TruncateRequest {
    type Answer = StreamInfo;

    fn decide(&mut self, log: &Pending<'_>, keys: &Keys) -> Result<(StreamInfo, Option<Draft>)> {
        let version = StreamVersion::new(log.count(keys.stream(self.stream.as_str()))?);
        let first = StreamVersion::new(first_version(log, keys, self.stream.as_str())?);
        let first_version = admit_truncation(&self.stream, version, first, self.before)?;
        let info = StreamInfo { stream: self.stream.clone(), version, first_version };
        if first_version == first {
            return Ok((info, None));
        }
        let before = first_version.get();
        let (key, name) = keys.truncation(self.stream.as_str());
        let mut draft = Draft::default();
        draft.record(key, &name, before, Some(&before.to_le_bytes()));
        Ok((info, Some(draft)))
    }
}
