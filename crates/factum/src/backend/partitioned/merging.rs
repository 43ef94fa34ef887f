//! Streams that are each in order, as one that is; and counts, added up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use crate::Stats;
use crate::error::Result;

/// Merges sources that each give items with rising keys. It holds one item of each source.
pub(super) fn merge<T: Send + 'static>(
    sources: Vec<BoxStream<'static, Result<T>>>,
    key: impl Fn(&T) -> u64 + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let waiting = (0..sources.len()).map(|_| None).collect();
    let begin = Merge { sources, key, waiting, order: BinaryHeap::new(), begun: false };
    stream::try_unfold(begin, |mut merge| async move { Ok(merge.next().await?.map(|item| (item, merge))) }).boxed()
}

struct Merge<T, K> {
    sources: Vec<BoxStream<'static, Result<T>>>,
    key: K,
    /// The next item of each source, if it has been fetched.
    waiting: Vec<Option<T>>,
    /// Their keys, the lowest first.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    begun: bool,
}

impl<T, K: Fn(&T) -> u64> Merge<T, K> {
    async fn next(&mut self) -> Result<Option<T>> {
        if !self.begun {
            // All at once: each is a round trip.
            let firsts = futures::future::join_all(self.sources.iter_mut().map(TryStreamExt::try_next)).await;
            for (number, first) in firsts.into_iter().enumerate() {
                self.put(number, first?);
            }
            self.begun = true;
        }
        let Some(Reverse((_, number))) = self.order.pop() else { return Ok(None) };
        let item = self.waiting[number].take();
        let following = self.sources[number].try_next().await?;
        self.put(number, following);
        Ok(item)
    }

    fn put(&mut self, number: usize, item: Option<T>) {
        if let Some(item) = &item {
            self.order.push(Reverse(((self.key)(item), number)));
        }
        self.waiting[number] = item;
    }
}

/// The counts of two partitions together.
pub(super) fn add(one: Stats, other: Stats) -> Stats {
    let names_cut = one.names_cut || other.names_cut;
    let (categories, categories_cut) = add_names(one.categories, other.categories);
    let (types, types_cut) = add_names(one.types, other.types);
    // What is said of the server and of all partitions is said by each of them.
    let mut details = one.details;
    for (name, count) in other.details {
        let known = details.entry(name).or_default();
        *known = (*known).max(count);
    }
    let mut notes = one.notes;
    notes.extend(other.notes);
    notes.dedup();
    Stats {
        store: one.store,
        events: one.events + other.events,
        streams: one.streams + other.streams,
        categories,
        types,
        names_cut: names_cut || categories_cut || types_cut,
        head: one.head.max(other.head),
        first_recorded_at: [one.first_recorded_at, other.first_recorded_at].into_iter().flatten().min(),
        last_recorded_at: one.last_recorded_at.max(other.last_recorded_at),
        disk_bytes: add_names(one.disk_bytes, other.disk_bytes).0,
        details,
        notes,
    }
}

/// Adds up counts by name, and says whether there are more names than are shown.
fn add_names(mut one: BTreeMap<String, u64>, other: BTreeMap<String, u64>) -> (BTreeMap<String, u64>, bool) {
    for (name, count) in other {
        *one.entry(name).or_default() += count;
    }
    let cut = one.len() > Stats::NAMES_MAX;
    while one.len() > Stats::NAMES_MAX {
        one.pop_last();
    }
    (one, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn merged_streams_are_in_order() {
        let source = |numbers: &[u64]| stream::iter(numbers.iter().copied().map(Ok).collect::<Vec<Result<u64>>>()).boxed();
        let merged = merge(vec![source(&[1, 4, 9]), source(&[]), source(&[2, 3, 10])], |number| *number);
        assert_eq!(merged.try_collect::<Vec<_>>().await.expect("no source fails"), [1, 2, 3, 4, 9, 10]);
    }
}
