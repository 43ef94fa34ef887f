//! One line of an import: what it may say, and how it is read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use factum::{EventType, NewEvent, StreamId, Tag, Uuid};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::import::identity::Identities;
use crate::payload;

/// The fields of a line, as they stand there.
#[derive(Debug, Default)]
struct Fields<'a> {
    stream: Option<&'a RawValue>,
    event_type: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
    occurred_at: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    metadata_base64: Option<&'a RawValue>,
    tags: Option<&'a RawValue>,
    /// The first field that is not read.
    unknown: Option<Cow<'a, str>>,
}

/// What a line says.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: StreamId,
    pub(super) event: NewEvent,
    /// A field that is not read, and whose content is therefore not kept.
    pub(super) unknown: Option<String>,
}

/// What reading one line after another keeps.
#[derive(Debug, Default)]
pub(super) struct Memory {
    identities: Identities,
    /// The types that came last: few are many lines' types, and need not be made again for each.
    types: VecDeque<EventType>,
}

impl Memory {
    const TYPES_MAX: usize = 16;

    fn event_type(&mut self, text: &str) -> Result<EventType, String> {
        if let Some(known) = self.types.iter().find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let made = EventType::new(text).map_err(|error| error.to_string())?;
        self.types.truncate(Self::TYPES_MAX - 1);
        self.types.push_front(made.clone());
        Ok(made)
    }
}

/// Reads a line; `block` is what it is a part of, so that its payload need not be copied.
pub(super) fn parse(line: &[u8], block: &Bytes, payload_bytes_max: u64, memory: &mut Memory) -> Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("it is not UTF-8 from byte {}", error.valid_up_to() + 1))?;
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| reason(&error))?;
    let unknown = fields.unknown.as_ref().map(|name| name.to_string());

    // A name that was mistyped is the likeliest reason why one is missing.
    let missing = |name: &str| match &unknown {
        Some(other) => format!("it has no \"{name}\", but {:?}", excerpt(other)),
        None => format!("it has no \"{name}\""),
    };

    let stream = string("stream", fields.stream)?.ok_or_else(|| missing("stream"))?;
    let stream = StreamId::new(stream).map_err(|error| error.to_string())?;
    let event_type = memory.event_type(&string("type", fields.event_type)?.ok_or_else(|| missing("type"))?)?;
    let data = match payload_of("data", fields.data, fields.data_base64, block)? {
        Some(data) => data,
        None => fields.data.map(|null| block.slice_ref(null.get().as_bytes())).ok_or_else(|| missing("data"))?,
    };
    let metadata = payload_of("metadata", fields.metadata, fields.metadata_base64, block)?.unwrap_or_default();
    let bytes = (data.len() + metadata.len()) as u64;
    if bytes > payload_bytes_max {
        return Err(factum::Error::PayloadTooLarge { bytes, bytes_max: payload_bytes_max }.to_string());
    }
    let occurred_at = match string("time", fields.time)? {
        Some(time) => Some(moment("time", &time)?),
        None => string("occurred_at", fields.occurred_at)?.map(|time| moment("occurred_at", &time)).transpose()?,
    };
    let tags = tags(fields.tags)?;
    let id = string("id", fields.id)?;
    let id = id.map(|id| Uuid::try_parse(&id).map_err(|_| format!("\"id\" is not a UUID: {:?}", excerpt(&id)))).transpose()?;
    let mut event = NewEvent { id: id.unwrap_or_default(), event_type, data, metadata, tags, occurred_at };
    if id.is_none() {
        event.id = memory.identities.of(&stream, &event);
    }
    Ok(Line { stream, event, unknown })
}

/// A payload, given as JSON or as bytes in base64; `None` if neither, or null.
fn payload_of(name: &str, json: Option<&RawValue>, base64: Option<&RawValue>, block: &Bytes) -> Result<Option<Bytes>, String> {
    let json = json.filter(|json| json.get() != "null");
    let Some(text) = string(&format_args!("{name}_base64"), base64)? else {
        return Ok(json.map(|json| block.slice_ref(json.get().as_bytes())));
    };
    if json.is_some() {
        return Err(format!("it has both \"{name}\" and \"{name}_base64\""));
    }
    match payload::from_base64(&text) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) => Err(format!("\"{name}_base64\" is not base64: {error}")),
    }
}

/// A field that is a string, `None` if it is not there or null.
fn string<'a>(name: &(impl fmt::Display + ?Sized), field: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, String> {
    let Some(json) = field.map(RawValue::get).filter(|json| *json != "null") else { return Ok(None) };
    let quoted = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    match quoted {
        Some(text) if memchr::memchr(b'\\', text.as_bytes()).is_none() => Ok(Some(Cow::Borrowed(text))),
        Some(_) => match serde_json::from_str(json) {
            Ok(text) => Ok(Some(Cow::Owned(text))),
            Err(error) => Err(format!("\"{name}\": {}", reason(&error))),
        },
        None => Err(format!("\"{name}\" is not a string: {}", excerpt(json))),
    }
}

fn moment(name: &str, text: &str) -> Result<factum::Timestamp, String> {
    text.parse().map_err(|_| format!("\"{name}\" is not a time in RFC 3339, such as 2026-03-01T12:30:00Z: {:?}", excerpt(text)))
}

fn tags(field: Option<&RawValue>) -> Result<Vec<Tag>, String> {
    let Some(json) = field.map(RawValue::get).filter(|json| *json != "null") else { return Ok(Vec::new()) };
    let texts: Vec<Cow<'_, str>> =
        serde_json::from_str(json).map_err(|_| format!("\"tags\" is not a list of strings: {}", excerpt(json)))?;
    if texts.len() > NewEvent::TAGS_MAX {
        return Err(format!("it has {} tags, the limit is {}", texts.len(), NewEvent::TAGS_MAX));
    }
    texts.iter().map(|text| Tag::new(text).map_err(|error| error.to_string())).collect()
}

/// What the parser says, without the number of a line that is always the first.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => format!("{text} at column {}", error.column()),
        None => text,
    }
}

/// The beginning of what a line says, short enough for one line of an error.
fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, {\"stream\", \"type\", \"data\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            let field = match name.as_ref() {
                "stream" => &mut fields.stream,
                "type" => &mut fields.event_type,
                "id" => &mut fields.id,
                "time" => &mut fields.time,
                "occurred_at" => &mut fields.occurred_at,
                "data" => &mut fields.data,
                "data_base64" => &mut fields.data_base64,
                "metadata" => &mut fields.metadata,
                "metadata_base64" => &mut fields.metadata_base64,
                "tags" => &mut fields.tags,
                // What a store gives an event itself; lines that a store printed have them.
                "position" | "version" | "recorded_at" => continue,
                _ => {
                    fields.unknown.get_or_insert(name);
                    continue;
                }
            };
            if field.replace(value).is_some() {
                return Err(serde::de::Error::custom(format_args!("it has \"{name}\" twice")));
            }
        }
        Ok(fields)
    }
}

/// The name of a field, not copied where it need not be.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Line, String> {
        let block = Bytes::copy_from_slice(line.as_bytes());
        parse(&block, &block, 100, &mut Memory::default())
    }

    #[test]
    fn a_line_is_read_to_the_byte() {
        let line = read(
            r#" {"stream":"Order-\u00e4","type":"Placed","id":"5fb0e53e-5011-5e4e-bf7c-483d960f4b2a","time":"2010-09-30T22:00:00.123456789Z",
            "data": {"b": 1.50, "a":[ ]} ,"metadata":{},"tags":["x","y"],"version":9,"more":{"x":1},"most":2} "#,
        )
        .expect("it is well-formed");
        assert_eq!(line.stream, "Order-ä");
        assert_eq!(&line.event.data[..], br#"{"b": 1.50, "a":[ ]}"#);
        assert_eq!(&line.event.metadata[..], b"{}");
        assert_eq!(line.event.occurred_at.map(|time| time.as_nanosecond() % 1_000_000_000), Some(123_456_789));
        assert_eq!(line.event.tags.len(), 2);
        assert_eq!(line.unknown.as_deref(), Some("more"));
    }

    #[test]
    fn null_is_as_good_as_missing_except_for_data() {
        let line =
            read(r#"{"stream":"s","type":"t","data":null,"id":null,"time":null,"metadata":null,"tags":null}"#).expect("it is well-formed");
        assert_eq!((&line.event.data[..], &line.event.metadata[..]), (&b"null"[..], &b""[..]));
        assert_eq!(line.event.id.get_version_num(), 5);
    }

    #[test]
    fn payloads_that_are_not_json_come_in_base64() {
        let line = read(r#"{"stream":"s","type":"t","data":null,"data_base64":"/wA=","metadata_base64":""}"#).expect("it is well-formed");
        assert_eq!((&line.event.data[..], &line.event.metadata[..]), (&b"\xff\0"[..], &b""[..]));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, reason) in [
            ("{", "EOF while parsing an object at column 1"),
            ("[]", "invalid type: sequence, expected an object, {\"stream\", \"type\", \"data\"} at column 0"),
            (r#"{"type":"t","data":{}}"#, "it has no \"stream\""),
            (r#"{"stream":"s","data":{}}"#, "it has no \"type\""),
            (r#"{"stream":"s","type":"t"}"#, "it has no \"data\""),
            (r#"{"stream":"s","tpye":"t","data":{}}"#, "it has no \"type\", but \"tpye\""),
            (r#"{"stream":5,"type":"t","data":{}}"#, "\"stream\" is not a string: 5"),
            (r#"{"stream":"a\nb","type":"t","data":{}}"#, "stream id \"a\\nb\" contains the control character U+000A"),
            (r#"{"stream":"s","type":"t","data":{},"id":"7"}"#, "\"id\" is not a UUID: \"7\""),
            (r#"{"stream":"s","type":"t","data":{},"tags":"x"}"#, "\"tags\" is not a list of strings: \"x\""),
            (r#"{"stream":"s","type":"t","data":{},"data":{}}"#, "it has \"data\" twice at column 45"),
            (r#"{"stream":"s","type":"t","data":{},"data_base64":""}"#, "it has both \"data\" and \"data_base64\""),
            (r#"{"stream":"s","type":"t","data":{}} x"#, "trailing characters at column 37"),
        ] {
            assert_eq!(read(line).map(|line| line.stream).expect_err("it is wrong"), reason, "{line}");
        }
        let time = read(r#"{"stream":"s","type":"t","data":{},"time":"yesterday"}"#).expect_err("it is wrong");
        assert!(time.starts_with("\"time\" is not a time in RFC 3339"), "{time}");
        let large = read(&format!(r#"{{"stream":"s","type":"t","data":"{}"}}"#, "x".repeat(99))).expect_err("it is wrong");
        assert!(large.starts_with("the payload has 101 bytes, the limit is 100"), "{large}");
    }
}
