//! What entries have in common that are given alike: where the names and values of all fields but the data are the same, so are the event's
//! type and its metadata.

use bytes::Bytes;
use factum::EventType;
use smallvec::SmallVec;

/// Entries as they came before, the newest of each kind.
#[derive(Debug, Default)]
pub(super) struct Alike {
    entries: Vec<Entry>,
    /// The one that makes room for the next.
    oldest: usize,
}

/// An entry without its data, and what became of it.
#[derive(Debug)]
struct Entry {
    /// The names and values one after another, and where each ends.
    texts: Vec<u8>,
    ends: SmallVec<[usize; 8]>,
    common: Common,
}

/// What they have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// Where the data stands among names and values.
    pub(super) data: usize,
    pub(super) event_type: EventType,
    pub(super) metadata: Bytes,
}

/// So many are kept: what looks at all of them is quicker than making one anew.
const ENTRIES_MAX: usize = 4;
/// Longer ones are made anew.
const TEXT_BYTES_MAX: usize = 512;

impl Alike {
    /// What an entry has in common with one before.
    pub(super) fn find(&self, fields: &[&[u8]]) -> Option<&Common> {
        self.entries.iter().find(|entry| entry.is_like(fields)).map(|entry| &entry.common)
    }

    /// Keeps what an entry with these fields has in common with all that are like it.
    pub(super) fn keep(&mut self, fields: &[&[u8]], common: Common) {
        let without_data = |place: usize, text: &[u8]| if place == common.data { 0 } else { text.len() };
        let bytes: usize = fields.iter().enumerate().map(|(place, text)| without_data(place, text)).sum();
        if bytes > TEXT_BYTES_MAX {
            return;
        }
        let mut entry = Entry { texts: Vec::with_capacity(bytes), ends: SmallVec::new(), common };
        for (place, text) in fields.iter().enumerate() {
            if place != entry.common.data {
                entry.texts.extend_from_slice(text);
            }
            entry.ends.push(entry.texts.len());
        }
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push(entry);
        } else {
            self.entries[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % ENTRIES_MAX;
        }
    }
}

impl Entry {
    fn is_like(&self, fields: &[&[u8]]) -> bool {
        let mut start = 0;
        fields.len() == self.ends.len()
            && fields.iter().zip(&self.ends).enumerate().all(|(place, (text, &end))| {
                let known = &self.texts[start..end];
                start = end;
                place == self.common.data || **text == *known
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(data: usize) -> Common {
        Common { data, event_type: EventType::new("T").expect("valid"), metadata: Bytes::from_static(b"{}") }
    }

    #[test]
    fn entries_are_alike_if_all_but_their_data_is_the_same() {
        let mut alike = Alike::default();
        alike.keep(&[b"type", b"T", b"data", b"{}", b"user", b"ann"], common(3));
        assert!(alike.find(&[b"type", b"T", b"data", b"longer", b"user", b"ann"]).is_some());
        for other in [
            [&b"type"[..], b"T", b"data", b"{}", b"user", b"bob"],
            [b"type", b"U", b"data", b"{}", b"user", b"ann"],
            [b"typ", b"eT", b"data", b"{}", b"user", b"ann"],
            [b"type", b"T", b"date", b"{}", b"user", b"ann"],
        ] {
            assert!(alike.find(&other).is_none());
        }
        assert!(alike.find(&[b"type", b"T", b"data", b"{}"]).is_none());
    }

    #[test]
    fn few_are_kept_and_none_that_is_long() {
        let mut alike = Alike::default();
        for number in 0..100 {
            alike.keep(&[b"n", &[number], b"data", b"{}"], common(3));
        }
        alike.keep(&[b"n", &[7; TEXT_BYTES_MAX], b"data", b"{}"], common(3));
        assert_eq!(alike.entries.len(), ENTRIES_MAX);
        assert!(alike.find(&[b"n", &[99], b"data", b"new"]).is_some() && alike.find(&[b"n", &[0], b"data", b"new"]).is_none());
    }
}
