//! What is dead in the log, as it is at one moment: values of records that were superseded, and what hidden entries need not keep.
//!
//! An entry stays an entry, with its position, its number and its keys; of a hidden one only the payload shrinks to a husk. So counts and
//! lists are the same before and after, also when the index is made anew.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::Result;
use crate::frame::{ALIGNMENT, Frame, HEADER_BYTES, NUMBER_BYTES, SLOT_BYTES, damaged};
use crate::key::Key;
use crate::read::Snapshot;
use crate::segment::{Location, Segment};
use crate::shared::Shared;

/// The answers for so many keys are remembered.
const REMEMBERED_MAX: usize = 1 << 16;

/// Tells what is dead.
pub(super) struct Judge<'s> {
    shared: &'s Shared,
    /// The log as it is; what is superseded or hidden in it by something durable is dead.
    snapshot: Snapshot,
    /// Of records, the places of their newest writes.
    newest: HashMap<Key, Option<u64>>,
    /// Of records that hide entries: the sequence, and the first number not hidden.
    hidden: HashMap<Key, Option<(Key, u64)>>,
}

/// What is to be kept of a frame, as bodies.
pub(super) struct Kept<'f> {
    pub(super) entries: Vec<Cow<'f, [u8]>>,
    pub(super) records: Vec<&'f [u8]>,
}

impl Kept<'_> {
    /// How many of those bytes there would be less if its records were superseded.
    pub(super) fn record_bytes(&self) -> u64 {
        let without = Kept { entries: self.entries.iter().map(|body| Cow::Borrowed(&**body)).collect(), records: Vec::new() };
        if self.records.is_empty() { 0 } else { self.bytes() - without.bytes() }
    }

    /// The size of a frame of this, in bytes; 0 if nothing is left.
    pub(super) fn bytes(&self) -> u64 {
        let slots = self.entries.len() + self.records.len();
        if slots == 0 {
            return 0;
        }
        let bodies = self.entries.iter().map(|body| body.len()).chain(self.records.iter().map(|body| body.len())).sum::<usize>();
        (HEADER_BYTES + slots * SLOT_BYTES + bodies).next_multiple_of(ALIGNMENT) as u64
    }
}

impl<'s> Judge<'s> {
    pub(super) fn new(shared: &'s Shared) -> Self {
        Self { shared, snapshot: shared.snapshot(), newest: HashMap::new(), hidden: HashMap::new() }
    }

    /// Up to where the log is looked at.
    pub(super) fn decided_at(&self) -> Location {
        self.snapshot.end
    }

    /// What is alive in the frame at `offset`.
    pub(super) fn keep<'f>(&mut self, segment: &Segment, offset: u64, frame: &'f Frame<'_>) -> Result<Kept<'f>> {
        let broken = |what| damaged(&segment.path, offset)(what);
        let mut kept = Kept { entries: Vec::with_capacity(frame.header.entries), records: Vec::new() };
        for index in 0..frame.header.entries {
            let body = frame.body(index).map_err(broken)?;
            let (number, payload) = body.split_at(NUMBER_BYTES);
            let husk = self.husk(u64::from_le_bytes(number.try_into().expect("it has eight bytes")), payload)?;
            kept.entries.push(husk.map_or(Cow::Borrowed(body), |husk| Cow::Owned([number, &husk].concat())));
        }
        let place = Location::new(segment.header.number, segment.place_of(offset, &frame.header));
        for index in 0..frame.header.records {
            let record = frame.record(index).map_err(broken)?;
            let superseded_here =
                (index + 1..frame.header.records).any(|later| frame.record(later).is_ok_and(|later| later.name == record.name));
            let key = self.shared.indexer.record_key(&self.shared.keys, record.name);
            let key = key.ok_or_else(|| broken("a record makes no sense"))?;
            if !superseded_here && self.newest(key)?.is_none_or(|newest| newest <= place.0) {
                kept.records.push(frame.body(frame.header.entries + index).map_err(broken)?);
            }
        }
        Ok(kept)
    }

    /// The place of the newest durable write to a record.
    fn newest(&mut self, key: Key) -> Result<Option<u64>> {
        if let Some(newest) = self.newest.get(&key) {
            return Ok(*newest);
        }
        let newest = self.snapshot.view.tables.newest_record(key, self.snapshot.end.0.saturating_sub(1))?;
        remember(&mut self.newest, key, newest);
        Ok(newest)
    }

    /// What is kept of an entry that is hidden; `None` if it stays as it is.
    fn husk(&mut self, number: u64, payload: &[u8]) -> Result<Option<Vec<u8>>> {
        let (indexer, keys) = (&self.shared.indexer, &self.shared.keys);
        let Some((key, name)) = indexer.hidden_by(keys, payload).filter(|(key, _)| self.snapshot.has_records(key.kind())) else {
            return Ok(None);
        };
        let hidden = match self.hidden.get(&key) {
            Some(hidden) => *hidden,
            None => {
                let hides =
                    self.snapshot.record(key, &name, |record| record.value.and_then(|value| indexer.hides(keys, record.name, value)))?;
                remember(&mut self.hidden, key, hides.flatten());
                hides.flatten()
            }
        };
        let Some((sequence, _)) = hidden.filter(|(_, first)| number < *first) else { return Ok(None) };
        let Some(husk) = indexer.husk(payload).filter(|husk| husk.len() < payload.len()) else { return Ok(None) };
        // The index must come out the same when it is made anew.
        let terms = indexer.terms(keys, payload);
        let is_same = terms.as_ref().is_some_and(|terms| terms.sequence == sequence) && terms == indexer.terms(keys, &husk);
        debug_assert!(is_same, "a husk has the keys of the whole");
        Ok(is_same.then_some(husk))
    }
}

fn remember<T>(answers: &mut HashMap<Key, T>, key: Key, answer: T) {
    if answers.len() >= REMEMBERED_MAX {
        answers.clear();
    }
    answers.insert(key, answer);
}
