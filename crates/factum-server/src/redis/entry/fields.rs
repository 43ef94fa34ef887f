//! From the fields of XADD to an event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use factum::{EventType, NewEvent};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::alike::{Alike, Common};
use super::{ALL_IN_DATA, EntryId, ID_MEMBER, IS_DATA, IS_MEMBER, IS_METADATA, IS_TYPE, MEMBER, ONLY_DATA, TEXT_BYTES_MAX};

/// The type of an entry that has no field for it.
const DEFAULT_TYPE: &str = "Entry";

/// The metadata of the event that came last, and what entries had that came before.
#[derive(Debug, Default)]
pub(crate) struct LastMetadata {
    alike: Alike,
    shared: Bytes,
    /// Where the next one is put together.
    text: Vec<u8>,
}

impl LastMetadata {
    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        self.text.clear();
        write(&mut self.text);
        if self.shared != self.text {
            self.shared = Bytes::copy_from_slice(&self.text);
        }
        self.text.shrink_to(TEXT_BYTES_KEPT);
        self.shared.clone()
    }
}

/// What is kept to put metadata together in.
const TEXT_BYTES_KEPT: usize = 4 << 10;

/// The event that is this entry. `fields` are names and values in turn; `type_fields` names the fields that may hold the type, the first
/// that does counts. `share` gives a field's bytes without copying them. Where the metadata is that of the event before, they share it.
pub(crate) fn event_of(
    fields: &[&[u8]],
    share: impl FnOnce(usize) -> Bytes,
    id: EntryId,
    generation: u32,
    type_fields: &[Box<[u8]>],
    last: &mut LastMetadata,
) -> NewEvent {
    let id_in_uuid = id.uuid(generation);
    if let Some(id) = id_in_uuid
        && let Some(Common { data, event_type, metadata }) = last.alike.find(fields)
    {
        let (event_type, metadata) = (event_type.clone(), metadata.clone());
        return NewEvent { id, event_type, data: share(*data), metadata, tags: Vec::new(), occurred_at: None };
    }
    let event_type = type_of(fields, type_fields);
    let data_field = pairs(fields).position(|(name, _)| name == b"data");
    let (data, metadata) = match data_field {
        Some(place) => {
            let metadata = listed(fields, Some(place), &event_type, id_in_uuid.is_none().then_some(id), last);
            // The data may be what the type is taken from.
            if id_in_uuid.is_some() && !type_fields.iter().any(|field| field[..] == *b"data") {
                let common = Common { data: place * 2 + 1, event_type: event_type.clone(), metadata: metadata.clone() };
                last.alike.keep(fields, common);
            }
            (share(place * 2 + 1), metadata)
        }
        None if is_plain(fields) => {
            let metadata = match id_in_uuid {
                Some(_) => Bytes::from_static(ALL_IN_DATA),
                None => last.write(|out| {
                    open(None, Some(id), out);
                    out.extend_from_slice(b"1}");
                }),
            };
            (object(pairs(fields)), metadata)
        }
        None => {
            let texts = first_texts(fields);
            (object(texts.into_iter()), listed(fields, None, &event_type, id_in_uuid.is_none().then_some(id), last))
        }
    };
    let id = id_in_uuid.unwrap_or_else(Uuid::now_v7);
    NewEvent { id, event_type, data, metadata, tags: Vec::new(), occurred_at: None }
}

fn pairs<'a>(fields: &'a [&'a [u8]]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    fields.chunks_exact(2).map(|pair| (pair[0], pair[1]))
}

fn type_of(fields: &[&[u8]], type_fields: &[Box<[u8]>]) -> EventType {
    let named = type_fields.iter().find_map(|wanted| pairs(fields).find(|(name, _)| name[..] == wanted[..]));
    let named = named.and_then(|(_, value)| EventType::new(std::str::from_utf8(value).ok()?).ok());
    named.unwrap_or_else(|| EventType::new(DEFAULT_TYPE).expect("it is a type"))
}

/// Whether the fields can be the members of a JSON object and come back as they were.
fn is_plain(fields: &[&[u8]]) -> bool {
    let are_texts = fields.iter().all(|text| std::str::from_utf8(text).is_ok());
    are_texts && are_unique(fields)
}

fn are_unique(fields: &[&[u8]]) -> bool {
    if fields.len() <= 32 {
        return pairs(fields).enumerate().all(|(place, (name, _))| pairs(fields).take(place).all(|(earlier, _)| earlier != name));
    }
    let mut seen = std::collections::HashSet::with_capacity(fields.len() / 2);
    pairs(fields).all(|(name, _)| seen.insert(name))
}

/// The fields that are text, each name once.
fn first_texts<'a>(fields: &'a [&'a [u8]]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut seen = std::collections::HashSet::new();
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    pairs(fields).filter(|(name, value)| seen.insert(*name) && is_text(name) && is_text(value)).collect()
}

fn object<'a>(members: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Bytes {
    let bytes: usize = members.clone().map(|(name, value)| name.len() + value.len() + 6).sum();
    let mut out = Vec::with_capacity(bytes + 2);
    out.push(b'{');
    for (name, value) in members {
        if out.len() > 1 {
            out.push(b',');
        }
        string(name, &mut out);
        out.push(b':');
        string(value, &mut out);
    }
    out.push(b'}');
    out.into()
}

/// The metadata of an entry whose fields are listed in it.
fn listed(fields: &[&[u8]], data: Option<usize>, event_type: &EventType, id: Option<EntryId>, last: &mut LastMetadata) -> Bytes {
    if fields.len() == 2 && data.is_some() && id.is_none() {
        return Bytes::from_static(ONLY_DATA);
    }
    let embedded = pairs(fields).position(|(name, value)| name == b"metadata" && can_lead(value));
    let in_data = if data.is_none() { first_texts(fields) } else { Vec::new() };
    last.write(|out| {
        open(embedded.map(|place| fields[place * 2 + 1]), id, out);
        out.push(b'[');
        let mut has_type = false;
        for (place, (name, value)) in pairs(fields).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            text_or_bytes(name, out);
            out.push(b',');
            if data == Some(place) {
                code(IS_DATA, out);
            } else if embedded == Some(place) {
                code(IS_METADATA + value.len() as u64, out);
            } else if !has_type && value[..] == *event_type.as_str().as_bytes() {
                has_type = true;
                code(IS_TYPE, out);
            } else if in_data.iter().any(|(_, member)| std::ptr::eq(member.as_ptr(), value.as_ptr()) && member.len() == value.len()) {
                code(IS_MEMBER, out);
            } else {
                text_or_bytes(value, out);
            }
        }
        out.extend_from_slice(b"]}");
    })
}

/// Begins metadata: what leads it, an id that does not fit elsewhere, and the name of the member that says how the fields were given.
fn open(lead: Option<&[u8]>, id: Option<EntryId>, out: &mut Vec<u8>) {
    match lead {
        Some(lead) => {
            out.extend_from_slice(&lead[..lead.len() - 1]);
            out.push(b',');
        }
        None => out.push(b'{'),
    }
    if let Some(id) = id {
        out.extend_from_slice(ID_MEMBER);
        out.extend_from_slice(id.digits(&mut [0; TEXT_BYTES_MAX]));
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(MEMBER);
}

/// Whether a value is a JSON object with members, so that its members can be the metadata's first.
fn can_lead(value: &[u8]) -> bool {
    if value.first() != Some(&b'{') || value.last() != Some(&b'}') {
        return false;
    }
    let members: Result<std::collections::BTreeMap<String, &RawValue>, _> = serde_json::from_slice(value);
    members.is_ok_and(|members| !members.is_empty() && !members.contains_key("redis") && !members.contains_key("redis_id"))
}

fn code(code: u64, out: &mut Vec<u8>) {
    match code {
        0..=9 => out.push(b"0123456789"[usize::try_from(code).expect("a digit")]),
        _ => out.extend_from_slice(code.to_string().as_bytes()),
    }
}

fn text_or_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if std::str::from_utf8(bytes).is_ok() {
        return string(bytes, out);
    }
    out.extend_from_slice(br#"{"b":""#);
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Adds text as a JSON string.
fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(place) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..place]);
        match rest[place] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
