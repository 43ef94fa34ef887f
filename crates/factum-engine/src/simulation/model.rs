//! What a log should hold: the shortest thing that can be compared with one.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{CUT, Words, husk, record_key};
use crate::frame::Draft;
use crate::key::{Key, KeyMaker};
use crate::shared::Indexer;

/// One append, as decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Append {
    pub(crate) id: u64,
    /// The position of its first entry.
    pub(crate) position: u64,
    /// When it was recorded; known once it was read.
    pub(crate) time: Option<u64>,
    /// Numbers and payloads.
    pub(crate) entries: Vec<(u64, Vec<u8>)>,
    pub(crate) records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: Vec<u8>,
    pub(crate) version: u64,
    pub(crate) value: Option<Vec<u8>>,
}

/// The appends in their order: first those that were acknowledged, then those whose fate is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) appends: Vec<Append>,
    pub(crate) acknowledged: usize,
    next_id: u64,
}

/// How far streams are cut off, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts(BTreeMap<Vec<u8>, u64>);

impl Cuts {
    pub(crate) fn of<'r>(records: impl Iterator<Item = &'r Record>) -> Self {
        let cut = |record: &Record| Some((record.name.strip_prefix(CUT)?.to_vec(), record.number()?));
        Self(records.filter_map(cut).collect())
    }

    /// An entry's payload, of which nobody asks more than the husk if it is hidden.
    pub(crate) fn of_interest(&self, number: u64, payload: &[u8]) -> Vec<u8> {
        match self.0.get(Plan::stream(payload)) {
            Some(first) if number < *first => husk(payload),
            _ => payload.to_vec(),
        }
    }
}

impl Record {
    fn number(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.value.as_deref()?.try_into().ok()?))
    }
}

/// What the index should say.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The positions under each key that is not of a record.
    pub(crate) positions: BTreeMap<Key, Vec<u64>>,
    /// Which of them are sequences.
    pub(crate) sequences: BTreeSet<Key>,
    pub(crate) records: BTreeMap<Vec<u8>, Record>,
}

impl Model {
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The position after the last one decided.
    pub(crate) fn next_position(&self) -> u64 {
        self.appends.last().map_or(1, |append| append.position + append.entries.len() as u64)
    }

    /// The last position that was acknowledged.
    pub(crate) fn last(&self) -> u64 {
        self.appends[..self.acknowledged].last().map_or(0, |append| append.position + append.entries.len() as u64 - 1)
    }

    /// Only what was acknowledged.
    pub(crate) fn durable(&self) -> Self {
        Self { appends: self.appends[..self.acknowledged].to_vec(), ..*self }
    }

    /// Positions, appends, numbers and payloads.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = (u64, &Append, &(u64, Vec<u8>))> {
        self.appends.iter().flat_map(|append| {
            (append.position..).zip(&append.entries).map(move |(position, entry)| (position, append, entry)).collect::<Vec<_>>()
        })
    }

    /// How many entries a stream has, with all that was decided.
    pub(crate) fn count(&self, stream: &[u8]) -> u64 {
        let of_stream = |payload: &[u8]| payload.split(|byte| *byte == b' ').next() == Some(stream);
        self.entries().rev().find(|(_, _, (_, payload))| of_stream(payload)).map_or(0, |(_, _, (number, _))| *number)
    }

    pub(crate) fn record(&self, name: &[u8]) -> Option<&Record> {
        self.appends.iter().rev().flat_map(|append| append.records.iter().rev()).find(|record| record.name == name)
    }

    pub(crate) fn cuts(&self) -> Cuts {
        Cuts::of(self.appends.iter().flat_map(|append| &append.records))
    }

    pub(crate) fn decided(&mut self, append: Append) {
        self.appends.push(append);
    }

    pub(crate) fn acknowledge(&mut self, id: u64) {
        assert_eq!(self.appends[self.acknowledged].id, id, "appends are acknowledged in the order in which they were decided");
        self.acknowledged += 1;
    }

    /// An append was said not to be recorded.
    pub(crate) fn forget(&mut self, id: u64) {
        let at = self.appends.iter().position(|append| append.id == id);
        assert!(at.is_none_or(|at| at >= self.acknowledged), "what was acknowledged is recorded");
        if let Some(at) = at {
            self.appends.remove(at);
        }
    }

    /// So many appends were found in the log: the fate of all is known.
    pub(crate) fn settle(&mut self, found: usize) {
        assert!(found >= self.acknowledged, "{} appends were acknowledged, and {found} are there", self.acknowledged);
        self.appends.truncate(found);
        self.acknowledged = found;
    }

    pub(crate) fn expected(&self, keys: &KeyMaker) -> Expected {
        let mut expected = Expected::default();
        for (position, _, (number, payload)) in self.entries() {
            let terms = Words.terms(keys, payload).expect("five words");
            let mut add = |key: Key| {
                let positions = expected.positions.entry(key).or_default();
                let is_new = positions.is_empty();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
                is_new
            };
            add(terms.sequence);
            for label in &terms.labels {
                add(*label);
            }
            if *number == 1 {
                for list in terms.first_of_sequence {
                    add(list);
                }
            }
            for (label, list) in terms.first_of_label {
                if add(label) {
                    add(list);
                }
            }
            expected.sequences.insert(terms.sequence);
        }
        for record in self.appends.iter().flat_map(|append| &append.records) {
            expected.records.insert(record.name.clone(), record.clone());
        }
        expected
    }
}

/// An append as its caller makes it, before it has numbers.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Plan {
    pub(crate) fn stream(payload: &[u8]) -> &[u8] {
        payload.split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The draft, and what it is to become.
    pub(crate) fn draft(&self, id: u64, keys: &KeyMaker, model: &Model) -> (Draft, Append) {
        let mut draft = Draft::default();
        let mut append = Append { id, position: model.next_position(), time: None, entries: Vec::new(), records: Vec::new() };
        let mut added: BTreeMap<&[u8], u64> = BTreeMap::new();
        for payload in &self.payloads {
            let stream = Self::stream(payload);
            let number = added.entry(stream).or_insert_with(|| model.count(stream));
            *number += 1;
            append.entries.push((*number, payload.clone()));
            draft.entry(&Words.terms(keys, payload).expect("five words"), |body| body.extend_from_slice(payload));
        }
        for (name, value) in &self.records {
            let earlier = append.records.iter().rev().find(|record: &&Record| &record.name == name);
            let value = value.as_ref().map(|value| match name.strip_prefix(CUT) {
                // It hides no less than before, and nothing that is not there.
                Some(stream) => {
                    let cut = earlier.or(model.record(name)).and_then(Record::number).unwrap_or(1);
                    let wanted = 1 + value.first().map_or(0, |byte| u64::from(*byte) % (model.count(stream) + 1));
                    cut.max(wanted).to_le_bytes().to_vec()
                }
                None => value.clone(),
            });
            let version = earlier.or(model.record(name)).map_or(0, |record| record.version) + 1;
            append.records.push(Record { name: name.clone(), version, value: value.clone() });
            draft.record(record_key(keys, name), name, version, value.as_deref());
        }
        (draft, append)
    }
}
