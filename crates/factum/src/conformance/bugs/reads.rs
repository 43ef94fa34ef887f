//! Bugs in reads: of a stream, of the log, of what matches, of what was truncated.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};

use super::PlantedBug;
use super::defect::{Defect, bug};
use crate::{
    Direction, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog, ReadStream, RecordedEvent, Result, SharedStore, StreamId,
    StreamInfo, StreamVersion,
};

pub(super) const BUGS: &[PlantedBug] = &[
    bug!(backward_read_off_by_one, stream_reads_agree_with_a_scan, "Backwards it begins one below where it should.", BackwardOffByOne),
    bug!(limit_off_by_one, stream_reads_agree_with_a_scan, "It reads one event more than the limit.", LimitOffByOne),
    bug!(limit_zero_is_no_limit, log_reads_agree_with_a_scan, "It takes a limit of 0 for none.", ZeroIsNoLimit),
    bug!(up_to_is_exclusive, log_reads_agree_with_a_scan, "It leaves out the event at the last position.", UpToIsExclusive),
    bug!(limit_counts_what_is_looked_at, limit_counts_matches, "It cuts first and filters then.", LimitBeforeFilter),
    bug!(filter_drops_a_match, queries_agree_with_a_scan, "It looks at one alternative of a query only.", OneAlternative),
    bug!(filter_takes_any_tag, queries_agree_with_a_scan, "One of the tags is enough for it.", AnyTag),
    bug!(prefix_taken_for_category, category_is_the_text_before_the_first_dash, "Its category is a prefix.", PrefixForCategory),
    bug!(streams_that_resemble_are_mixed, stream_holds_only_its_own_events, "It reads streams by prefix.", ReadsByPrefix),
    bug!(streams_listed_by_name, streams_are_listed_in_order_of_first_events, "It lists streams in order of their ids.", ListedByName),
    bug!(truncated_events_still_read, truncated_events_are_not_read_from_the_log, "Its log keeps them.", TruncatedStillRead::default()),
    bug!(truncated_beyond_the_end, truncating_beyond_the_end_is_invalid, "It truncates what is not there yet.", TruncatesAnything),
    bug!(close_ignored, closed_store_is_unavailable, "It goes on after it was closed.", CloseIgnored),
];

struct BackwardOffByOne;

#[async_trait]
impl Defect for BackwardOffByOne {
    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, mut options: ReadStream) -> EventStream {
        if options.direction == Direction::Backward {
            options.to = options.to.map(|to| StreamVersion::new(to.get().saturating_sub(1)));
        }
        sound.read_stream(stream, options)
    }
}

struct LimitOffByOne;

#[async_trait]
impl Defect for LimitOffByOne {
    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        sound.read_stream(stream, ReadStream { limit: options.limit.map(|limit| limit.saturating_add(1)), ..options })
    }
}

struct ZeroIsNoLimit;

#[async_trait]
impl Defect for ZeroIsNoLimit {
    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        sound.read_log(ReadLog { limit: options.limit.filter(|limit| *limit > 0), ..options })
    }
}

struct UpToIsExclusive;

#[async_trait]
impl Defect for UpToIsExclusive {
    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        let up_to = options.up_to.map(|up_to| GlobalPosition::from_number(up_to.number().saturating_sub(1)));
        sound.read_log(ReadLog { up_to, ..options })
    }
}

struct LimitBeforeFilter;

#[async_trait]
impl Defect for LimitBeforeFilter {
    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        let query = options.query.clone();
        let events = sound.read_log(ReadLog { query: crate::Query::all(), ..options });
        events.try_filter(move |event| futures::future::ready(query.matches_event(event))).boxed()
    }
}

struct OneAlternative;

#[async_trait]
impl Defect for OneAlternative {
    fn read_log(&self, sound: &SharedStore, mut options: ReadLog) -> EventStream {
        options.query.items.truncate(1);
        sound.read_log(options)
    }
}

struct AnyTag;

#[async_trait]
impl Defect for AnyTag {
    fn read_log(&self, sound: &SharedStore, mut options: ReadLog) -> EventStream {
        options.query.items.iter_mut().for_each(|item| item.tags.truncate(1));
        sound.read_log(options)
    }
}

struct PrefixForCategory;

#[async_trait]
impl Defect for PrefixForCategory {
    fn read_log(&self, sound: &SharedStore, mut options: ReadLog) -> EventStream {
        for item in &mut options.query.items {
            item.stream_prefix = item.category.take().map(|category| category.as_str().to_owned()).or(item.stream_prefix.take());
        }
        sound.read_log(options)
    }
}

struct ReadsByPrefix;

#[async_trait]
impl Defect for ReadsByPrefix {
    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        if options != ReadStream::default() {
            return sound.read_stream(stream, options);
        }
        let prefix = crate::QueryItem { stream_prefix: Some(stream.as_str().to_owned()), ..Default::default() };
        sound.read_log(ReadLog { query: crate::Query::item(prefix), ..ReadLog::default() })
    }
}

struct ListedByName;

#[async_trait]
impl Defect for ListedByName {
    fn streams(&self, sound: &SharedStore, options: ListStreams) -> InfoStream {
        let listed = sound.streams(options);
        let sorted = async {
            let mut streams: Vec<StreamInfo> = listed.try_collect().await?;
            streams.sort_by(|one, other| one.stream.cmp(&other.stream));
            Ok::<_, crate::Error>(stream::iter(streams.into_iter().map(Ok)))
        };
        stream::once(sorted).try_flatten().boxed()
    }
}

/// The events that were truncated.
#[derive(Default)]
struct TruncatedStillRead(Mutex<Vec<RecordedEvent>>);

#[async_trait]
impl Defect for TruncatedStillRead {
    async fn truncate_before(&self, sound: &SharedStore, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        let to = Some(StreamVersion::new(before.get().saturating_sub(1)));
        let truncated: Vec<_> = sound.read_stream(stream, ReadStream { to, ..ReadStream::default() }).try_collect().await?;
        let info = sound.truncate_before(stream, before).await?;
        self.0.lock().expect("no holder of this lock panics").extend(truncated);
        Ok(info)
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        let kept = self.0.lock().expect("no holder of this lock panics");
        let kept: Vec<_> = kept.iter().filter(|event| options.query.matches_event(event)).cloned().map(Ok).collect();
        stream::iter(kept).chain(sound.read_log(options)).boxed()
    }
}

struct TruncatesAnything;

#[async_trait]
impl Defect for TruncatesAnything {
    async fn truncate_before(&self, sound: &SharedStore, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        let version = sound.stream(stream).await?.map(|info| info.version).unwrap_or_default();
        sound.truncate_before(stream, before.min(version.plus(1))).await
    }
}

struct CloseIgnored;

#[async_trait]
impl Defect for CloseIgnored {
    async fn close(&self, _sound: &SharedStore) -> Result<()> {
        Ok(())
    }
}
