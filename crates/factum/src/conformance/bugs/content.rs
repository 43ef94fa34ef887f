//! Bugs in what of an event is kept.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};

use super::PlantedBug;
use super::defect::{Defect, bug};
use crate::{Append, EventStream, NewEvent, ReadLog, ReadStream, Receipt, RecordedEvent, Result, SharedStore, StreamId};

pub(super) const BUGS: &[PlantedBug] = &[
    bug!(metadata_lost, metadata_and_data_are_kept_apart, "It keeps no metadata.", Loses(|event| event.metadata = Bytes::new())),
    bug!(tag_forgotten, tags_keep_their_order, "It keeps one tag less than there are.", Loses(|event| drop(event.tags.pop()))),
    bug!(tags_sorted, tags_keep_their_order, "It keeps tags in the order of its index.", Loses(|event| event.tags.sort())),
    bug!(
        data_taken_for_text,
        binary_data_comes_back_bit_by_bit,
        "It replaces what is not UTF-8.",
        Loses(|event| event.data = String::from_utf8_lossy(&event.data).into_owned().into())
    ),
    bug!(
        payload_cut_to_the_limit,
        payload_beyond_the_limit_names_both_sizes,
        "It cuts what is too large, and takes it.",
        Loses(|event| {
            event.data.truncate(1 << 20);
            event.metadata.truncate((1 << 20) - event.data.len());
        })
    ),
    bug!(
        occurred_at_in_milliseconds,
        occurred_at_is_kept_to_the_nanosecond,
        "It keeps milliseconds.",
        Loses(|event| event.occurred_at = event.occurred_at.and_then(|at| Timestamp::from_millisecond(at.as_millisecond()).ok()))
    ),
    bug!(
        version_gap,
        versions_count_up_from_1,
        "It skips a version now and then.",
        ReadsOtherwise(|event| event.version = event.version.plus(event.version.get() / 3))
    ),
    bug!(
        recorded_at_goes_back,
        recorded_at_never_goes_back_in_a_stream,
        "Its clock does not run one way.",
        ReadsOtherwise(|event| event.recorded_at -= SignedDuration::from_secs(if event.version.get() % 2 == 0 { 60 } else { 0 }))
    ),
];

/// Changes each event before it is recorded.
struct Loses(fn(&mut NewEvent));

#[async_trait]
impl Defect for Loses {
    async fn append(&self, sound: &SharedStore, mut append: Append) -> Result<Receipt> {
        append.streams.iter_mut().flat_map(|part| &mut part.events).for_each(self.0);
        sound.append(append).await
    }
}

/// Changes each event when it is read.
struct ReadsOtherwise(fn(&mut RecordedEvent));

impl ReadsOtherwise {
    fn changed(&self, events: EventStream) -> EventStream {
        let change = self.0;
        let changed = move |mut event| {
            change(&mut event);
            event
        };
        events.map_ok(changed).boxed()
    }
}

impl Defect for ReadsOtherwise {
    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        self.changed(sound.read_stream(stream, options))
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        self.changed(sound.read_log(options))
    }
}
