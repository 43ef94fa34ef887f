//! What the simulated programs write: payloads of a few words, from which all keys follow.

use crate::key::{Key, KeyMaker, Kind};
use crate::shared::Indexer;
use crate::terms::Terms;

pub(crate) const STREAM: Kind = Kind(1);
pub(crate) const CATEGORY: Kind = Kind(2);
pub(crate) const TYPE: Kind = Kind(3);
pub(crate) const TAG: Kind = Kind(4);
pub(crate) const ID: Kind = Kind(5);
pub(crate) const LIST: Kind = Kind(6);
pub(crate) const RECORD: Kind = Kind(0x80);
pub(crate) const OTHER_RECORD: Kind = Kind(0x81);

/// Knows payloads of the form `stream type id tags filling`; a stream's category is its first letter, a tag is a letter.
#[derive(Debug)]
pub(crate) struct Words;

impl Indexer for Words {
    fn terms(&self, keys: &KeyMaker, payload: &[u8]) -> Option<Terms> {
        let mut words = payload.splitn(5, |byte| *byte == b' ');
        let (stream, event_type, id, tags) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let category = stream.get(..1)?;
        let mut labels: smallvec::SmallVec<[Key; 4]> = tags.iter().map(|tag| keys.key(TAG, &[*tag])).collect();
        labels.push(keys.short_key(ID, stream, id));
        Some(Terms {
            sequence: keys.key(STREAM, stream),
            first_of_sequence: [keys.key(LIST, b"streams"), keys.key(LIST, category)],
            labels,
            first_of_label: [
                (keys.key(TYPE, event_type), keys.key(LIST, b"types")),
                (keys.key(CATEGORY, category), keys.key(LIST, b"categories")),
            ],
        })
    }

    fn record_key(&self, keys: &KeyMaker, name: &[u8]) -> Option<Key> {
        Some(record_key(keys, name))
    }

    fn hides(&self, keys: &KeyMaker, name: &[u8], value: &[u8]) -> Option<(Key, u64)> {
        Some((keys.key(STREAM, name.strip_prefix(CUT)?), u64::from_le_bytes(value.try_into().ok()?)))
    }

    fn hidden_by(&self, keys: &KeyMaker, payload: &[u8]) -> Option<(Key, Vec<u8>)> {
        let name = [CUT, payload.split(|byte| *byte == b' ').next()?].concat();
        Some((record_key(keys, &name), name))
    }

    fn husk(&self, payload: &[u8]) -> Option<Vec<u8>> {
        Some(husk(payload))
    }
}

/// What the name of a record begins with that hides the beginning of a stream; its value is the first number not hidden.
pub(crate) const CUT: &[u8] = b"cut ";

/// A payload without its filling.
pub(crate) fn husk(payload: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = payload.splitn(5, |byte| *byte == b' ').take(4).collect();
    [&words.join(&b' '), &b" ~"[..]].concat()
}

pub(crate) fn record_key(keys: &KeyMaker, name: &[u8]) -> Key {
    keys.key(if name.starts_with(b"other") { OTHER_RECORD } else { RECORD }, name)
}
