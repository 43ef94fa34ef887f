//! `factum copy`: one store into another, in order, resumable, and compared at the end.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Instant;

use clap::Args;
use factum::{
    Append, Error, EventStore, EventStoreExt, EventStream, EventType, ExpectedVersion, GlobalPosition, ListStreams, NewEvent, ReadLog,
    ReadStream, RecordedEvent, SharedStore, StreamId, StreamInfo, StreamVersion, Uuid,
};
use futures::TryStreamExt;

use crate::console::{Console, counted, grouped};
use crate::failure::Failure;
use crate::sequence::{OnConflict, Proposal, Sequence};
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum copy file:./factum-data file:/backup/events
  factum copy file:./factum-data memory:         only reads everything and compares it with itself

The target gets the same streams, versions, ids, types, data, metadata, tags and times of happening, in the same order. It gives
its own positions and times of recording; an event whose writer gave no time is said to have happened when the source recorded it.
A copy that was stopped, or whose source has grown, is simply started again: it goes on where it was. Streams that only the target
has are left alone; a stream that holds something else there is a conflict (exit code 3). At the end both stores are read and
compared, event by event.

With --json: {\"copied\",\"present\",\"streams\",\"ok\"}.";

/// Copy a store into another, and compare the two
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Copy {
    /// The store to copy
    #[arg(value_name = "FROM_URL")]
    from: String,
    /// The store to copy it into, which is made if it is not there
    #[arg(value_name = "TO_URL")]
    to: String,
}

pub(crate) async fn run(copy: Copy, console: &mut Console<'_>) -> Result<(), Failure> {
    let Copy { from, to } = copy;
    if from == to {
        return Err(Failure::usage("the source and the target are the same store"));
    }
    let begun = Instant::now();
    let source = store_url::open_to_read(&from).await?;
    let target = if to == "memory:" { factum::connect(&to).await? } else { store_url::open_to_write(&to).await?.0 };
    let end = source.head().await?;
    let total = source.stats().await?.events;
    let (from, to) = (store_url::shown(&from), store_url::shown(&to));
    let copier = Copier { source, target, to: &to, end };

    let bar = console.events_bar(Some(total), "copying");
    let Copied { copied, present } = copier.copy(|events| bar.inc(events)).await?;
    bar.finish_and_clear();
    let streams = copier.truncate().await?;

    let bar = console.events_bar(Some(total), "comparing");
    let compared = copier.compare(|events| bar.inc(events)).await?;
    bar.finish_and_clear();
    copier.target.close().await?;
    if console.json {
        let ok = compared.is_ok();
        console.line(format_args!("{{\"copied\":{copied},\"present\":{present},\"streams\":{streams},\"ok\":{ok}}}"))?;
    }
    if let Err(difference) = compared {
        return Err(Failure::could_not(format!("{to} is not a copy of {from}: {difference}")));
    }
    if !console.json {
        let look = console.look;
        let before = if present > 0 { format!(", {} were there already", grouped(present)) } else { String::new() };
        let seconds = format!("({:.2} s)", begun.elapsed().as_secs_f64());
        console.line(format_args!("copied {} of {}{before}", counted(copied, "event"), counted(streams, "stream")))?;
        console.line(format_args!("{} both stores were read and hold the same {}", look.good("ok:"), look.faint(seconds)))?;
    }
    Ok(())
}

/// How many streams are remembered, so that memory stays bounded however many there are.
const STREAMS_KNOWN_MAX: usize = 1_000_000;

struct Copier<'a> {
    source: SharedStore,
    target: SharedStore,
    to: &'a str,
    /// Up to where the source is copied; what is recorded after that is for the next time.
    end: GlobalPosition,
}

struct Copied {
    copied: u64,
    present: u64,
}

impl Copier<'_> {
    /// Appends to the target what it does not have.
    async fn copy(&self, mut progress: impl FnMut(u64)) -> Result<Copied, Failure> {
        let mut events = self.read(&self.source);
        let mut sequence = Sequence::new(&*self.target, OnConflict::Stop).await?;
        // Which version each stream of the target had before this copy.
        let mut had: HashMap<StreamId, StreamVersion> = HashMap::new();
        let mut present = 0;
        while let Some(event) = events.try_next().await? {
            progress(1);
            if had.len() > STREAMS_KNOWN_MAX {
                // Once all is recorded, the target itself tells again.
                sequence.finish().await.map_err(|error| self.stopped(error))?;
                had.clear();
            }
            let before = match had.get(&event.stream) {
                Some(version) => *version,
                None => {
                    let version = self.prepare(&event).await?;
                    had.insert(event.stream.clone(), version);
                    sequence.know(event.stream.clone(), version);
                    version
                }
            };
            if event.version <= before {
                present += 1;
                continue;
            }
            let proposal = Proposal { origin: event.position.number(), stream: event.stream.clone(), event: proposed(event) };
            sequence.push(proposal).await.map_err(|error| self.stopped(error))?;
        }
        sequence.finish().await.map_err(|error| self.stopped(error))?;
        Ok(Copied { copied: sequence.recorded, present })
    }

    /// Looks at a stream of the target before its first event is copied, and returns the version it is at.
    async fn prepare(&self, first: &RecordedEvent) -> Result<StreamVersion, Failure> {
        let stream = &first.stream;
        let missing = StreamVersion::new(first.version.get() - 1);
        let version = self.target.version(stream).await?;
        if version < missing {
            self.fill(stream, version, missing).await?;
            return Ok(missing);
        }
        if version == missing {
            return Ok(version);
        }
        self.require_same(stream, version).await?;
        Ok(version)
    }

    /// Refuses a stream that holds something else than the source's does: its last event tells.
    async fn require_same(&self, stream: &StreamId, version: StreamVersion) -> Result<(), Failure> {
        let (theirs, ours) = (last_up_to(&*self.target, stream, version).await?, last_up_to(&*self.source, stream, version).await?);
        match (theirs, ours) {
            (Some(theirs), Some(ours)) if theirs.version == ours.version && theirs.id == ours.id => Ok(()),
            (None, _) => Ok(()),
            (Some(theirs), ours) => Err(self.holds_something_else(stream, &theirs, ours.as_ref())),
        }
    }

    fn holds_something_else(&self, stream: &StreamId, theirs: &RecordedEvent, ours: Option<&RecordedEvent>) -> Failure {
        let (to, version) = (self.to, theirs.version);
        let source = ours.filter(|ours| ours.version == version).map_or("nothing".to_owned(), |ours| ours.id.to_string());
        Failure::Conflict(format!(
            "stream {stream} in {to} holds something else: its version {version} is event {}, in the source it is {source}; copy into an \
             empty store, or one that only holds an earlier copy",
            theirs.id
        ))
    }

    /// Events in place of the source's truncated ones, so that those that are left keep their versions; they are truncated in turn.
    async fn fill(&self, stream: &StreamId, from: StreamVersion, to: StreamVersion) -> Result<(), Failure> {
        let limit = self.target.capabilities().limits.append_events_max.min(1_000);
        let mut version = from;
        while version < to {
            let count = (to.get() - version.get()).min(limit);
            let fillers = (1..=count).map(|ahead| filler(stream, version.plus(ahead)));
            let fillers = fillers.collect::<Result<Vec<_>, Error>>()?;
            let append = Append::to(stream.clone(), fillers).expecting(ExpectedVersion::Exact(version));
            self.target.append(append).await.map_err(|error| self.stopped(error))?;
            version = version.plus(count);
        }
        Ok(())
    }

    /// Truncates the target's streams as the source's are, and returns how many streams there are.
    async fn truncate(&self) -> Result<u64, Failure> {
        let mut streams = self.source.streams(ListStreams::default());
        let mut count = 0;
        while let Some(StreamInfo { stream, version, first_version }) = streams.try_next().await? {
            count += 1;
            if first_version == StreamVersion::FIRST {
                continue;
            }
            let has = self.target.version(&stream).await?;
            if first_version > version && has < version {
                // None of its events is left, so none was copied.
                self.fill(&stream, has, version).await?;
            }
            self.target.truncate_before(&stream, first_version).await?;
        }
        Ok(count)
    }

    /// Reads both and says the first difference there is.
    async fn compare(&self, mut progress: impl FnMut(u64)) -> Result<Result<(), String>, Failure> {
        let mut ours = self.read(&self.source);
        let mut theirs = self.target.read_log(ReadLog::default());
        // Whether the source has a stream; the target may have others.
        let mut shared: HashMap<StreamId, bool> = HashMap::new();
        loop {
            let our = ours.try_next().await?;
            let their = loop {
                let Some(their) = theirs.try_next().await? else { break None };
                let is_shared = match shared.get(&their.stream) {
                    Some(is_shared) => *is_shared,
                    None => {
                        if shared.len() > STREAMS_KNOWN_MAX {
                            shared.clear();
                        }
                        let is_shared = self.source.stream(&their.stream).await?.is_some();
                        shared.insert(their.stream.clone(), is_shared);
                        is_shared
                    }
                };
                if is_shared {
                    break Some(their);
                }
            };
            match (our, their) {
                (None, None) => return Ok(Ok(())),
                (Some(our), Some(their)) => {
                    if let Err(difference) = compare_events(&our, &their) {
                        return Ok(Err(difference));
                    }
                    progress(1);
                }
                (Some(our), None) => return Ok(Err(format!("{} version {} is missing", our.stream, our.version))),
                (None, Some(their)) => return Ok(Err(format!("it has {} version {} besides", their.stream, their.version))),
            }
        }
    }

    fn read(&self, store: &SharedStore) -> EventStream {
        store.read_log(ReadLog { up_to: Some(self.end), ..ReadLog::default() })
    }

    fn stopped(&self, error: Error) -> Failure {
        if error.is_conflict() {
            return Failure::Conflict(format!("{} was changed while it was copied into: {error}; start the copy again", self.to));
        }
        Failure::could_not(format!("{error}; the same copy again goes on from there"))
    }
}

/// The last event of a stream up to a version.
async fn last_up_to(store: &dyn EventStore, stream: &StreamId, version: StreamVersion) -> Result<Option<RecordedEvent>, Failure> {
    let options = ReadStream { to: Some(version), direction: factum::Direction::Backward, limit: Some(1), ..ReadStream::default() };
    Ok(store.read_stream(stream, options).try_next().await?)
}

fn proposed(event: RecordedEvent) -> NewEvent {
    let occurred_at = Some(event.happened_at());
    let RecordedEvent { id, event_type, data, metadata, tags, .. } = event;
    NewEvent { id, event_type, data, metadata, tags, occurred_at }
}

fn filler(stream: &StreamId, version: StreamVersion) -> Result<NewEvent, Error> {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("factum:truncated:{stream}:{version}").as_bytes());
    Ok(NewEvent::new(EventType::new("factum.Truncated")?, "null").with_id(id))
}

fn compare_events(our: &RecordedEvent, their: &RecordedEvent) -> Result<(), String> {
    let place = format!("{} version {}", our.stream, our.version);
    if (&our.stream, our.version) != (&their.stream, their.version) {
        let found = format!("{} version {}", their.stream, their.version);
        return Err(match (our.stream == their.stream, our.version.cmp(&their.version)) {
            (true, Ordering::Less) => format!("{place} is missing, {found} follows"),
            _ => format!("the order differs, {found} stands where {place} should"),
        });
    }
    let differs = [
        ("id", our.id != their.id),
        ("type", our.event_type != their.event_type),
        ("data", our.data != their.data),
        ("metadata", our.metadata != their.metadata),
        ("tags", our.tags != their.tags),
        ("occurred_at", our.happened_at() != their.happened_at()),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(format!("the {what} of {place} differs")),
        None => Ok(()),
    }
}
