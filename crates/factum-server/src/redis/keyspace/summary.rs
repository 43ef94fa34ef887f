//! The log of names, summed up: what it says up to a version lies in records too, so that the log before it can be truncated, and reading the
//! names takes as long as there are names, not as there were changes.
//!
//! A summary is written in pieces, and is in force once the record that names them says so, which comes last. That record also names
//! pieces that are not in force: whoever dies half-way leaves them to the next one, who removes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use factum::{Error, EventStore, ReadStream, RecordName, RecordVersion, RecordWrite, StreamVersion, Uuid};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::Keyspace;
use super::names::{self, Change};

/// So many changes, and as many as there are names, are gathered before the log is summed up again.
const CHANGES_MIN: u64 = if cfg!(test) { 100 } else { 10_000 };
/// How often it is looked whether there are as many.
const LOOK: Duration = Duration::from_secs(1);
/// A piece has at most about so many bytes.
const PIECE_BYTES: usize = if cfg!(test) { 500 } else { 256 << 10 };
/// How often the names are read again if they are summed up meanwhile.
const READS_MAX: usize = 10;

/// The record that says which summary is in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Head {
    /// What the log says up to this version is in the summary.
    version: u64,
    pieces: Pieces,
    /// Pieces that may be there and are not in force.
    loose: Vec<Pieces>,
}

/// The pieces of a summary; none, if there was never one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pieces {
    id: Uuid,
    count: usize,
}

impl Pieces {
    fn names(&self) -> impl Iterator<Item = RecordName> {
        (0..self.count).map(|number| name(&format!("/{}/{number}", self.id.simple())))
    }
}

fn name(rest: &str) -> RecordName {
    RecordName::new(format!("{}/summary{rest}", names::STREAM)).expect("it is a name")
}

/// All that the log of names says: of each key the last change.
#[derive(Debug, Default)]
pub(super) struct Logged {
    changes: HashMap<(u32, String), Change>,
    /// Up to which version.
    version: u64,
    head: Head,
    head_version: RecordVersion,
}

impl Logged {
    /// Reads it from the store.
    pub(super) async fn read(store: &dyn EventStore) -> factum::Result<Self> {
        for _ in 0..READS_MAX {
            let (head, head_version) = head(store).await?;
            let mut logged = Self { version: head.version, head_version, ..Self::default() };
            let mut is_whole = true;
            for name in head.pieces.names() {
                match store.record(&name).await? {
                    Some(record) => logged.take(serde_json::from_slice(&record.value).map_err(|_| senseless(&name))?),
                    None => is_whole = false,
                }
            }
            let from = Some(StreamVersion::new(head.version + 1));
            let mut log = store.read_stream(&names::stream(), ReadStream { from, ..ReadStream::default() });
            while let Some(event) = log.try_next().await? {
                logged.version = event.version.get();
                logged.take(event.json()?);
            }
            // Summed up again meanwhile, the log may have been truncated under its reader.
            if self::head(store).await?.1 == head_version {
                if !is_whole {
                    return Err(senseless(&name("")));
                }
                logged.head = head;
                return Ok(logged);
            }
        }
        let reason = "the names of keys were summed up again and again while they were read; try again".to_owned();
        Err(Error::Unavailable { reason, source: None })
    }

    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            if change.says_nothing() {
                self.changes.remove(&change.key());
            } else {
                self.changes.insert(change.key(), change);
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.changes.len()
    }

    /// Of each key the last change.
    pub(super) fn into_changes(self) -> impl Iterator<Item = Change> {
        self.changes.into_values()
    }
}

/// Sums the log up and truncates it, and says how many names there are.
async fn sum_up(store: &dyn EventStore) -> factum::Result<u64> {
    let logged = Logged::read(store).await?;
    let (count, version) = (logged.changes.len() as u64, logged.version);
    if version == logged.head.version && logged.head.loose.is_empty() {
        return Ok(count);
    }
    let mut values = Vec::new();
    let mut piece = Vec::new();
    for change in logged.changes.into_values() {
        piece.push(if piece.is_empty() { b'[' } else { b',' });
        serde_json::to_writer(&mut piece, &change).expect("changes can be written as JSON");
        if piece.len() > PIECE_BYTES {
            piece.push(b']');
            values.push(Bytes::from(std::mem::take(&mut piece)));
        }
    }
    if !piece.is_empty() {
        piece.push(b']');
        values.push(piece.into());
    }
    let pieces = Pieces { id: Uuid::now_v7(), count: values.len() };
    let mut head = logged.head;
    // What another left is removed first, so that no number of failures leaves more than one such rest.
    // Whoever wrote them can't put them in force any more once the record has another version.
    let mut head_version = logged.head_version;
    if !head.loose.is_empty() {
        head_version = write(store, &head, head_version).await?;
        remove(store, &head.loose).await?;
    }
    head.loose = vec![pieces.clone()];
    let begun = write(store, &head, head_version).await?;
    for (name, value) in pieces.names().zip(values) {
        store.write_record(RecordWrite::set(name, value)).await?;
    }
    head = Head { version, pieces, loose: vec![head.pieces] };
    let in_force = write(store, &head, begun).await?;
    if store.capabilities().truncate.is_yes() && version > 0 {
        store.truncate_before(&names::stream(), StreamVersion::new(version + 1)).await?;
    }
    remove(store, &head.loose).await?;
    head.loose = Vec::new();
    write(store, &head, in_force).await?;
    Ok(count)
}

async fn remove(store: &dyn EventStore, loose: &[Pieces]) -> factum::Result<()> {
    for name in loose.iter().flat_map(Pieces::names) {
        store.write_record(RecordWrite::remove(name)).await?;
    }
    Ok(())
}

async fn head(store: &dyn EventStore) -> factum::Result<(Head, RecordVersion)> {
    let name = name("");
    match store.record(&name).await? {
        None => Ok((Head::default(), RecordVersion::NONE)),
        Some(record) => Ok((serde_json::from_slice(&record.value).map_err(|_| senseless(&name))?, record.version)),
    }
}

async fn write(store: &dyn EventStore, head: &Head, expected: RecordVersion) -> factum::Result<RecordVersion> {
    let value = serde_json::to_vec(head).expect("it can be written as JSON");
    store.write_record(RecordWrite::set(name(""), value).expecting(expected)).await
}

fn senseless(name: &RecordName) -> Error {
    let reason = format!("record {name} is missing, or its bytes make no sense to this version of the Redis door");
    Error::Corrupt { reason, source: None }
}

impl Keyspace {
    /// Sums the log of names up whenever it has grown enough, for ever.
    pub(super) async fn sum_up_names(self: Arc<Self>) {
        // What was left by servers before is looked at first.
        let mut wanted = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            if self.is_suspended() {
                continue;
            }
            if wanted == 0 {
                if let Ok(info) = self.store.stream(&names::stream()).await {
                    let unread = info.map_or(0, |info| (info.version.get() + 1).saturating_sub(info.first_version.get()));
                    self.lock().names_changed += unread;
                    wanted = CHANGES_MIN;
                }
                continue;
            }
            let changed = self.lock().names_changed;
            if changed < wanted {
                continue;
            }
            match sum_up(&*self.store).await {
                Ok(names) => {
                    self.lock().names_changed -= changed;
                    wanted = names.max(CHANGES_MIN);
                }
                Err(error) => tracing::warn!(%error, "the names of keys could not be summed up; trying again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::tests::{Client, Fated, door};

    /// What a door that has just been opened says of all keys.
    async fn told(store: &Arc<Fated>) -> String {
        let door = door(store);
        let told = Client::of(&door).ask("SCAN 0 COUNT 10000 \n DBSIZE \n EXPIRETIME k1 \n TYPE k2 \n TYPE s \n EXISTS k3 \n XLEN t").await;
        door.keyspace.stop().await;
        told
    }

    async fn many_changes() -> Arc<Fated> {
        let store = Fated::new().await;
        let door = door(&store);
        let mut client = Client::of(&door);
        client.ask("XGROUP CREATE s g $ MKSTREAM \n XADD t 1 a b \n DEL t \n XADD u 1 a b").await;
        for number in 0..150 {
            client.ask(&format!("SET k{number} v \n HSET h{} f v \n DEL k3", number % 7)).await;
        }
        client.ask("DEL h1 h2 \n EXPIRE k1 10000 \n EXPIREAT k2 4000000000").await;
        door.keyspace.stop().await;
        store
    }

    #[tokio::test]
    async fn the_log_of_names_is_summed_up_by_itself_and_no_key_is_forgotten() {
        let store = many_changes().await;
        let before = told(&store).await;
        let door = door(&store);
        let first = || async { store.stream(&names::stream()).await.expect("it answers").expect("it is there").first_version };
        while first().await == StreamVersion::FIRST {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(told(&store).await, before);
        let mut client = Client::of(&door);
        client.ask("SET another v \n DEL another k2 \n SET k3 v").await;
        let (after, changed) = (told(&store).await, Client::of(&door).ask("DBSIZE \n TYPE k2 \n EXISTS k3").await);
        assert!(changed.starts_with(':') && changed.ends_with("+none :1 "), "{changed}");
        assert_ne!(after, before);
    }

    /// Whichever write is the last one that succeeds, the names are the same, and the next summary leaves nothing lying about.
    #[tokio::test]
    async fn a_summary_that_is_cut_off_anywhere_loses_no_name() {
        let store = many_changes().await;
        let before = told(&store).await;
        let mut cut_off = 0;
        for writes in 0..1_000 {
            store.let_through(writes);
            let outcome = sum_up(&*store).await;
            store.let_through(u64::MAX);
            assert_eq!(told(&store).await, before, "after {writes} writes");
            if outcome.is_ok() {
                break;
            }
            cut_off += 1;
            // Another change, so that there is something to sum up again.
            let door = door(&store);
            Client::of(&door).ask(&format!("SET another{writes} v \n DEL another{writes}")).await;
            door.keyspace.stop().await;
        }
        assert!(cut_off > 5, "there are several writes");
        sum_up(&*store).await.expect("nothing is in its way");
        let (head, _) = head(&*store).await.expect("it answers");
        assert!(head.loose.is_empty());
        for pieces in store.written_records().into_iter().filter(|name| name.as_str().contains("/summary/")) {
            let is_in_force = head.pieces.names().any(|name| name == pieces);
            assert_eq!(store.record(&pieces).await.expect("it answers").is_some(), is_in_force, "{pieces}");
        }
    }
}
