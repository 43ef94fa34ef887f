//! A hash: fields and values in the order in which the fields came.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::codec::{Reader, Writer};

/// A hash. Clones share their fields until one is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hash {
    fields: Arc<Fields>,
}

#[derive(Clone, Debug, Default)]
struct Fields {
    /// Places in `list`, by name.
    places: HashMap<Bytes, usize, RandomState>,
    /// Names and values; `None` where a field was removed.
    list: Vec<Option<(Bytes, Bytes)>>,
    bytes: usize,
    /// When fields expire, in milliseconds since 1970; few do.
    expiries: HashMap<Bytes, u64, RandomState>,
    /// No field expires before this.
    first_expiry: Option<u64>,
    /// It once had more or longer fields than Redis keeps in a list.
    is_large: bool,
}

impl Hash {
    pub(crate) fn len(&self) -> usize {
        self.fields.places.len()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Bytes> {
        let place = *self.fields.places.get(name)?;
        self.fields.list[place].as_ref().map(|(_, value)| value)
    }

    /// Fields in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Bytes, Bytes)> {
        self.fields.list.iter().flatten()
    }

    /// Writes a field, which then does not expire, and says whether it is new. Both are copied.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.set_expiry(name, None);
        self.set_value(name, value)
    }

    /// Writes a field, which expires when it did before.
    pub(crate) fn set_value(&mut self, name: &[u8], value: &[u8]) -> bool {
        let fields = Arc::make_mut(&mut self.fields);
        fields.is_large |= name.len() > 64 || value.len() > 64 || fields.places.len() >= 512 && !fields.places.contains_key(name);
        let value = Bytes::copy_from_slice(value);
        fields.bytes += value.len();
        if let Some(place) = fields.places.get(name) {
            let field = fields.list[*place].as_mut().expect("a place that is known holds a field");
            fields.bytes -= field.1.len();
            field.1 = value;
            return false;
        }
        fields.bytes += name.len() + FIELD_BYTES;
        let name = Bytes::copy_from_slice(name);
        fields.places.insert(name.clone(), fields.list.len());
        fields.list.push(Some((name, value)));
        true
    }

    /// Removes a field, and says whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        if !self.fields.places.contains_key(name) {
            return false;
        }
        self.set_expiry(name, None);
        let fields = Arc::make_mut(&mut self.fields);
        let place = fields.places.remove(name).expect("it was there");
        let (name, value) = fields.list[place].take().expect("a place that is known holds a field");
        fields.bytes -= name.len() + value.len() + FIELD_BYTES;
        if fields.list.len() > 16 && fields.list.len() > fields.places.len() * 2 {
            fields.list.retain(Option::is_some);
            let names = fields.list.iter().flatten().map(|(name, _)| name.clone());
            fields.places = names.enumerate().map(|(place, name)| (name, place)).collect();
        }
        true
    }

    /// When a field expires, in milliseconds since 1970.
    pub(crate) fn expiry(&self, name: &[u8]) -> Option<u64> {
        self.fields.expiries.get(name).copied()
    }

    /// Lets a field that is there expire, or keep.
    pub(crate) fn set_expiry(&mut self, name: &[u8], expires: Option<u64>) {
        match expires {
            None if self.fields.expiries.contains_key(name) => {
                let fields = Arc::make_mut(&mut self.fields);
                fields.expiries.remove(name);
                fields.bytes -= EXPIRY_BYTES;
            }
            None => {}
            Some(expires) => {
                let fields = Arc::make_mut(&mut self.fields);
                let is_new = fields.expiries.insert(Bytes::copy_from_slice(name), expires).is_none();
                fields.bytes += if is_new { EXPIRY_BYTES } else { 0 };
                fields.first_expiry = Some(fields.first_expiry.map_or(expires, |first| first.min(expires)));
            }
        }
    }

    /// Whether there may be fields that have expired.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.fields.first_expiry.is_some_and(|first| first <= now)
    }

    /// Removes the fields that have expired, and says whether there were any.
    pub(crate) fn expire(&mut self, now: u64) -> bool {
        let due: Vec<Bytes> = self.fields.expiries.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        let has_any = due.iter().filter(|name| self.remove(name)).count() > 0;
        let fields = Arc::make_mut(&mut self.fields);
        fields.first_expiry = fields.expiries.values().min().copied();
        has_any
    }

    /// When the last field expires, if all do.
    pub(super) fn end(&self) -> Option<u64> {
        let do_all_expire = self.fields.expiries.len() == self.len();
        if do_all_expire { self.fields.expiries.values().max().copied() } else { None }
    }

    pub(super) fn has_expiries(&self) -> bool {
        !self.fields.expiries.is_empty()
    }

    /// When fields expire, beside [`Hash::write`].
    pub(super) fn write_expiries(&self, out: &mut Writer) {
        out.number(self.fields.expiries.len() as u64);
        for (name, _) in self.iter() {
            if let Some(expires) = self.expiry(name) {
                out.bytes(name);
                out.number(expires);
            }
        }
    }

    pub(super) fn read_expiries(&mut self, from: &mut Reader) -> Option<()> {
        for _ in 0..from.count()? {
            let (name, expires) = (from.bytes()?, from.number()?);
            self.get(&name)?;
            self.set_expiry(&name, Some(expires));
        }
        Some(())
    }

    /// Whether Redis would keep it as a table.
    pub(crate) fn is_large(&self) -> bool {
        self.fields.is_large
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.number(self.len() as u64);
        for (name, value) in self.iter() {
            out.bytes(name);
            out.bytes(value);
        }
    }

    pub(super) fn read(from: &mut Reader) -> Option<Self> {
        let mut hash = Self::default();
        for _ in 0..from.count()? {
            hash.set(&from.bytes()?, &from.bytes()?);
        }
        Some(hash)
    }

    /// About how many bytes it takes, in memory and in its record.
    pub(crate) fn size(&self) -> usize {
        self.fields.bytes
    }
}

/// What a field takes besides its bytes.
const FIELD_BYTES: usize = 12;
/// What it takes to know when one expires, with a name of ordinary length.
const EXPIRY_BYTES: usize = 64;
