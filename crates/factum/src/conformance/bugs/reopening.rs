//! Bugs that show when the store is opened again: something acknowledged was kept in memory only.

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, TryStreamExt, future};
use uuid::Uuid;

use super::PlantedBug;
use super::defect::{Defect, bug};
use crate::{
    Append, EventStream, ExpectedVersion, GlobalPosition, ReadLog, ReadStream, Receipt, Record, RecordName, RecordVersion, RecordWrite,
    Result, SharedStore, StreamId, StreamInfo, StreamVersion,
};

pub(super) const BUGS: &[PlantedBug] = &[
    bug!(
        acknowledged_append_lost_on_reopen,
        last_append_survives_each_of_many_reopenings,
        "It acknowledges before the sync; the last event is gone.",
        opening opening => LostAppend { is_reopened: opening > 1, lost: std::sync::OnceLock::new() }
    ),
    bug!(
        records_lost_on_reopen,
        records_survive_a_reopening,
        "It keeps records in memory.",
        opening opening => LostRecords { is_reopened: opening > 1 }
    ),
    bug!(
        ids_forgotten_on_reopen,
        ids_survive_a_reopening,
        "It knows the ids of its own time only.",
        opening opening => ForgottenIds { is_reopened: opening > 1 }
    ),
    bug!(truncation_forgotten_on_reopen, truncation_survives_a_reopening, "It truncates what it has in memory.", TruncationInMemory),
];

struct LostAppend {
    is_reopened: bool,
    /// The position that is lost, the last one when the store was opened.
    lost: std::sync::OnceLock<GlobalPosition>,
}

impl LostAppend {
    fn remaining(&self, sound: &SharedStore, events: EventStream) -> EventStream {
        if !self.is_reopened {
            return events;
        }
        let head = || sound.head().now_or_never().and_then(Result::ok).unwrap_or_default();
        let lost = *self.lost.get_or_init(head);
        events.try_filter(move |event| future::ready(event.position != lost)).boxed()
    }
}

#[async_trait]
impl Defect for LostAppend {
    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        self.remaining(sound, sound.read_stream(stream, options))
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        self.remaining(sound, sound.read_log(options))
    }
}

struct LostRecords {
    is_reopened: bool,
}

#[async_trait]
impl Defect for LostRecords {
    async fn record(&self, sound: &SharedStore, name: &RecordName) -> Result<Option<Record>> {
        if self.is_reopened { Ok(None) } else { sound.record(name).await }
    }

    async fn write_record(&self, sound: &SharedStore, write: RecordWrite) -> Result<RecordVersion> {
        sound.write_record(write).await
    }
}

struct ForgottenIds {
    is_reopened: bool,
}

#[async_trait]
impl Defect for ForgottenIds {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        if self.is_reopened {
            for part in &mut append.streams {
                part.expected = ExpectedVersion::Any;
                part.events.iter_mut().for_each(|event| event.id = Uuid::now_v7());
            }
        }
        sound.append(append).await
    }
}

/// Answers as if it had truncated.
struct TruncationInMemory;

#[async_trait]
impl Defect for TruncationInMemory {
    async fn truncate_before(&self, sound: &SharedStore, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        let info = sound.truncate_before(stream, StreamVersion::FIRST).await?;
        Ok(StreamInfo { first_version: before, ..info })
    }
}
