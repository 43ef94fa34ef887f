//! One server for each store: whoever serves one that others can reach holds it by a record, and says again and again that it is still there.
//!
//! Nothing recorded rests on this, because every append says what it expects. It is for reads: a server answers from memory, so that a
//! second one would show strings, hashes and groups as they were. No clock is compared with another: whoever wants a store that is held
//! looks whether its record changes within the time that a holder may let pass.

use std::fmt;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use factum::{Error, Record, RecordName, RecordVersion, RecordWrite, SharedStore, Uuid};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::process;
use crate::redis::Keyspace;

/// The record that says who serves a store.
const RECORD: &str = "$factum/server";
/// How often a holder says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// Who has not been able to say so for so long may have been replaced, and answers nothing from memory.
const VALID: Duration = Duration::from_secs(5);
/// Whoever wants the store looks for longer, as clocks are not all equally fast.
const LOOKED: Duration = Duration::from_secs(6);

/// Tells this process from another that has its number, before or elsewhere.
static RUN: LazyLock<Uuid> = LazyLock::new(Uuid::now_v7);

/// Who serves a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    id: Uuid,
    host: String,
    process: u32,
    run: Uuid,
    /// Which numbers of processes can be compared with this one's; empty where the system does not say.
    surroundings: String,
    address: String,
    since: String,
    beat: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}, which listens on {}, since {}", self.process, self.host, self.address, self.since)
    }
}

impl Holder {
    fn this(address: SocketAddr) -> Self {
        Self {
            id: Uuid::now_v7(),
            host: process::host(),
            process: std::process::id(),
            run: *RUN,
            surroundings: process::surroundings(),
            address: address.to_string(),
            since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            beat: 0,
        }
    }

    fn read(record: &Record) -> factum::Result<Self> {
        serde_json::from_slice(&record.value).map_err(|error| Error::Corrupt {
            reason: format!("record {RECORD}, which says who serves the store, makes no sense to this version ({error})"),
            source: None,
        })
    }

    /// Whether it is known to be gone, because it would run beside this process and does not.
    fn is_gone(&self) -> bool {
        if self.surroundings.is_empty() || self.surroundings != process::surroundings() {
            return false;
        }
        if self.process == std::process::id() { self.run != *RUN } else { !process::is_there(self.process) }
    }
}

/// A store that this server holds.
pub(crate) struct Holding {
    store: SharedStore,
    name: RecordName,
    holder: Holder,
    version: RecordVersion,
    /// Until when nobody else takes it.
    valid_until: Instant,
    /// Someone else has it.
    lost_to: Option<String>,
}

/// Why a store can't be held.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Someone else serves it.
    Held(Box<Holder>),
    Store(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Holding {
    /// Takes the store, if need be once whoever had it is seen to be gone.
    pub(crate) async fn take(store: SharedStore, address: SocketAddr) -> Result<Self, Refused> {
        let name = RecordName::new(RECORD).expect("it is a name");
        let holder = Holder::this(address);
        let mut expected = RecordVersion::NONE;
        if let Some(record) = store.record(&name).await? {
            let before = Holder::read(&record)?;
            let looked_until = Instant::now() + LOOKED;
            expected = record.version;
            if !before.is_gone() {
                tracing::info!("this store was served by {before}; looking for {} s whether it still is", LOOKED.as_secs());
                while Instant::now() < looked_until {
                    sleep(BEAT / 4).await;
                    match store.record(&name).await? {
                        Some(now) if now.version == record.version => {}
                        Some(now) => return Err(Refused::Held(Box::new(Holder::read(&now)?))),
                        None => {
                            expected = RecordVersion::NONE;
                            break;
                        }
                    }
                }
            }
        }
        let begun = Instant::now();
        let mut holding = Self { store, name, holder, version: expected, valid_until: begun + VALID, lost_to: None };
        match holding.renew().await? {
            None => Ok(holding),
            // Someone else was faster.
            Some(Some(other)) => Err(Refused::Held(Box::new(other))),
            Some(None) => Err(Refused::Store(Error::Unavailable {
                reason: "another server came and went while this one began to serve the store; start it again".to_owned(),
                source: None,
            })),
        }
    }

    /// Says that this server is there, for as long as it is polled. What is known of the store is dropped while that does not succeed, and
    /// `lost` is told when someone else has the store.
    pub(crate) async fn keep(&mut self, keyspace: &Keyspace, lost: &Notify) {
        let mut is_suspended = false;
        while self.lost_to.is_none() {
            let next = Instant::now() + BEAT;
            sleep_until(if is_suspended { next } else { next.min(self.valid_until) }).await;
            let begun = Instant::now();
            let answered_until = if is_suspended { begun + VALID } else { self.valid_until };
            match timeout_at(answered_until, self.renew()).await {
                Ok(Ok(None)) if Instant::now() < begun + VALID => {
                    self.valid_until = begun + VALID;
                    if std::mem::take(&mut is_suspended) {
                        keyspace.resume();
                        tracing::info!("this server holds its store again");
                    }
                }
                Ok(Ok(Some(other))) => {
                    let other = other.map_or_else(|| "another server, which is gone again".to_owned(), |other| other.to_string());
                    tracing::error!("the store was taken over by {other}; this server ends");
                    self.lost_to = Some(other);
                }
                Ok(Err(error)) => tracing::warn!(%error, "can't say that this server still serves the store; trying again"),
                Ok(Ok(None)) | Err(_) => tracing::warn!("the store takes too long to hear that this server still serves it; trying again"),
            }
            if !is_suspended && (self.lost_to.is_some() || Instant::now() >= self.valid_until) {
                is_suspended = true;
                keyspace.suspend();
            }
        }
        lost.notify_one();
        std::future::pending().await
    }

    /// Lets go of the store, so that the next server need not wait.
    ///
    /// # Errors
    /// If someone else has taken it over meanwhile.
    pub(crate) async fn release(self) -> factum::Result<()> {
        if let Some(other) = self.lost_to {
            let reason = format!("the store was taken over by {other}, after this server could not reach it for {} s", VALID.as_secs());
            return Err(Error::Unavailable { reason, source: None });
        }
        if let Err(error) = self.store.write_record(RecordWrite::remove(self.name).expecting(self.version)).await {
            tracing::warn!(%error, "can't say that this server is gone; the next one will look for {} s", LOOKED.as_secs());
        }
        Ok(())
    }

    /// Writes the record anew: `None` if it is ours, else who has it.
    async fn renew(&mut self) -> factum::Result<Option<Option<Holder>>> {
        match self.write().await {
            Ok(()) => return Ok(None),
            Err(Error::RecordConflict { .. }) => {}
            Err(error) => return Err(error),
        }
        // It may have been written by this server, which did not hear of it.
        let Some(record) = self.store.record(&self.name).await? else { return Ok(Some(None)) };
        let holder = Holder::read(&record)?;
        if holder.id != self.holder.id {
            return Ok(Some(Some(holder)));
        }
        self.version = record.version;
        self.write().await.map(|()| None)
    }

    async fn write(&mut self) -> factum::Result<()> {
        self.holder.beat += 1;
        let value = serde_json::to_vec(&self.holder).expect("it can be written as JSON");
        let write = RecordWrite::set(self.name.clone(), value).expecting(self.version);
        self.version = self.store.write_record(write).await?;
        Ok(())
    }
}
