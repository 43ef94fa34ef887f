//! Keys: any bytes to Redis, and here the names of streams and records, which are text.
//!
//! A key of database 0 that is such text is the name itself. What a name can't hold is escaped with `%` and two hexadecimal digits, reversibly:
//! bytes that are not UTF-8, control characters, a `$` at the beginning (names of the system begin with it), and a `%` that would else
//! be taken for an escape. The empty key is `%-`. Other databases have a prefix, `$db3:`.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use factum::{RecordName, StreamId};

/// A key in a database.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) database: u32,
    pub(crate) name: Bytes,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.database, escaped(&self.name))
    }
}

/// What a key can be looked up by: its database, and its name wherever that lies.
pub(crate) trait Named {
    fn parts(&self) -> (u32, &[u8]);
}

impl Named for Key {
    fn parts(&self) -> (u32, &[u8]) {
        (self.database, &self.name)
    }
}

impl Named for (u32, &[u8]) {
    fn parts(&self) -> (u32, &[u8]) {
        *self
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Named + '_ {}

impl<'k> Borrow<dyn Named + 'k> for Key {
    fn borrow(&self) -> &(dyn Named + 'k) {
        self
    }
}

impl Key {
    /// The stream of this key; `None` if the key is too long for one.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        let name = escaped(&self.name);
        if self.database == 0 { StreamId::new(name).ok() } else { StreamId::new(format!("$db{}:{name}", self.database)).ok() }
    }

    /// The key of a stream; `None` for the system's own.
    pub(crate) fn of_stream(stream: &StreamId) -> Option<Self> {
        let name = stream.as_str();
        let (database, name) = match name.strip_prefix("$db") {
            Some(rest) => {
                let (database, name) = rest.split_once(':')?;
                (database.parse().ok().filter(|database| *database > 0)?, name)
            }
            None => (0, name),
        };
        if name.starts_with('$') {
            return None;
        }
        Some(Self { database, name: unescaped(name) })
    }

    /// The name of the record that says what stands at this key.
    pub(crate) fn record(&self) -> RecordName {
        self.named(format_args!("{}", self.database))
    }

    /// The name of the record of one of its groups.
    pub(crate) fn group_record(&self, group: u64) -> RecordName {
        self.named(format_args!("{}.{group}", self.database))
    }

    /// The name of the record of a part of what is pending in a group.
    pub(crate) fn pending_record(&self, group: u64, chunk: u64) -> RecordName {
        self.named(format_args!("{}.{group}.{chunk}", self.database))
    }

    fn named(&self, what: fmt::Arguments<'_>) -> RecordName {
        RecordName::new(format!("$redis/{what}/{}", escaped(&self.name))).expect("a key that is not too long for a stream has one")
    }

    /// The key as text, for the log of names.
    pub(crate) fn text(&self) -> String {
        escaped(&self.name)
    }

    /// The key that was written as this text.
    pub(crate) fn of_text(database: u32, text: &str) -> Self {
        Self { database, name: unescaped(text) }
    }
}

fn escaped(name: &[u8]) -> String {
    use fmt::Write;
    if name.is_empty() {
        return "%-".to_owned();
    }
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for (place, character) in chunk.valid().char_indices() {
            let rest = &chunk.valid().as_bytes()[place + 1..];
            let is_escape = character == '%' && (matches!(rest, [b'-', ..]) || is_hexadecimal(rest));
            if is_escape || character.is_control() || character == '$' && out.is_empty() {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    write!(out, "%{byte:02X}").expect("a string takes all");
                }
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            write!(out, "%{byte:02X}").expect("a string takes all");
        }
    }
    // A `%` before invalid bytes is followed by an escape's `%`, so it is never taken for one itself.
    out
}

fn is_hexadecimal(rest: &[u8]) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    matches!(rest, [high, low, ..] if is_digit(*high) && is_digit(*low))
}

fn unescaped(text: &str) -> Bytes {
    if text == "%-" {
        return Bytes::new();
    }
    if !text.contains('%') {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' + 10 };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' && is_hexadecimal(after) {
            out.push(digit(after[0]) << 4 | digit(after[1]));
            rest = &after[2..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_parts() {
        let key = Key { database: 3, name: Bytes::from_static(b"Order-1") };
        let keys = std::collections::HashSet::from([key.clone()]);
        let find = |database: u32, name: &[u8]| keys.contains(&(database, name) as &dyn Named);
        assert!(keys.contains(&key) && find(3, b"Order-1") && !find(0, b"Order-1") && !find(3, b"Order-2"));
    }

    #[test]
    fn every_key_has_a_stream_of_its_own() {
        let names: [&[u8]; 16] = [
            b"Order-1",
            b"",
            b"%-",
            b"%",
            b"50%",
            b"50%off",
            b"%41",
            b"A",
            b"%2541",
            b"$x",
            b"%24x",
            b"\xff",
            b"%FF",
            b"a\nb",
            b"%\xff1",
            "ä\u{85}".as_bytes(),
        ];
        let mut seen = std::collections::HashSet::new();
        for database in [0, 3] {
            for name in names {
                let key = Key { database, name: Bytes::copy_from_slice(name) };
                let stream = key.stream().expect("short enough");
                assert_eq!(Key::of_stream(&stream), Some(key.clone()), "{stream}");
                assert!(seen.insert(stream), "{key:?}");
            }
        }
        assert_eq!(Key { database: 0, name: Bytes::from_static(b"Order-1") }.stream().expect("valid"), "Order-1");
        assert_eq!(Key::of_stream(&StreamId::new("$redis-keys").expect("valid")), None);
        assert_eq!(Key { database: 0, name: vec![b'a'; 1_025].into() }.stream(), None);
    }
}
