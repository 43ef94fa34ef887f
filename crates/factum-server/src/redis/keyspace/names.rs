//! The names of keys: a log of its own says which keys came and went, for KEYS, SCAN, DBSIZE and expiry.
//!
//! Streams that have events are listed by the store. What the log adds is keys of other kinds, streams without events, streams that were
//! deleted although their events are still there, and when a key expires.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use bytes::Bytes;
use factum::{EventStore, ExpectedVersion, ListStreams, NewEvent, StreamAppend, StreamId};
use foldhash::fast::FixedState;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::slot::{Kind, Slot};
use super::summary::Logged;

/// The stream that is the log of names.
pub(super) const STREAM: &str = "$redis-keys";

pub(super) fn stream() -> StreamId {
    StreamId::new(STREAM).expect("it is one")
}

/// A key came, went, or got another kind or expiry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Change {
    #[serde(default, skip_serializing_if = "is_zero")]
    db: u32,
    key: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// The version of the stream of that name, if there is one.
    #[serde(default, skip_serializing_if = "is_none")]
    version: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Change {
    pub(super) fn of(key: &Key, slot: &Slot) -> Self {
        let version = slot.stream.as_ref().map_or(0, |stream| stream.version);
        Self { db: key.database, key: key.text(), kind: slot.kind().name().to_owned(), expires: slot.standing().expires, version }
    }

    /// Whether there is nothing at the key, and never were events of a stream of that name.
    pub(super) fn says_nothing(&self) -> bool {
        Kind::named(&self.kind).is_none_or(|kind| kind == Kind::Nothing) && self.version == 0
    }

    /// The database, and the key as text.
    pub(super) fn key(&self) -> (u32, String) {
        (self.db, self.key.clone())
    }
}

/// The event that records changes.
pub(super) fn event(changes: &[Change]) -> StreamAppend {
    let event = NewEvent::json("KeysChanged", &changes).expect("changes can be written as JSON");
    StreamAppend { stream: stream(), expected: ExpectedVersion::Any, events: vec![event] }
}

/// All names of keys, by a hash of the name, so that SCAN goes on where it was whatever comes and goes meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Names {
    databases: HashMap<u32, Database>,
}

/// The names of one database, and how many of them stand for something.
#[derive(Debug, Default)]
struct Database {
    names: BTreeMap<(u64, Bytes), Named>,
    count: Count,
}

/// How many keys there are, those that have expired and are not removed yet with them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) keys: u64,
    /// How many of them expire.
    pub(crate) expires: u64,
}

impl Count {
    fn change(&mut self, named: Option<Named>, by: i64) {
        if let Some(named) = named.filter(|named| named.kind != Kind::Nothing) {
            self.keys = self.keys.saturating_add_signed(by);
            self.expires = self.expires.saturating_add_signed(if named.expires.is_some() { by } else { 0 });
        }
    }
}

impl Database {
    fn set(&mut self, place: (u64, Bytes), named: Named) {
        self.count.change(Some(named), 1);
        let before = self.names.insert(place, named);
        self.count.change(before, -1);
    }

    fn remove(&mut self, place: &(u64, Bytes)) {
        let before = self.names.remove(place);
        self.count.change(before, -1);
    }
}

/// What is known of a key by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    pub(crate) expires: Option<u64>,
    /// Up to which version a stream of that name is no entry of it.
    version: u64,
}

impl Names {
    /// Reads them from the store; `None` if there are more than so many.
    pub(super) async fn load(store: &dyn EventStore, names_max: usize) -> factum::Result<Option<Self>> {
        let mut names = Self::default();
        let logged = Logged::read(store).await?;
        let mut count = logged.count();
        for change in logged.into_changes() {
            names.take(std::slice::from_ref(&change));
        }
        let mut streams = store.streams(ListStreams::default());
        while let Some(info) = streams.try_next().await? {
            count += 1;
            if count > names_max {
                return Ok(None);
            }
            if let Some(key) = Key::of_stream(&info.stream) {
                names.stream(&key, info.version.get());
            }
        }
        Ok(Some(names))
    }

    pub(super) fn take(&mut self, changes: &[Change]) {
        for change in changes {
            let Key { database, name } = Key::of_text(change.db, &change.key);
            let place = (hash(&name), name);
            let names = self.databases.entry(database).or_default();
            match Kind::named(&change.kind) {
                Some(kind) if kind != Kind::Nothing || change.version > 0 => {
                    names.set(place, Named { kind, expires: change.expires, version: change.version });
                }
                _ => names.remove(&place),
            }
        }
    }

    /// Notes that a stream has so many events.
    pub(super) fn stream(&mut self, key: &Key, version: u64) {
        let names = self.databases.entry(key.database).or_default();
        let place = (hash(&key.name), key.name.clone());
        if names.names.get(&place).is_none_or(|named| named.kind == Kind::Nothing && version > named.version) {
            names.set(place, Named { kind: Kind::Stream, expires: None, version });
        }
    }

    /// How many keys a database has.
    pub(crate) fn count(&self, database: u32) -> Count {
        self.databases.get(&database).map(|database| database.count).unwrap_or_default()
    }

    /// The keys of a database from a place on, as the hash of the name, the name, and what is known.
    pub(crate) fn keys_from(&self, database: u32, from: u64, now: u64) -> impl Iterator<Item = (u64, &Bytes, Named)> {
        let names = self.databases.get(&database).into_iter().flat_map(move |database| database.names.range((from, Bytes::new())..));
        let is_there = move |named: &Named| named.kind != Kind::Nothing && named.expires.is_none_or(|expires| expires > now);
        names.filter(move |(_, named)| is_there(named)).map(|((hash, name), named)| (*hash, name, *named))
    }

    /// Keys that have expired, of all databases, at most so many.
    pub(super) fn expired(&self, now: u64, count_max: usize) -> Vec<Key> {
        let of_database = |(number, database): (&u32, &Database)| {
            let (names, database) = (&database.names, *number);
            let expired =
                names.iter().filter(|(_, named)| named.kind != Kind::Nothing && named.expires.is_some_and(|expires| expires <= now));
            expired.map(|((_, name), _)| Key { database, name: name.clone() }).collect::<Vec<_>>()
        };
        self.databases.iter().flat_map(of_database).take(count_max).collect()
    }
}

/// The place of a name in the order of SCAN, the same in every process.
fn hash(name: &[u8]) -> u64 {
    // A cursor must never be 0 in the middle.
    FixedState::with_seed(7).hash_one(name) >> 1
}
