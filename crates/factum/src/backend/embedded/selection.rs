//! Answering a query from the index: the positions that match, without reading what does not.
//!
//! Each alternative of a query is an intersection of lists of positions (its category, its tags, and the union of its types), and the
//! query is the union of its alternatives. All lists are sorted, so the intersection skips from one to the other. What comes out is still
//! compared with the query when the event is read: a stream prefix has no list.

use factum_engine::{Key, Pending, Snapshot, Take};

use super::payload::Keys;
use crate::error::Result;
use crate::{Direction, Query, QueryItem};

/// Where lists of positions come from: a snapshot, or the log as the writer sees it.
pub(super) trait Lists {
    fn positions(&self, key: Key, after: u64, up_to: u64, take: Take, limit: usize) -> Result<Vec<u64>>;
}

impl Lists for Snapshot {
    fn positions(&self, key: Key, after: u64, up_to: u64, take: Take, limit: usize) -> Result<Vec<u64>> {
        Ok(Self::positions(self, key, after, up_to, take, limit)?)
    }
}

impl Lists for Pending<'_> {
    fn positions(&self, key: Key, after: u64, up_to: u64, take: Take, limit: usize) -> Result<Vec<u64>> {
        Ok(Self::positions(self, key, after, up_to, take, limit)?)
    }
}

/// A query as keys.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// For each alternative, the lists that must all have a position; a list is a union of keys.
    items: Vec<Vec<Vec<Key>>>,
}

impl Selection {
    /// `None` if an alternative has no lists, so that every event has to be looked at.
    pub(super) fn of(query: &Query, keys: &Keys) -> Option<Self> {
        let items: Vec<_> = query.items.iter().map(|item| lists_of(item, keys)).collect();
        (!items.is_empty() && items.iter().all(|lists| !lists.is_empty())).then_some(Self { items })
    }

    /// About how many events match at most: the shortest list of each alternative, added up.
    pub(super) fn estimate(&self, snapshot: &Snapshot) -> Result<u64> {
        let mut total = 0;
        for lists in &self.items {
            let mut shortest = u64::MAX;
            for list in lists {
                let mut positions = 0;
                for key in list {
                    positions += snapshot.total(*key)?;
                }
                shortest = shortest.min(positions);
            }
            total += shortest;
        }
        Ok(total)
    }

    /// The next `limit` positions that match, after `after` and up to `up_to`, in reading order.
    pub(super) fn positions(&self, lists: &impl Lists, range: (u64, u64), direction: Direction, limit: usize) -> Result<Vec<u64>> {
        let mut alternatives: Vec<Vec<List>> =
            self.items.iter().map(|item| item.iter().map(|keys| List::new(keys, range, direction)).collect()).collect();
        let mut found = Vec::new();
        let mut from = 0;
        while found.len() < limit {
            let mut nearest: Option<u64> = None;
            for item in &mut alternatives {
                if let Some(rank) = intersect(item, lists, from)? {
                    nearest = Some(nearest.map_or(rank, |nearest| nearest.min(rank)));
                }
            }
            let Some(rank) = nearest else { break };
            found.push(position_of(rank, direction));
            from = rank + 1;
        }
        Ok(found)
    }
}

fn lists_of(item: &QueryItem, keys: &Keys) -> Vec<Vec<Key>> {
    let mut lists: Vec<Vec<Key>> = item.tags.iter().map(|tag| vec![keys.tag(tag.as_str())]).collect();
    lists.extend(item.category.as_ref().map(|category| vec![keys.category(category.as_str())]));
    if !item.types.is_empty() {
        lists.push(item.types.iter().map(|event_type| keys.event_type(event_type.as_str())).collect());
    }
    lists
}

/// Positions in reading order rise as ranks, so that one algorithm reads both ways.
fn rank_of(position: u64, direction: Direction) -> u64 {
    match direction {
        Direction::Forward => position,
        Direction::Backward => u64::MAX - position,
    }
}

fn position_of(rank: u64, direction: Direction) -> u64 {
    rank_of(rank, direction)
}

/// The first rank from `from` on that all lists have.
fn intersect(parts: &mut [List], lists: &impl Lists, from: u64) -> Result<Option<u64>> {
    let mut candidate = from;
    let mut agreed = 0;
    let mut next = 0;
    while agreed < parts.len() {
        let Some(rank) = parts[next].seek(lists, candidate)? else { return Ok(None) };
        agreed = if rank == candidate { agreed + 1 } else { 1 };
        candidate = rank;
        next = (next + 1) % parts.len();
    }
    Ok(Some(candidate))
}

/// A union of lists, read piece by piece.
#[derive(Debug)]
struct List {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    key: Key,
    direction: Direction,
    /// What is left to be fetched: positions after the first and up to the second.
    left: (u64, u64),
    /// Fetched ranks, and how many of them are passed.
    ranks: Vec<u64>,
    passed: usize,
    piece: usize,
}

impl List {
    fn new(keys: &[Key], range: (u64, u64), direction: Direction) -> Self {
        let part = |key: &Key| Part { key: *key, direction, left: range, ranks: Vec::new(), passed: 0, piece: 16 };
        Self { parts: keys.iter().map(part).collect() }
    }

    /// The first rank at or behind `target`.
    fn seek(&mut self, lists: &impl Lists, target: u64) -> Result<Option<u64>> {
        let mut nearest: Option<u64> = None;
        for part in &mut self.parts {
            if let Some(rank) = part.seek(lists, target)? {
                nearest = Some(nearest.map_or(rank, |nearest| nearest.min(rank)));
            }
        }
        Ok(nearest)
    }
}

impl Part {
    const PIECE_MAX: usize = 4_096;

    fn seek(&mut self, lists: &impl Lists, target: u64) -> Result<Option<u64>> {
        loop {
            let ahead = &self.ranks[self.passed..];
            self.passed += ahead.partition_point(|rank| *rank < target);
            if let Some(rank) = self.ranks.get(self.passed) {
                return Ok(Some(*rank));
            }
            // Nothing in front of the target is of interest any more.
            let (after, up_to) = match self.direction {
                Direction::Forward => (self.left.0.max(target.saturating_sub(1)), self.left.1),
                Direction::Backward => (self.left.0, self.left.1.min(u64::MAX - target)),
            };
            if after >= up_to {
                return Ok(None);
            }
            let take = if self.direction == Direction::Forward { Take::Lowest } else { Take::Highest };
            let mut positions = lists.positions(self.key, after, up_to, take, self.piece)?;
            let whole = positions.len() < self.piece;
            if self.direction == Direction::Backward {
                positions.reverse();
            }
            self.left = match (positions.last(), self.direction) {
                (Some(last), Direction::Forward) if !whole => (*last, up_to),
                (Some(last), Direction::Backward) if !whole => (after, last - 1),
                _ => (up_to, up_to),
            };
            self.ranks = positions.into_iter().map(|position| rank_of(position, self.direction)).collect();
            self.passed = 0;
            self.piece = (self.piece * 4).min(Self::PIECE_MAX);
            if self.ranks.is_empty() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use factum_engine::KeyMaker;

    use super::*;
    use crate::{EventType, Tag};

    struct Given(HashMap<Key, Vec<u64>>);

    impl Lists for Given {
        fn positions(&self, key: Key, after: u64, up_to: u64, take: Take, limit: usize) -> Result<Vec<u64>> {
            let all: Vec<u64> = self.0.get(&key).into_iter().flatten().copied().filter(|p| *p > after && *p <= up_to).collect();
            let skip = if take == Take::Highest { all.len().saturating_sub(limit) } else { 0 };
            Ok(all.into_iter().skip(skip).take(limit).collect())
        }
    }

    #[test]
    fn a_selection_finds_what_looking_at_everything_finds() {
        let keys = Keys::new(KeyMaker::new([3; 16]));
        let has = |position: u64, name: u64| (position * 2_654_435_761 + name * 40_503) % 7 < 1 + name;
        let mut given = Given(HashMap::new());
        for name in 0..4 {
            let positions = (1..3_000).filter(|position| has(*position, name)).collect::<Vec<_>>();
            let key = if name < 2 { keys.tag(&format!("n{name}")) } else { keys.event_type(&format!("n{name}")) };
            given.0.insert(key, positions);
        }
        let tag = |name: u64| Tag::new(format!("n{name}")).expect("valid");
        let event_type = |name: u64| EventType::new(format!("n{name}")).expect("valid");
        let both = QueryItem { tags: vec![tag(0), tag(1)], ..QueryItem::default() };
        let one_of = QueryItem { types: vec![event_type(2), event_type(3)], tags: vec![tag(0)], ..QueryItem::default() };
        let query = Query::item(both).or(one_of);
        let selection = Selection::of(&query, &keys).expect("it has lists");
        let matches = |p: u64| (has(p, 0) && has(p, 1)) || ((has(p, 2) || has(p, 3)) && has(p, 0));
        let wanted: Vec<u64> = (101..=2_500).filter(|position| matches(*position)).collect();
        let forward = selection.positions(&given, (100, 2_500), Direction::Forward, usize::MAX).expect("given");
        assert_eq!(forward, wanted);
        let backward = selection.positions(&given, (100, 2_500), Direction::Backward, 50).expect("given");
        assert_eq!(backward, wanted.into_iter().rev().take(50).collect::<Vec<_>>());
    }
}
