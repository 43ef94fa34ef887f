//! What a command answers: a reply, or entries that are read once everything before them is durable.
//!
//! Entries never change, so a command says only which it answers with, as of its moment; they are read without the lock.

use bytes::{Bytes, BytesMut};
use factum::{Direction, EventStore, ReadStream, StreamId, StreamVersion};
use futures::TryStreamExt;
use futures::future::BoxFuture;

use super::locate::{entry_id, locate};
use super::stream::View;
use crate::redis::entry::{EntryId, Shapes, TEXT_BYTES_MAX};
use crate::redis::resp::{Output, Protocol, Reply, bulk, header};

/// What a command answers.
#[derive(Debug)]
pub(crate) enum Plan {
    Reply(Reply),
    Array(Vec<Plan>),
    Map(Vec<(Reply, Plan)>),
    /// Names of streams and their entries: pairs in RESP2, a map in RESP3.
    Streams(Vec<(Bytes, Plan)>),
    /// Entries between two ids.
    Entries(Box<Entries>),
    /// Entries by their versions.
    Picked(Picked),
    /// The first of these entries, or nothing.
    First(Box<Entries>),
}

/// Entries of a stream as it was at one moment, between two ids, both included.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) view: View,
    pub(crate) start: EntryId,
    pub(crate) end: EntryId,
    pub(crate) limit: Option<u64>,
    pub(crate) direction: Direction,
    /// The version of the first, where it is known.
    pub(crate) from: Option<u64>,
}

/// Entries of a stream by their versions.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) stream: StreamId,
    /// Ids and versions; no version where the entry is no more.
    pub(crate) entries: Vec<(EntryId, Option<u64>)>,
}

impl From<Reply> for Plan {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl Plan {
    /// Adds the answer to what is to be sent.
    pub(crate) async fn write(self, store: &dyn EventStore, protocol: Protocol, out: &mut Output) -> factum::Result<()> {
        match self {
            Self::Reply(reply) => out.push_checked(&reply, protocol),
            Self::Entries(entries) => entries.write(store, out).await,
            nested => nested.nested(store, protocol, out).await,
        }
    }

    fn nested<'a>(self, store: &'a dyn EventStore, protocol: Protocol, out: &'a mut Output) -> BoxFuture<'a, factum::Result<()>> {
        Box::pin(async move {
            match self {
                Self::Array(plans) => {
                    header(out.bytes_mut(), b'*', plans.len());
                    for plan in plans {
                        plan.write(store, protocol, out).await?;
                    }
                }
                Self::Map(members) => {
                    let (kind, count) = if protocol == Protocol::Three { (b'%', members.len()) } else { (b'*', members.len() * 2) };
                    header(out.bytes_mut(), kind, count);
                    for (name, plan) in members {
                        out.push(&name, protocol);
                        plan.write(store, protocol, out).await?;
                    }
                }
                Self::Streams(streams) => {
                    header(out.bytes_mut(), if protocol == Protocol::Three { b'%' } else { b'*' }, streams.len());
                    for (name, plan) in streams {
                        if protocol == Protocol::Two {
                            header(out.bytes_mut(), b'*', 2);
                        }
                        bulk(out.bytes_mut(), &name);
                        plan.write(store, protocol, out).await?;
                    }
                }
                Self::First(entries) => {
                    let start = out.len();
                    let count = entries.write_each(store, out).await?;
                    if count == 0 {
                        out.bytes_mut().truncate(start);
                        out.push(&Reply::Null, protocol);
                    }
                }
                Self::Picked(picked) => picked.write(store, protocol, out).await?,
                Self::Reply(_) | Self::Entries(_) => self.write(store, protocol, out).await?,
            }
            Ok(())
        })
    }
}

impl Entries {
    async fn write(self, store: &dyn EventStore, out: &mut Output) -> factum::Result<()> {
        // How many there are is known only in the end; mostly it is as many as were asked for.
        let start = out.len();
        let guess = self.view.len().min(self.limit.unwrap_or(u64::MAX));
        header(out.bytes_mut(), b'*', usize::try_from(guess).unwrap_or(usize::MAX));
        let guessed = out.len() - start;
        let count = self.write_each(store, out).await?;
        let mut counted = BytesMut::new();
        header(&mut counted, b'*', count);
        let out = out.bytes_mut();
        if counted.len() != guessed {
            let entries = out.split_off(start + guessed);
            out.truncate(start);
            out.extend_from_slice(&counted);
            out.extend_from_slice(&entries);
        } else {
            out[start..start + guessed].copy_from_slice(&counted);
        }
        Ok(())
    }

    /// Adds each entry, and says how many there were.
    async fn write_each(self, store: &dyn EventStore, out: &mut Output) -> factum::Result<usize> {
        let Self { view, start, end, limit, direction, from } = self;
        if view.len() == 0 || start > end || limit == Some(0) {
            return Ok(0);
        }
        let first = view.base + 1;
        let mut options =
            ReadStream { direction, from: Some(StreamVersion::new(first)), to: Some(StreamVersion::new(view.version)), limit: None };
        match direction {
            Direction::Forward => {
                let from = match from {
                    Some(from) => from,
                    None => locate(store, &view, start).await?,
                };
                options.from = Some(StreamVersion::new(from.max(first)));
            }
            Direction::Backward => {
                if end < view.last_id
                    && let Some(next) = end.next()
                {
                    let to = locate(store, &view, next).await?.saturating_sub(1);
                    options.to = Some(StreamVersion::new(to));
                }
            }
        }
        if options.from > options.to {
            return Ok(0);
        }
        if view.hidden.count() == 0 {
            options.limit = limit;
        }
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut events = store.read_stream(&view.stream, options);
        let mut shapes = Shapes::default();
        let mut count = 0;
        while count < limit
            && let Some(event) = events.try_next().await?
        {
            if view.hidden.contains(event.version.get()) {
                continue;
            }
            let id = shapes.id(&event).unwrap_or_else(|| entry_id(&event));
            let is_past = if direction == Direction::Forward { id > end } else { id < start };
            if is_past {
                break;
            }
            let is_before = if direction == Direction::Forward { id < start } else { id > end };
            if !is_before {
                shapes.write(id, &event, out.bytes_mut());
                out.check()?;
                count += 1;
            }
        }
        Ok(count)
    }
}

impl Picked {
    async fn write(self, store: &dyn EventStore, protocol: Protocol, out: &mut Output) -> factum::Result<()> {
        header(out.bytes_mut(), b'*', self.entries.len());
        let mut rest = &self.entries[..];
        let mut shapes = Shapes::default();
        while let Some((id, version)) = rest.first() {
            let Some(version) = *version else {
                header(out.bytes_mut(), b'*', 2);
                id_bulk(out.bytes_mut(), *id);
                out.push(&Reply::NullArray, protocol);
                rest = &rest[1..];
                continue;
            };
            let run = rest.iter().zip(version..).take_while(|((_, one), expected)| *one == Some(*expected)).count();
            let to = version + run as u64 - 1;
            let options = ReadStream { from: Some(StreamVersion::new(version)), to: Some(StreamVersion::new(to)), ..ReadStream::default() };
            let mut events = store.read_stream(&self.stream, options);
            let mut expected = version;
            while let Some(event) = events.try_next().await? {
                // What was truncated meanwhile can't be read any more.
                while expected < event.version.get() {
                    self.missing(rest, expected - version, protocol, out);
                    expected += 1;
                }
                let id = shapes.id(&event).unwrap_or_else(|| entry_id(&event));
                shapes.write(id, &event, out.bytes_mut());
                out.check()?;
                expected += 1;
            }
            while expected <= to {
                self.missing(rest, expected - version, protocol, out);
                expected += 1;
            }
            rest = &rest[run..];
        }
        Ok(())
    }

    fn missing(&self, run: &[(EntryId, Option<u64>)], place: u64, protocol: Protocol, out: &mut Output) {
        header(out.bytes_mut(), b'*', 2);
        id_bulk(out.bytes_mut(), run[usize::try_from(place).expect("a place in memory")].0);
        out.push(&Reply::NullArray, protocol);
    }
}

fn id_bulk(out: &mut BytesMut, id: EntryId) {
    bulk(out, id.digits(&mut [0; TEXT_BYTES_MAX]));
}
