//! Bugs in what an append checks, and in whether it is one.

use async_trait::async_trait;
use uuid::Uuid;

use super::PlantedBug;
use super::defect::{Defect, bug};
use crate::{Append, Capabilities, Error, ExpectedVersion, Receipt, Result, SharedStore, Support};

pub(super) const BUGS: &[PlantedBug] = &[
    bug!(conflict_forgotten, append_with_stale_version_changes_nothing, "It appends whatever the version is.", ConflictForgotten),
    bug!(no_stream_treated_as_any, append_expecting_no_stream_is_taken_once, "It takes NoStream for no expectation.", NoStreamAsAny),
    bug!(stream_exists_treated_as_any, append_expecting_a_stream_needs_one, "It takes StreamExists for no expectation.", ExistsAsAny),
    bug!(check_then_act, racing_writers_win_each_version_once, "Between its check and its write another writer comes in.", CheckThenAct),
    bug!(half_an_append, stale_version_in_any_stream_changes_no_stream, "It appends stream by stream, until one refuses.", HalfAnAppend),
    bug!(order_of_two_streams_swapped, positions_follow_the_order_of_the_append, "It records the last stream first.", StreamsSwapped),
    bug!(parts_of_a_stream_put_together, parts_of_one_stream_follow_each_other, "It groups an append's events by stream.", PartsTogether),
    bug!(
        later_part_sees_the_old_version,
        later_part_that_expects_another_version_changes_nothing,
        "It checks each part against the stream as it was before all of them.",
        OldVersionForAll
    ),
    bug!(duplicate_appended_twice, repeat_gives_the_first_receipt, "It does not look at ids.", DuplicateTwice),
    bug!(duplicate_not_marked, repeat_gives_the_first_receipt, "Its receipt of a repeat looks like a first one.", DuplicateNotMarked),
    bug!(id_reused_not_noticed, id_with_other_content_is_refused, "It takes an id for the same event, whatever it holds.", IdReusedIgnored),
    bug!(
        partly_there_appends_the_rest,
        ids_partly_there_are_a_conflict,
        "It leaves out what is there and appends the rest.",
        AppendsTheRest
    ),
    bug!(condition_ignored, failed_condition_changes_nothing, "It appends whatever the condition says.", ConditionIgnored),
    bug!(condition_checked_too_early, racing_conditional_appends_have_one_winner, "It checks, and writes later.", ConditionTooEarly),
    bug!(condition_after_is_inclusive, condition_agrees_with_a_scan, "It looks at the event at the position too.", ConditionInclusive),
    bug!(
        unsupported_ignored_in_silence,
        what_is_not_supported_is_refused,
        "It says it has no conditions, and drops them.",
        DropsConditions
    ),
];

/// The append with other ids.
fn with_new_ids(mut append: Append) -> Append {
    append.streams.iter_mut().flat_map(|part| &mut part.events).for_each(|event| event.id = Uuid::now_v7());
    append
}

fn expecting(mut append: Append, change: impl Fn(ExpectedVersion) -> ExpectedVersion) -> Append {
    append.streams.iter_mut().for_each(|part| part.expected = change(part.expected));
    append
}

/// Lets others run, as something slow would.
async fn dawdle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

struct ConflictForgotten;

#[async_trait]
impl Defect for ConflictForgotten {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        sound.append(expecting(append, |_| ExpectedVersion::Any)).await
    }
}

struct NoStreamAsAny;

#[async_trait]
impl Defect for NoStreamAsAny {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let change = |expected| if expected == ExpectedVersion::NoStream { ExpectedVersion::Any } else { expected };
        sound.append(expecting(append, change)).await
    }
}

struct ExistsAsAny;

#[async_trait]
impl Defect for ExistsAsAny {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let change = |expected| if expected == ExpectedVersion::StreamExists { ExpectedVersion::Any } else { expected };
        sound.append(expecting(append, change)).await
    }
}

struct CheckThenAct;

#[async_trait]
impl Defect for CheckThenAct {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        for part in &append.streams {
            let version = sound.stream(&part.stream).await?.map(|info| info.version).unwrap_or_default();
            if !part.expected.accepts(version) {
                return sound.append(append).await;
            }
        }
        dawdle().await;
        sound.append(expecting(append, |_| ExpectedVersion::Any)).await
    }
}

struct HalfAnAppend;

#[async_trait]
impl Defect for HalfAnAppend {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        if append.streams.is_empty() {
            return sound.append(append).await;
        }
        let mut whole = Receipt { streams: Vec::new(), records: Vec::new(), duplicate: false };
        for part in append.streams {
            let one = sound.append(Append { streams: vec![part], condition: append.condition.clone(), ..Append::default() }).await?;
            whole.duplicate = one.duplicate;
            whole.streams.extend(one.streams);
        }
        Ok(whole)
    }
}

struct StreamsSwapped;

#[async_trait]
impl Defect for StreamsSwapped {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        append.streams.reverse();
        let mut receipt = sound.append(append).await?;
        receipt.streams.reverse();
        Ok(receipt)
    }
}

struct PartsTogether;

#[async_trait]
impl Defect for PartsTogether {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        append.streams.sort_by(|a, b| a.stream.cmp(&b.stream));
        sound.append(append).await
    }
}

struct OldVersionForAll;

#[async_trait]
impl Defect for OldVersionForAll {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        let mut added = std::collections::HashMap::<_, u64>::new();
        for part in &mut append.streams {
            let added = added.entry(part.stream.clone()).or_default();
            if *added > 0 {
                part.expected = part.expected.pinned().map_or(part.expected, |version| ExpectedVersion::Exact(version.plus(*added)));
            }
            *added += part.events.len() as u64;
        }
        sound.append(append).await
    }
}

struct DuplicateTwice;

#[async_trait]
impl Defect for DuplicateTwice {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        match sound.append(append.clone()).await? {
            Receipt { duplicate: true, .. } => sound.append(expecting(with_new_ids(append), |_| ExpectedVersion::Any)).await,
            first => Ok(first),
        }
    }
}

struct DuplicateNotMarked;

#[async_trait]
impl Defect for DuplicateNotMarked {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        Ok(Receipt { duplicate: false, ..sound.append(append).await? })
    }
}

struct IdReusedIgnored;

#[async_trait]
impl Defect for IdReusedIgnored {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        match sound.append(append).await {
            Err(Error::IdReused { .. }) => Ok(Receipt { streams: Vec::new(), records: Vec::new(), duplicate: true }),
            answer => answer,
        }
    }
}

struct AppendsTheRest;

#[async_trait]
impl Defect for AppendsTheRest {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let refused = sound.append(append.clone()).await;
        let Err(Error::Conflict(conflict)) = &refused else { return refused };
        let crate::ConflictReason::PartlyRecorded { id, .. } = conflict.reason else { return refused };
        let mut rest = append;
        rest.streams.iter_mut().for_each(|part| part.events.retain(|event| event.id != id));
        rest.streams.retain(|part| !part.events.is_empty());
        self.append(sound, expecting(rest, |_| ExpectedVersion::Any)).await
    }
}

struct ConditionIgnored;

#[async_trait]
impl Defect for ConditionIgnored {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        sound.append(Append { condition: None, ..append }).await
    }
}

struct ConditionTooEarly;

#[async_trait]
impl Defect for ConditionTooEarly {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        if let Some(condition) = &append.condition {
            use futures::StreamExt;
            let read = crate::ReadLog { after: condition.after, query: condition.none_of.clone(), ..Default::default() };
            if sound.read_log(read).next().await.is_some() {
                return sound.append(append).await;
            }
            dawdle().await;
        }
        sound.append(Append { condition: None, ..append }).await
    }
}

struct ConditionInclusive;

#[async_trait]
impl Defect for ConditionInclusive {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        if let Some(condition) = &mut append.condition {
            condition.after = crate::GlobalPosition::from_number(condition.after.number().saturating_sub(1));
        }
        sound.append(append).await
    }
}

struct DropsConditions;

#[async_trait]
impl Defect for DropsConditions {
    fn capabilities(&self, sound: &SharedStore) -> Capabilities {
        Capabilities { conditions: Support::No("it has no index of tags"), ..sound.capabilities() }
    }

    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        sound.append(Append { condition: None, ..append }).await
    }
}
