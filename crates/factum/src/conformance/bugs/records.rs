//! Bugs in small records, and in the checkpoints that are kept in them.

use async_trait::async_trait;

use super::PlantedBug;
use super::defect::{Defect, bug};
use crate::{Append, Receipt, Record, RecordName, RecordVersion, RecordWrite, Result, SharedStore};

pub(super) const BUGS: &[PlantedBug] = &[
    bug!(compare_and_set_that_does_not_compare, record_write_with_stale_version_changes_nothing, "It sets.", DoesNotCompare),
    bug!(compare_then_set, racing_record_writes_have_one_winner, "It compares, and sets later.", ComparesTooEarly),
    bug!(
        checkpoint_moved_back_by_an_old_owner,
        late_move_of_an_old_owner_does_not_undo_a_take_over,
        "A checkpoint is written whoever wrote it since it was read.",
        LateMove
    ),
    bug!(record_written_without_its_append, record_conflict_refuses_the_append, "It writes records first, one by one.", RecordsFirst),
    bug!(record_left_out_of_an_append, append_writes_its_records, "It takes the events and forgets the records.", RecordsForgotten),
    bug!(duplicate_writes_records_again, duplicate_writes_no_record, "It looks at ids after it has written.", RecordsTwice),
    bug!(empty_value_removes, record_values_come_back_bit_by_bit, "It takes an empty value for none.", EmptyRemoves),
    bug!(record_version_stays, record_versions_count_its_writes, "Its version says only that a record is there.", VersionStays),
];

async fn dawdle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

struct DoesNotCompare;

#[async_trait]
impl Defect for DoesNotCompare {
    async fn write_record(&self, sound: &SharedStore, write: RecordWrite) -> Result<RecordVersion> {
        sound.write_record(RecordWrite { expected: None, ..write }).await
    }
}

struct ComparesTooEarly;

#[async_trait]
impl Defect for ComparesTooEarly {
    async fn write_record(&self, sound: &SharedStore, write: RecordWrite) -> Result<RecordVersion> {
        let actual = sound.record(&write.name).await?.map_or(RecordVersion::NONE, |record| record.version);
        if write.expected.is_some_and(|expected| expected != actual) {
            return sound.write_record(write).await;
        }
        dawdle().await;
        sound.write_record(RecordWrite { expected: None, ..write }).await
    }
}

struct LateMove;

#[async_trait]
impl Defect for LateMove {
    async fn write_record(&self, sound: &SharedStore, write: RecordWrite) -> Result<RecordVersion> {
        if !write.name.as_str().starts_with("checkpoint/") {
            return sound.write_record(write).await;
        }
        dawdle().await;
        sound.write_record(RecordWrite { expected: None, ..write }).await
    }
}

struct EmptyRemoves;

#[async_trait]
impl Defect for EmptyRemoves {
    async fn write_record(&self, sound: &SharedStore, write: RecordWrite) -> Result<RecordVersion> {
        let value = write.value.filter(|value| !value.is_empty());
        sound.write_record(RecordWrite { value, ..write }).await
    }
}

struct VersionStays;

#[async_trait]
impl Defect for VersionStays {
    async fn record(&self, sound: &SharedStore, name: &RecordName) -> Result<Option<Record>> {
        Ok(sound.record(name).await?.map(|record| Record { version: RecordVersion::new(1), ..record }))
    }
}

/// Writes an append's records as if each were alone.
async fn write_apart(sound: &SharedStore, append: &mut Append) -> Result<Vec<RecordVersion>> {
    let mut versions = Vec::new();
    for write in append.records.split_off(0) {
        versions.push(sound.write_record(write).await?);
    }
    Ok(versions)
}

struct RecordsFirst;

#[async_trait]
impl Defect for RecordsFirst {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        let records = write_apart(sound, &mut append).await?;
        Ok(Receipt { records, ..sound.append(append).await? })
    }
}

struct RecordsForgotten;

#[async_trait]
impl Defect for RecordsForgotten {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        sound.append(Append { records: Vec::new(), ..append }).await
    }
}

struct RecordsTwice;

#[async_trait]
impl Defect for RecordsTwice {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let receipt = sound.append(append.clone()).await?;
        if receipt.duplicate {
            let again = append.records.into_iter().map(|write| RecordWrite { expected: None, ..write });
            sound.append(again.fold(Append::default(), Append::and_record)).await?;
        }
        Ok(receipt)
    }
}
