//! Bugs in what readers see while others write: commits that show late, in parts, or behind the head.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, future};

use super::PlantedBug;
use super::defect::{Defect, bug, plant};
use crate::{Append, EventStream, GlobalPosition, ReadLog, ReadStream, Receipt, RecordedEvent, Result, SharedStore, StreamId};

pub(super) const BUGS: &[PlantedBug] = &[
    bug!(
        late_commit_visible_behind_a_reader,
        polling_reader_never_skips,
        "Positions are given out before the commit, and an append that is slow to commit shows up behind later ones.",
        LateCommit::default()
    ),
    bug!(
        live_hand_over_gap,
        subscription_keeps_up_with_concurrent_writers,
        "The head is announced before its events can be read, and who has read up to it goes on behind them.",
        HeadAhead::default()
    ),
    bug!(
        live_hand_over_duplicate,
        subscription_goes_from_catch_up_to_live,
        "A read after a position gives the event at that position once more.",
        AfterIsInclusive
    ),
    bug!(half_an_append_visible, reader_never_sees_half_an_append, "An append's streams show up one by one.", HalfVisible::default()),
    bug!(wake_up_never_comes, wait_returns_for_what_is_recorded_later, "Nobody wakes those who wait at the head.", NeverWakes),
    bug!(
        append_not_seen_by_its_writer,
        append_is_seen_by_every_later_read,
        "Readers see an append with the next one.",
        SeenLater::default()
    ),
];

/// Ranges of positions that readers do not see yet.
type Hidden = Arc<Mutex<Vec<(GlobalPosition, GlobalPosition)>>>;

fn is_hidden(hidden: &[(GlobalPosition, GlobalPosition)], event: &RecordedEvent) -> bool {
    hidden.iter().any(|(first, last)| (*first..=*last).contains(&event.position))
}

/// Records, and hides at once what `hide` says of the receipt, so that no reader comes between.
fn record_hiding(
    sound: &SharedStore,
    append: Append,
    hidden: &Hidden,
    hide: impl Fn(&Receipt) -> (GlobalPosition, GlobalPosition),
) -> Result<Receipt> {
    let mut hidden = hidden.lock().expect("no holder of this lock panics");
    let receipt = sound.append(append).now_or_never().expect("a store in memory answers at once")?;
    if !receipt.duplicate {
        hidden.push(hide(&receipt));
    }
    Ok(receipt)
}

/// Reads what is not hidden.
fn unhidden(hidden: &Hidden, read: impl FnOnce() -> EventStream) -> EventStream {
    let hidden = hidden.lock().expect("no holder of this lock panics");
    let (events, hidden) = (read(), hidden.clone());
    events.filter(move |event| future::ready(!event.as_ref().is_ok_and(|event| is_hidden(&hidden, event)))).boxed()
}

/// Shows what was hidden after a while.
async fn show(hidden: &Hidden, range: (GlobalPosition, GlobalPosition)) {
    for _ in 0..30 {
        tokio::task::yield_now().await;
    }
    hidden.lock().expect("no holder of this lock panics").retain(|other| *other != range);
}

fn whole(receipt: &Receipt) -> (GlobalPosition, GlobalPosition) {
    let first = receipt.streams.iter().map(|stream| stream.first_position).min().unwrap_or_default();
    (first, receipt.last_position())
}

#[derive(Default)]
struct LateCommit(Hidden);

#[async_trait]
impl Defect for LateCommit {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let receipt = record_hiding(sound, append, &self.0, whole)?;
        if receipt.last_position().number().is_multiple_of(3) {
            show(&self.0, whole(&receipt)).await;
        } else {
            self.0.lock().expect("no holder of this lock panics").retain(|other| *other != whole(&receipt));
        }
        Ok(receipt)
    }

    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        unhidden(&self.0, || sound.read_stream(stream, options))
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        unhidden(&self.0, || sound.read_log(options))
    }
}

/// What is read is hidden until the append returns, the head is not.
#[derive(Default)]
struct HeadAhead(Hidden);

#[async_trait]
impl Defect for HeadAhead {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let receipt = record_hiding(sound, append, &self.0, whole)?;
        show(&self.0, whole(&receipt)).await;
        Ok(receipt)
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        let first_hidden = {
            let hidden = self.0.lock().expect("no holder of this lock panics");
            hidden.iter().map(|(first, _)| *first).min().unwrap_or(GlobalPosition::from_number(u64::MAX))
        };
        let seen = move |event: &Result<RecordedEvent>| future::ready(!event.as_ref().is_ok_and(|event| event.position >= first_hidden));
        sound.read_log(options).filter(seen).boxed()
    }
}

struct AfterIsInclusive;

impl Defect for AfterIsInclusive {
    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        let after = GlobalPosition::from_number(options.after.number().saturating_sub(1));
        sound.read_log(ReadLog { after, ..options })
    }
}

#[derive(Default)]
struct HalfVisible(Hidden);

#[async_trait]
impl Defect for HalfVisible {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        let last = |receipt: &Receipt| receipt.streams.last().map(|part| (part.first_position, part.last_position)).unwrap_or_default();
        let receipt = record_hiding(sound, append, &self.0, last)?;
        show(&self.0, last(&receipt)).await;
        Ok(receipt)
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        unhidden(&self.0, || sound.read_log(options))
    }
}

/// The store, but that nobody wakes those who wait: what is allowed once in a while, always.
pub(in crate::conformance) fn without_wake_ups(store: SharedStore) -> SharedStore {
    plant(store, NeverWakes)
}

struct NeverWakes;

#[async_trait]
impl Defect for NeverWakes {
    async fn wait_after(&self, sound: &SharedStore, position: GlobalPosition) -> Result<()> {
        if sound.head().await? > position { Ok(()) } else { future::pending().await }
    }
}

#[derive(Default)]
struct SeenLater(Hidden);

#[async_trait]
impl Defect for SeenLater {
    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        self.0.lock().expect("no holder of this lock panics").clear();
        record_hiding(sound, append, &self.0, whole)
    }

    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        unhidden(&self.0, || sound.read_stream(stream, options))
    }
}
