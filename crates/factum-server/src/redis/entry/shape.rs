//! The shape of entries: what is the same in all whose fields are given in the same way, encoded once. Most entries of a stream are alike.

use bytes::{BufMut, Bytes, BytesMut};
use factum::RecordedEvent;

use super::reading::{Item, item, list_of};
use super::{EntryId, IS_DATA, IS_TYPE, TEXT_BYTES_MAX, fields_of, recorded_id};
use crate::redis::resp::{bulk, header};

/// Shapes with longer metadata are not remembered.
const METADATA_BYTES_MAX: usize = 1 << 10;

/// Writes entries, and remembers the shape of the last.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    metadata: Bytes,
    shape: Option<Shape>,
}

/// The fields of an entry as they are sent, but for what each entry has of its own.
#[derive(Debug)]
struct Shape {
    parts: Vec<(Vec<u8>, Own)>,
}

/// What is each entry's own, behind what all have in common.
#[derive(Clone, Copy, Debug)]
enum Own {
    Nothing,
    Type,
    Data,
}

impl Shapes {
    /// The id that an event was given as an entry, if it came through this door.
    pub(crate) fn id(&mut self, event: &RecordedEvent) -> Option<EntryId> {
        let in_uuid = self.of(event).and_then(|_| EntryId::of_uuid(event.id));
        in_uuid.or_else(|| recorded_id(event))
    }

    /// Adds an entry to what is sent.
    pub(crate) fn write(&mut self, id: EntryId, event: &RecordedEvent, out: &mut BytesMut) {
        out.reserve(event.data.len() + event.metadata.len() + 128);
        out.put_slice(b"*2\r\n");
        bulk(out, id.digits(&mut [0; TEXT_BYTES_MAX]));
        if let Some(shape) = self.of(event) {
            for (common, own) in &shape.parts {
                out.put_slice(common);
                match own {
                    Own::Nothing => {}
                    Own::Type => bulk(out, event.event_type.as_str().as_bytes()),
                    Own::Data => bulk(out, &event.data),
                }
            }
            return;
        }
        let fields = fields_of(event);
        header(out, b'*', fields.len() * 2);
        for (name, value) in &fields {
            bulk(out, name);
            bulk(out, value);
        }
    }

    fn of(&mut self, event: &RecordedEvent) -> Option<&Shape> {
        if self.metadata != event.metadata {
            self.shape = if event.metadata.len() <= METADATA_BYTES_MAX { Shape::of(&event.metadata) } else { None };
            self.metadata = event.metadata.clone();
        }
        self.shape.as_ref()
    }
}

impl Shape {
    /// `None` where the metadata is not all of the shape: it holds other members too, or the fields are in the data.
    fn of(metadata: &[u8]) -> Option<Self> {
        let list = list_of(metadata)?;
        if list.len() + r#"{"redis":}"#.len() != metadata.len() {
            return None;
        }
        let mut rest = list.strip_prefix(b"[")?;
        let mut parts = Vec::new();
        let (mut common, mut fields) = (BytesMut::new(), 0);
        while rest != b"]" {
            let (Item::Text(name), after) = item(rest)? else { return None };
            let (value, after) = item(after.strip_prefix(b",")?)?;
            bulk(&mut common, &name);
            match value {
                Item::Text(text) => bulk(&mut common, &text),
                Item::Code(IS_TYPE) => parts.push((std::mem::take(&mut common).to_vec(), Own::Type)),
                Item::Code(IS_DATA) => parts.push((std::mem::take(&mut common).to_vec(), Own::Data)),
                Item::Code(_) => return None,
            }
            fields += 1;
            rest = after.strip_prefix(b",").unwrap_or(after);
        }
        parts.push((common.to_vec(), Own::Nothing));
        let mut count = BytesMut::new();
        header(&mut count, b'*', fields * 2);
        parts[0].0.splice(..0, count);
        Some(Self { parts })
    }
}
