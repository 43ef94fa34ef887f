//! What stands at a key.

use bytes::Bytes;
use factum::{RecordVersion, StreamId};

use super::codec::{Reader, Writer};
use super::hash::Hash;
use super::stream::Stream;

/// What stands at a key, as it is with everything that is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    /// The stream of that name, if it ever had events: also when the key now holds something else, or nothing.
    pub(crate) stream: Option<Box<Stream>>,
    /// What OBJECT ENCODING says of a text that was made from another.
    pub(crate) encoding: Option<&'static str>,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// The batch that changed it last.
    pub(super) changed_in: u64,
    /// When it changed last, by the state's stamp.
    pub(super) stamp: u64,
    /// Something of it is to be written with the open batch.
    pub(super) is_dirty: bool,
    /// Its own record is.
    pub(super) is_record_dirty: bool,
    /// The version of its record.
    pub(super) record: RecordVersion,
    /// How many bytes of its value the open batch has been counted for.
    pub(super) counted: usize,
    /// What the log of names says of the key.
    pub(super) announced: Announced,
    /// It was used since it was last considered for eviction.
    pub(super) is_used: bool,
    pub(super) size: usize,
}

/// A key's value.
#[derive(Clone, Debug, Default)]
pub(crate) enum Value {
    #[default]
    Nothing,
    Text(Bytes),
    Hash(Hash),
    /// It is in [`Slot::stream`].
    Stream,
}

/// What kind of thing stands at a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Nothing,
    Text,
    Hash,
    Stream,
}

impl Kind {
    /// Its name in TYPE.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Text => "string",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Nothing, Self::Text, Self::Hash, Self::Stream].into_iter().find(|kind| kind.name() == name)
    }
}

/// What the log of names says of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) kind: Kind,
    pub(super) expires: Option<u64>,
}

/// The version of the records' bytes.
const FORMAT: u64 = 1;

impl Slot {
    /// Nothing, at a key whose stream never had events.
    pub(super) fn empty() -> Self {
        Self {
            value: Value::Nothing,
            stream: None,
            encoding: None,
            expires: None,
            changed_in: 0,
            stamp: 0,
            is_dirty: false,
            is_record_dirty: false,
            record: RecordVersion::NONE,
            counted: 0,
            announced: Announced::default(),
            is_used: true,
            size: size_of::<Self>(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.value {
            Value::Nothing => Kind::Nothing,
            Value::Text(_) => Kind::Text,
            Value::Hash(_) => Kind::Hash,
            Value::Stream => Kind::Stream,
        }
    }

    /// The stream that stands here, if one does.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match self.value {
            Value::Stream => self.stream.as_deref(),
            _ => None,
        }
    }

    /// Touches what most commands need of it; the number says nothing.
    pub(super) fn glance(&self) -> u64 {
        self.changed_in ^ self.stamp ^ self.stream.as_ref().map_or(0, |stream| stream.glance())
    }

    pub(super) fn standing(&self) -> Announced {
        let end = if let Value::Hash(hash) = &self.value { hash.end() } else { None };
        Announced { kind: self.kind(), expires: self.expires.into_iter().chain(end).min() }
    }

    /// The bytes of its record, `None` if it needs none.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        if matches!(self.value, Value::Nothing) && self.stream.is_none() {
            return None;
        }
        let mut out = Writer(Vec::with_capacity(64));
        out.number(FORMAT);
        out.number(match &self.value {
            Value::Nothing => 0,
            Value::Text(_) => 1,
            Value::Hash(hash) if hash.has_expiries() => 4,
            Value::Hash(_) => 2,
            Value::Stream => 3,
        });
        out.number(self.expires.map_or(0, |expires| expires + 1));
        out.number(u64::from(self.stream.is_some()));
        if let Some(stream) = &self.stream {
            stream.write(&mut out);
        }
        match &self.value {
            Value::Text(text) => out.0.extend_from_slice(text),
            Value::Hash(hash) => {
                hash.write(&mut out);
                if hash.has_expiries() {
                    hash.write_expiries(&mut out);
                }
            }
            Value::Nothing | Value::Stream => {}
        }
        Some(out.0)
    }

    /// What a record says, and the numbers of its groups. `None` if its bytes make no sense.
    pub(super) fn read(bytes: Bytes, version: RecordVersion, stream: &StreamId) -> Option<(Self, Vec<(Bytes, u64)>)> {
        let mut from = Reader::new(bytes);
        if from.number()? != FORMAT {
            return None;
        }
        let kind = from.number()?;
        let mut slot = Self { expires: from.number()?.checked_sub(1), record: version, ..Self::empty() };
        let mut groups = Vec::new();
        if from.number()? == 1 {
            let (stream, numbers) = Stream::read(stream.clone(), &mut from)?;
            slot.stream = Some(Box::new(stream));
            groups = numbers;
        }
        slot.value = match kind {
            0 => Value::Nothing,
            1 => Value::Text(from.rest()),
            2 => Value::Hash(Hash::read(&mut from)?),
            3 => Value::Stream,
            4 => {
                let mut hash = Hash::read(&mut from)?;
                hash.read_expiries(&mut from)?;
                Value::Hash(hash)
            }
            _ => return None,
        };
        slot.announced = slot.standing();
        Some((slot, groups))
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn measure(&self) -> usize {
        let value = match &self.value {
            Value::Text(text) => text.len(),
            Value::Hash(hash) => hash.size() * 2,
            Value::Nothing | Value::Stream => 0,
        };
        size_of::<Self>() + 64 + value + self.stream.as_ref().map_or(0, |stream| stream.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_what_stands_at_a_key() {
        let stream = StreamId::new("s").expect("valid");
        let mut slot = Slot { value: Value::Text(Bytes::from_static(b"a\x00b")), expires: Some(5), ..Slot::empty() };
        let read = |slot: &Slot| {
            let bytes = slot.write().expect("it needs a record");
            Slot::read(bytes.into(), RecordVersion::new(3), &stream).expect("it can be read").0
        };
        let after = read(&slot);
        assert!(matches!(after.value, Value::Text(text) if text == "a\0b"[..]));
        assert_eq!((after.expires, after.record), (Some(5), RecordVersion::new(3)));
        let mut hash = Hash::default();
        hash.set(b"f", b"v");
        hash.set(b"g", b"");
        hash.remove(b"f");
        slot.value = Value::Hash(hash.clone());
        slot.stream = Some(Box::new(Stream::new(stream.clone())));
        let after = read(&slot);
        assert!(matches!(after.value, Value::Hash(hash) if hash.iter().eq([&(Bytes::from_static(b"g"), Bytes::new())])));
        assert!(after.stream.is_some());
        hash.set_expiry(b"g", Some(7));
        slot.value = Value::Hash(hash);
        let after = read(&slot);
        assert!(matches!(after.value, Value::Hash(hash) if hash.expiry(b"g") == Some(7) && hash.is_due(7) && hash.end() == Some(7)));
        assert!(Slot::empty().write().is_none());
    }
}
