//! Terms: the keys under which an entry is to be found, and those of a frame's entries put together.

use smallvec::SmallVec;

use crate::key::Key;

/// Under which keys an entry is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The sequence it belongs to; the engine numbers a sequence's entries from 1.
    pub sequence: Key,
    /// Keys that it is listed under when it is the first of its sequence.
    pub first_of_sequence: [Key; 2],
    /// Other keys that it is to be found under.
    pub labels: SmallVec<[Key; 4]>,
    /// Keys that it is listed under if it is the first ever found under the label: pairs of label and list. The two lists are different
    /// ones.
    pub first_of_label: [(Key, Key); 2],
}

/// The keys of entries that come one after another. What several in a row have in common stands there once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    entries: u32,
    sequences: Vec<SequenceRow>,
    labels: Vec<(Key, u32)>,
    listed: [Vec<LabelRow>; 2],
}

/// Entries in a row that are of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceRow {
    pub(crate) key: Key,
    /// What the first entry of the sequence is listed under.
    pub(crate) lists: [Key; 2],
    pub(crate) entries: u32,
}

/// Entries in a row that have one label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LabelRow {
    pub(crate) label: Key,
    /// What the first entry ever found under the label is listed under.
    pub(crate) list: Key,
    /// The first of the entries, counted from 0.
    pub(crate) first: u32,
    pub(crate) entries: u32,
}

impl Listing {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self { labels: Vec::with_capacity(entries), ..Self::default() }
    }

    /// Adds the next entry.
    #[inline]
    pub(crate) fn add(&mut self, terms: &Terms) {
        let entry = self.entries;
        self.entries += 1;
        match self.sequences.last_mut() {
            Some(row) if row.key == terms.sequence => row.entries += 1,
            _ => self.sequences.push(SequenceRow { key: terms.sequence, lists: terms.first_of_sequence, entries: 1 }),
        }
        self.labels.extend(terms.labels.iter().map(|label| (*label, entry)));
        for (rows, (label, list)) in self.listed.iter_mut().zip(terms.first_of_label) {
            match rows.last_mut() {
                Some(row) if row.label == label => row.entries += 1,
                _ => rows.push(LabelRow { label, list, first: entry, entries: 1 }),
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries = 0;
        self.sequences.clear();
        self.labels.clear();
        self.listed.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries as usize
    }

    /// The sequences, in the order of the entries.
    pub(crate) fn sequences(&self) -> &[SequenceRow] {
        &self.sequences
    }

    /// The other keys, in the order of the entries, each with the entry it is of, counted from 0.
    pub(crate) fn labels(&self) -> &[(Key, u32)] {
        &self.labels
    }

    /// The labels whose first entries are listed, each in the order of the entries.
    pub(crate) fn listed(&self) -> &[Vec<LabelRow>; 2] {
        &self.listed
    }
}
