//! A step: one random request, said relative to what is there, so that it means something wherever it stands in a sequence.

use factum::{
    Append, Category, Condition, Direction, Error, EventStore, EventType, ExpectedVersion, GlobalPosition, ListStreams, NewEvent, Query,
    QueryItem, ReadLog, ReadStream, Receipt, RecordName, RecordVersion, RecordWrite, StreamId, StreamReceipt, StreamVersion, Tag,
    Timestamp, Uuid,
};
use futures::TryStreamExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::sample::{select, subsequence};
use proptest::strategy::{BoxedStrategy, Strategy};

use crate::places::Places;
use crate::reference::{Answer, Reference, Refusal, said_of};
use crate::same;

const STREAMS: [&str; 4] = ["Order-1", "Order-2", "Order", "Cart-1"];
const CATEGORIES: [&str; 3] = ["Order", "Cart", "None"];
const PREFIXES: [&str; 4] = ["", "Order-", "Cart-1", "Order-12"];
const TYPES: [&str; 2] = ["Placed", "Paid"];
const TAGS: [&str; 3] = ["a", "b", "ab"];
const RECORDS: [&str; 2] = ["snapshot/1", "checkpoint/1"];

pub(crate) fn stream_ids() -> impl Iterator<Item = StreamId> {
    STREAMS.into_iter().map(|id| StreamId::new(id).expect("a valid stream id"))
}

pub(crate) fn record_names() -> impl Iterator<Item = RecordName> {
    RECORDS.into_iter().map(|name| RecordName::new(name).expect("a valid name"))
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append {
        parts: Vec<(usize, Expecting, Vec<Proposal>)>,
        write: Option<Write>,
        condition: Option<(Query, Number)>,
    },
    /// Sends one of the last appends again.
    Repeat {
        back: usize,
    },
    Truncate {
        stream: usize,
        before: Number,
    },
    Write(Write),
    ReadStream {
        stream: usize,
        from: Option<Number>,
        to: Option<Number>,
        direction: Direction,
        limit: Option<u64>,
    },
    ReadLog {
        after: Number,
        up_to: Option<Number>,
        query: Query,
        direction: Direction,
        limit: Option<u64>,
    },
    ListStreams {
        category: Option<Category>,
        limit: Option<u64>,
    },
    /// Closes the store and opens it again, where it is persistent.
    Reopen,
}

/// A write to a record.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    record: usize,
    value: Option<Vec<u8>>,
    expected: Option<Number>,
}

/// An expectation of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expecting {
    Any,
    NoStream,
    StreamExists,
    Version(Number),
}

/// A version or position, beside the last one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Last,
    FromLast(i8),
    FromStart(u8),
    Highest,
}

/// An event to be proposed.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// One of a few ids, so that they meet again; a new one if there is none.
    id: Option<u8>,
    event_type: &'static str,
    data: u8,
    tags: Vec<&'static str>,
    has_metadata: bool,
}

pub(crate) fn steps() -> BoxedStrategy<Step> {
    let part = (0..STREAMS.len(), expecting(), vec(proposal(), 1..4));
    let parts = prop_oneof![4 => vec(part.clone(), 1..2), 1 => vec(part, 2..4)];
    let condition = prop_oneof![4 => Just(None), 1 => (query(), number()).prop_map(Some)];
    let limit = || option::of(prop_oneof![0..5u64, Just(u64::MAX)]);
    let stream = || 0..STREAMS.len();
    prop_oneof![
        8 => (parts, option::weighted(0.2, write()), condition)
            .prop_map(|(parts, write, condition)| Step::Append { parts, write, condition }),
        3 => (0..4usize).prop_map(|back| Step::Repeat { back }),
        1 => (stream(), number()).prop_map(|(stream, before)| Step::Truncate { stream, before }),
        2 => write().prop_map(Step::Write),
        2 => (stream(), option::of(number()), option::of(number()), direction(), limit())
            .prop_map(|(stream, from, to, direction, limit)| Step::ReadStream { stream, from, to, direction, limit }),
        3 => (number(), option::of(number()), query(), direction(), limit())
            .prop_map(|(after, up_to, query, direction, limit)| Step::ReadLog { after, up_to, query, direction, limit }),
        1 => (option::of(select(&CATEGORIES[..])), limit()).prop_map(|(name, limit)| {
            Step::ListStreams { category: name.map(|name| Category::new(name).expect("a valid category")), limit }
        }),
        1 => Just(Step::Reopen),
    ]
    .boxed()
}

fn write() -> impl Strategy<Value = Write> + Clone {
    let value = option::weighted(0.8, vec(any::<u8>(), 0..3));
    (0..RECORDS.len(), value, option::of(number())).prop_map(|(record, value, expected)| Write { record, value, expected })
}

fn expecting() -> impl Strategy<Value = Expecting> + Clone {
    prop_oneof![
        3 => Just(Expecting::Any),
        1 => Just(Expecting::NoStream),
        1 => Just(Expecting::StreamExists),
        3 => Just(Expecting::Version(Number::Last)),
        1 => number().prop_map(Expecting::Version),
    ]
}

fn number() -> impl Strategy<Value = Number> + Clone {
    prop_oneof![Just(Number::Last), (-3..3i8).prop_map(Number::FromLast), (0..8u8).prop_map(Number::FromStart), Just(Number::Highest),]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Forward), Just(Direction::Backward)]
}

fn proposal() -> impl Strategy<Value = Proposal> + Clone {
    let id = prop_oneof![3 => Just(None), 1 => (0..4u8).prop_map(Some)];
    let tags = subsequence(&TAGS[..], 0..=TAGS.len());
    (id, select(&TYPES[..]), 0..2u8, tags, any::<bool>()).prop_map(|(id, event_type, data, tags, has_metadata)| Proposal {
        id,
        event_type,
        data,
        tags,
        has_metadata,
    })
}

fn query() -> impl Strategy<Value = Query> {
    let types = subsequence(&TYPES[..], 0..=1);
    let tags = subsequence(&TAGS[..], 0..=2);
    let item = (option::weighted(0.3, select(&CATEGORIES[..])), option::weighted(0.3, select(&PREFIXES[..])), types, tags).prop_map(
        |(category, prefix, types, tags)| QueryItem {
            category: category.map(|name| Category::new(name).expect("a valid category")),
            stream_prefix: prefix.map(str::to_owned),
            types: types.into_iter().map(|name| EventType::new(name).expect("a valid type")).collect(),
            tags: tags.into_iter().map(tag).collect(),
        },
    );
    vec(item, 0..3).prop_map(|items| Query { items })
}

fn tag(text: &str) -> Tag {
    Tag::new(text).expect("a valid tag")
}

fn stream_id(index: usize) -> StreamId {
    StreamId::new(STREAMS[index]).expect("a valid stream id")
}

impl Number {
    fn beside(self, last: u64) -> u64 {
        match self {
            Self::Last => last,
            Self::FromLast(difference) => last.saturating_add_signed(difference.into()),
            Self::FromStart(number) => number.into(),
            Self::Highest => u64::MAX,
        }
    }
}

impl Proposal {
    fn event(&self, reference: &mut Reference) -> NewEvent {
        let Self { id, event_type, data, tags, has_metadata } = self;
        let id = id.map(u128::from).unwrap_or_else(|| {
            reference.ids += 1;
            1_000 + reference.ids
        });
        let event = NewEvent::new(EventType::new(event_type).expect("a valid type"), vec![*data; 3]).with_id(Uuid::from_u128(id));
        let event = tags.iter().map(|text| tag(text)).fold(event, NewEvent::with_tag);
        if *has_metadata { event.with_metadata("by hand").with_occurred_at(Timestamp::UNIX_EPOCH) } else { event }
    }
}

impl Step {
    /// Sends the request to both, and says where the answers differ.
    pub(crate) async fn play(&self, store: &dyn EventStore, reference: &mut Reference) -> Result<(), String> {
        match self {
            Self::Append { parts, write, condition } => {
                let mut append = Append::default();
                append.records.extend(write.as_ref().map(|write| write.request(reference)));
                for (stream, expecting, proposals) in parts {
                    let stream = stream_id(*stream);
                    let expected = match expecting {
                        Expecting::Any => ExpectedVersion::Any,
                        Expecting::NoStream => ExpectedVersion::NoStream,
                        Expecting::StreamExists => ExpectedVersion::StreamExists,
                        Expecting::Version(number) => ExpectedVersion::exact(number.beside(reference.version(&stream))),
                    };
                    let mut events: Vec<_> = proposals.iter().map(|proposal| proposal.event(reference)).collect();
                    events.sort_by_key(|event| event.id);
                    events.dedup_by_key(|event| event.id);
                    let earlier: Vec<_> =
                        append.streams.iter().filter(|part| part.stream == stream).flat_map(|part| &part.events).collect();
                    events.retain(|event| earlier.iter().all(|one| one.id != event.id));
                    if !events.is_empty() {
                        append = append.and_to(stream, expected, events);
                    }
                }
                if let Some((none_of, after)) = condition {
                    let after = GlobalPosition::from_number(after.beside(reference.head().number()));
                    append = append.on_condition(Condition { none_of: none_of.clone(), after });
                }
                send(append, store, reference).await
            }
            Self::Repeat { back } => match reference.sent.iter().rev().nth(*back).cloned() {
                Some(append) => send(append, store, reference).await,
                None => Ok(()),
            },
            Self::Truncate { stream, before } => {
                let stream = stream_id(*stream);
                let before = before.beside(reference.version(&stream));
                let expected = reference.truncate_before(&stream, before);
                match store.truncate_before(&stream, StreamVersion::new(before)).await {
                    Ok(info) => same("what truncating returned", &Some(info), &expected),
                    Err(Error::Invalid { .. }) => same("what truncating returned", &None, &expected),
                    Err(other) => Err(format!("truncating answered {other:?}")),
                }
            }
            Self::Write(write) => {
                let write = write.request(reference);
                let by_reference = reference.write_record(&write);
                match store.write_record(write).await {
                    Ok(version) => same("what the write returned", &Ok(version), &by_reference),
                    Err(Error::RecordConflict { actual, .. }) => same("what the write returned", &Err(actual), &by_reference),
                    Err(other) => Err(format!("the write answered {other:?}")),
                }
            }
            Self::ReadStream { stream, from, to, direction, limit } => {
                let stream = stream_id(*stream);
                let last = reference.version(&stream);
                let version = |number: Number| StreamVersion::new(number.beside(last));
                let options = ReadStream { from: from.map(version), to: to.map(version), direction: *direction, limit: *limit };
                let events: Vec<_> = store.read_stream(&stream, options).try_collect().await.map_err(|error| error.to_string())?;
                same(
                    "the stream",
                    &events.iter().map(|event| said_of(&reference.places, event)).collect(),
                    &reference.stream_with(&stream, &options),
                )
            }
            Self::ReadLog { after, up_to, query, direction, limit } => {
                let position = |number: Number| GlobalPosition::from_number(number.beside(reference.head().number()));
                let (after, up_to, query) = (position(*after), up_to.map(position), query.clone());
                let options = ReadLog { after, up_to, query, direction: *direction, limit: *limit };
                let expected = reference.log_with(&options);
                let place = |position: GlobalPosition| reference.places.position(position.number());
                let options = ReadLog { after: place(after), up_to: up_to.map(place), ..options };
                let events: Vec<_> = store.read_log(options).try_collect().await.map_err(|error| error.to_string())?;
                same("what matches", &events.iter().map(|event| said_of(&reference.places, event)).collect(), &expected)
            }
            Self::ListStreams { category, limit } => {
                let options = ListStreams { category: category.clone(), limit: *limit };
                let listed: Vec<_> = store.streams(options.clone()).try_collect().await.map_err(|error| error.to_string())?;
                same("the list of streams", &listed, &reference.streams_with(&options))
            }
            Self::Reopen => Ok(()),
        }
    }
}

impl Write {
    fn request(&self, reference: &Reference) -> RecordWrite {
        let name = RecordName::new(RECORDS[self.record]).expect("a valid name");
        let actual = reference.record(&name).map_or(0, |record| record.version.get());
        let expected = self.expected.map(|number| RecordVersion::new(number.beside(actual)));
        RecordWrite { name, value: self.value.clone().map(Into::into), expected }
    }
}

async fn send(append: Append, store: &dyn EventStore, reference: &mut Reference) -> Result<(), String> {
    reference.sent.push(append.clone());
    let expected = reference.append(&append);
    let mut asked = append.clone();
    if let Some(condition) = &mut asked.condition {
        condition.after = reference.places.position(condition.after.number());
    }
    let answer = store.append(asked).await;
    if answer.as_ref().is_ok_and(|receipt| !receipt.duplicate) {
        reference.places.learn(store).await?;
    }
    let is_right = match (&answer, &expected) {
        (Ok(receipt), Answer::Stands { parts, records, duplicate }) => {
            receipt.duplicate == *duplicate
                && receipt.records == *records
                && said_in(&reference.places, receipt) == *parts
                && receipt.streams.iter().map(|part| &part.stream).eq(append.streams.iter().map(|part| &part.stream))
        }
        (Err(error), Answer::Refused(refusals)) => refusal(error).is_some_and(|refusal| refusals.contains(&refusal)),
        (Ok(_), Answer::Refused(_)) | (Err(_), Answer::Stands { .. }) => false,
    };
    if is_right { Ok(()) } else { Err(format!("{append:?} is answered\n  {answer:?}\nand by the reference\n  {expected:?}")) }
}

fn said_in(places: &Places, receipt: &Receipt) -> Vec<[u64; 4]> {
    let said = |part: &StreamReceipt| {
        let (first, last) = (places.place(part.first_position), places.place(part.last_position));
        [part.first_version.get(), part.last_version.get(), first, last]
    };
    receipt.streams.iter().map(said).collect()
}

fn refusal(error: &Error) -> Option<Refusal> {
    match error {
        Error::Conflict(conflict) => Some(Refusal::Conflict { stream: conflict.stream.clone(), actual: conflict.actual.get() }),
        Error::ConditionFailed { .. } => Some(Refusal::ConditionFailed),
        Error::RecordConflict { name, actual, .. } => Some(Refusal::RecordConflict { name: name.clone(), actual: *actual }),
        Error::IdReused { stream, id, recorded, proposed } => {
            Some(Refusal::IdReused { stream: stream.clone(), id: *id, recorded: recorded.get(), proposed: proposed.get() })
        }
        _ => None,
    }
}
