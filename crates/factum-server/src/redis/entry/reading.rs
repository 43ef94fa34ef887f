//! From an event to the fields of an entry, and to its id.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use factum::RecordedEvent;
use smallvec::SmallVec;

use super::{ALL_IN_DATA, EntryId, ID_MEMBER, IS_DATA, IS_MEMBER, IS_METADATA, IS_TYPE, MEMBER, ONLY_DATA};

pub(super) type Text<'a> = Cow<'a, [u8]>;

/// Names and values.
pub(crate) type Fields<'a> = SmallVec<[(Text<'a>, Text<'a>); 8]>;

/// The id that an event was given as an entry, if it came through this door.
pub(crate) fn recorded_id(event: &RecordedEvent) -> Option<EntryId> {
    let in_uuid = EntryId::of_uuid(event.id);
    if in_uuid.is_some() && (event.metadata == ALL_IN_DATA || event.metadata == ONLY_DATA || list_of(&event.metadata).is_some()) {
        return in_uuid;
    }
    let start = memchr::memmem::rfind(&event.metadata, ID_MEMBER)? + ID_MEMBER.len();
    let length = memchr::memchr(b'"', &event.metadata[start..])?;
    EntryId::parse(&event.metadata[start..start + length], 0)
}

/// The fields of the entry that an event is.
pub(crate) fn fields_of(event: &RecordedEvent) -> Fields<'_> {
    if event.metadata == ALL_IN_DATA
        && let Some(fields) = members(&event.data)
    {
        return fields;
    }
    if event.metadata == ONLY_DATA {
        return smallvec::smallvec![(Cow::Borrowed(&b"data"[..]), Cow::Borrowed(&event.data[..]))];
    }
    list_of(&event.metadata).and_then(|list| listed(event, list)).unwrap_or_else(|| flat(event))
}

/// What stands behind the last member `redis`, without the brace that closes the metadata.
pub(super) fn list_of(metadata: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::rfind(metadata, MEMBER)? + MEMBER.len();
    metadata[start..].strip_suffix(b"}")
}

/// What stands in the list for a name or a value.
pub(super) enum Item<'a> {
    Code(u64),
    Text(Text<'a>),
}

/// The first item of a list, and what follows it with the comma or the bracket behind it.
pub(super) fn item(list: &[u8]) -> Option<(Item<'_>, &[u8])> {
    match list {
        [b'"', ..] => string(list).map(|(text, rest)| (Item::Text(text), rest)),
        [b'{', ..] => {
            let (encoded, rest) = string(list.strip_prefix(br#"{"b":"#)?)?;
            Some((Item::Text(Cow::Owned(STANDARD.decode(encoded).ok()?)), rest.strip_prefix(b"}")?))
        }
        _ => {
            let digits = list.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let code = std::str::from_utf8(&list[..digits]).ok()?.parse().ok()?;
            Some((Item::Code(code), &list[digits..]))
        }
    }
}

fn listed<'a>(event: &'a RecordedEvent, list: &'a [u8]) -> Option<Fields<'a>> {
    if list == b"1" {
        return members(&event.data);
    }
    let mut fields = Fields::new();
    let mut of_data = None;
    let mut rest = list.strip_prefix(b"[")?;
    while rest != b"]" {
        let (Item::Text(name), after) = item(rest)? else { return None };
        let (value, after) = item(after.strip_prefix(b",")?)?;
        let value: Text<'a> = match value {
            Item::Text(text) => text,
            Item::Code(IS_TYPE) => Cow::Borrowed(event.event_type.as_str().as_bytes()),
            Item::Code(IS_DATA) => Cow::Borrowed(&event.data),
            Item::Code(IS_MEMBER) => {
                let of_data: &Fields<'a> = match &of_data {
                    Some(members) => members,
                    None => of_data.insert(members(&event.data)?),
                };
                of_data.iter().find(|(member, _)| *member == name)?.1.clone()
            }
            Item::Code(code) => {
                let length = usize::try_from(code.checked_sub(IS_METADATA)?).ok()?;
                let mut value = event.metadata.get(..length.checked_sub(1)?)?.to_vec();
                value.push(b'}');
                Cow::Owned(value)
            }
        };
        fields.push((name, value));
        rest = after.strip_prefix(b",").unwrap_or(after);
    }
    Some(fields)
}

/// The members of a JSON object of strings, in their order.
fn members(data: &[u8]) -> Option<Fields<'_>> {
    let mut rest = data.strip_prefix(b"{")?;
    let mut fields = Fields::new();
    if rest == b"}" {
        return Some(fields);
    }
    loop {
        let (name, after) = string(rest)?;
        let (value, after) = string(after.strip_prefix(b":")?)?;
        fields.push((name, value));
        match after {
            b"}" => return Some(fields),
            [b',', more @ ..] => rest = more,
            _ => return None,
        }
    }
}

/// A JSON string, and what follows it.
fn string(text: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let inner = text.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', inner)?;
    if inner[end] == b'"' {
        return Some((Cow::Borrowed(&inner[..end]), &inner[end + 1..]));
    }
    let mut end = end;
    while inner[end] != b'"' {
        end += if inner[end] == b'\\' { 2 } else { 1 };
        end += memchr::memchr2(b'"', b'\\', inner.get(end..)?)?;
    }
    let unescaped: String = serde_json::from_slice(&text[..end + 2]).ok()?;
    Some((Cow::Owned(unescaped.into_bytes()), &inner[end + 1..]))
}

/// The fields of an event that came through another door.
fn flat(event: &RecordedEvent) -> Fields<'_> {
    fn borrowed(text: &str) -> Text<'_> {
        Cow::Borrowed(text.as_bytes())
    }
    let stream = event.stream.as_str();
    let category = event.stream.category_str();
    let aggregate = stream.strip_prefix(category).and_then(|rest| rest.strip_prefix('-')).unwrap_or(stream);
    let mut fields = Fields::new();
    let mut add = |name: &'static str, value: Text<'_>| fields.push((borrowed(name), Cow::Owned(value.into_owned())));
    add("event_id", Cow::Owned(event.id.to_string().into_bytes()));
    add("event_type", borrowed(event.event_type.as_str()));
    add("aggregate_id", borrowed(aggregate));
    add("aggregate_type", borrowed(category));
    add("version", Cow::Owned(event.version.to_string().into_bytes()));
    add("timestamp", Cow::Owned(seconds(event.happened_at()).into_bytes()));
    add("data", Cow::Borrowed(&event.data));
    add("metadata", if event.metadata.is_empty() { borrowed("{}") } else { Cow::Borrowed(&event.metadata) });
    fields
}

/// Seconds since 1970 with a fraction, which programs that keep times as numbers and those that keep them as text both take.
fn seconds(time: jiff::Timestamp) -> String {
    format!("{}.{:06}", time.as_microsecond().div_euclid(1_000_000), time.as_microsecond().rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use factum::{GlobalPosition, StreamId, StreamVersion};
    use jiff::Timestamp;

    use super::*;
    use crate::redis::entry::{LastMetadata, Shapes, event_of};
    use crate::redis::resp::{bulk, header};

    fn there_and_back(fields: &[&[u8]], id: EntryId) -> RecordedEvent {
        let share = |place: usize| Bytes::copy_from_slice(fields[place]);
        let (type_fields, mut last) = ([b"event_type".as_slice().into(), b"type".as_slice().into()], LastMetadata::default());
        let event = event_of(fields, share, id, 0, &type_fields, &mut last);
        // The second time it is known what it has in common with the first.
        let again = event_of(fields, share, id, 0, &type_fields, &mut last);
        assert_eq!(factum::NewEvent { id: event.id, ..again }, event);
        let recorded = RecordedEvent {
            position: GlobalPosition::START,
            stream: StreamId::new("Order-1").expect("valid"),
            version: StreamVersion::FIRST,
            id: event.id,
            event_type: event.event_type,
            recorded_at: Timestamp::UNIX_EPOCH,
            occurred_at: None,
            data: event.data,
            metadata: event.metadata,
            tags: Vec::new(),
        };
        let back: Vec<Vec<u8>> =
            fields_of(&recorded).into_iter().flat_map(|(name, value)| [name.into_owned(), value.into_owned()]).collect();
        assert_eq!(back, fields, "{recorded:?}");
        assert_eq!(recorded_id(&recorded), Some(id), "{recorded:?}");
        let mut sent = BytesMut::new();
        header(&mut sent, b'*', 2);
        bulk(&mut sent, &id.text());
        header(&mut sent, b'*', fields.len());
        fields.iter().for_each(|text| bulk(&mut sent, text));
        let mut shapes = Shapes::default();
        // The second time its shape is known.
        for _ in 0..2 {
            let mut written = BytesMut::new();
            shapes.write(id, &recorded, &mut written);
            assert_eq!((shapes.id(&recorded), written), (Some(id), sent.clone()), "{recorded:?}");
        }
        if !recorded.metadata.is_empty() {
            serde_json::from_slice::<serde_json::Value>(&recorded.metadata).expect("the metadata is JSON");
        }
        recorded
    }

    #[test]
    fn fields_come_back_exactly() {
        let ids = [EntryId::new(1_700_000_000_000, 3), EntryId::MAX];
        let entries: [&[&[u8]]; 12] = [
            &[b"a", b"b"],
            &[b"", b""],
            &[b"quo\"te\\", b"new\nline \x01 \xc3\xa4 \\u0041"],
            &[b"a", b"1", b"a", b"2"],
            &[b"a\xff", b"\x00\xfe", b"b", b"text"],
            &[b"type", b"OrderPlaced", b"data", br#"{"total":1}"#],
            &[b"data", b"\xff\x00"],
            &[b"data", b"1", b"data", b"2", b"metadata", b"{}"],
            &[b"event_type", b"X", b"version", b"X", b"metadata", br#"{"correlation_id": "c", "n": [1, 2]}"#, b"data", b"{}"],
            &[b"metadata", br#"{"redis":"no"}"#, b"data", b"[]"],
            &[b"metadata", br#"{"k":"\"redis\":"}"#, b"data", b"}"],
            &[b"x\xff", br#""redis":1}"#, b"data", br#""redis_id":"1-1""#],
        ];
        for id in ids {
            for fields in entries {
                there_and_back(fields, id);
            }
        }
    }

    #[test]
    fn an_entry_is_an_event_that_others_can_read() {
        let fields: &[&[u8]] = &[b"type", b"OrderPlaced", b"total", b"42"];
        let event = there_and_back(fields, EntryId::new(1, 1));
        assert_eq!(event.event_type, "OrderPlaced");
        assert_eq!(event.data, r#"{"type":"OrderPlaced","total":"42"}"#);
        let fields: &[&[u8]] = &[b"event_type", b"A", b"data", br#"{"n":1}"#, b"metadata", br#"{"correlation_id":"c"}"#];
        let event = there_and_back(fields, EntryId::new(1, 2));
        assert_eq!(event.data, r#"{"n":1}"#);
        assert_eq!(event.metadata, r#"{"correlation_id":"c","redis":["event_type",0,"data",1,"metadata",38]}"#);
    }
}
