//! Events as JSON: one object per line, for printing and for export.

use std::io::{self, Write};

use factum::{RecordedEvent, Tag};

use crate::{moment, payload};

/// Writes an event as every command prints it with `--json`, without an end of line.
///
/// `occurred_at` is `recorded_at` where the writer gave none. A payload that is not JSON is `null`, and stands in base64 beside it.
pub(crate) fn write_event(out: &mut dyn Write, event: &RecordedEvent) -> io::Result<()> {
    let RecordedEvent { position, stream, version, id, event_type, recorded_at, data, metadata, tags, .. } = event;
    write!(out, "{{\"position\":{position},\"stream\":")?;
    write_text(out, stream.as_str())?;
    write!(out, ",\"version\":{version},\"id\":\"{id}\",\"type\":")?;
    write_text(out, event_type.as_str())?;
    write!(out, ",\"recorded_at\":\"{}\"", moment::format(*recorded_at))?;
    write!(out, ",\"occurred_at\":\"{}\"", moment::format(event.happened_at()))?;
    write_payload(out, "data", data)?;
    if metadata.is_empty() {
        out.write_all(b",\"metadata\":null")?;
    } else {
        write_payload(out, "metadata", metadata)?;
    }
    out.write_all(b",\"tags\":")?;
    write_tags(out, tags)?;
    out.write_all(b"}")
}

/// Writes an event as a line of an export: what `factum import` needs to record the same event again, to the byte.
pub(crate) fn write_export(out: &mut dyn Write, event: &RecordedEvent) -> io::Result<()> {
    out.write_all(b"{\"stream\":")?;
    write_text(out, event.stream.as_str())?;
    out.write_all(b",\"type\":")?;
    write_text(out, event.event_type.as_str())?;
    write!(out, ",\"id\":\"{}\",\"time\":\"{}\"", event.id, moment::format(event.happened_at()))?;
    write_exact(out, "data", &event.data)?;
    if !event.metadata.is_empty() {
        write_exact(out, "metadata", &event.metadata)?;
    }
    if !event.tags.is_empty() {
        out.write_all(b",\"tags\":")?;
        write_tags(out, &event.tags)?;
    }
    out.write_all(b"}\n")
}

/// Writes a text as JSON.
pub(crate) fn write_text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

fn write_payload(out: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    match payload::as_json_line(bytes) {
        Some(json) => {
            write!(out, ",\"{name}\":")?;
            out.write_all(&json)
        }
        None => write!(out, ",\"{name}\":null,\"{name}_base64\":\"{}\"", payload::to_base64(bytes)),
    }
}

fn write_exact(out: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    if payload::survives_a_line(bytes) {
        write!(out, ",\"{name}\":")?;
        return out.write_all(bytes);
    }
    write!(out, ",\"{name}_base64\":\"{}\"", payload::to_base64(bytes))
}

fn write_tags(out: &mut dyn Write, tags: &[Tag]) -> io::Result<()> {
    out.write_all(b"[")?;
    for (index, tag) in tags.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write_text(out, tag.as_str())?;
    }
    out.write_all(b"]")
}
