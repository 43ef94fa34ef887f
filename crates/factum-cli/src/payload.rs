//! Payloads: bytes to the store, JSON to these tools wherever they are JSON.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

/// Checks that `bytes` are one JSON value.
pub(crate) fn check_json(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<&RawValue>(bytes).map(drop)
}

/// A JSON value without the space between its tokens, and so on one line. Names, numbers and their order stay as they are written.
pub(crate) fn compact(json: &[u8]) -> Vec<u8> {
    let mut compacted = Vec::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => continue,
            _ => {}
        }
        compacted.push(byte);
    }
    compacted
}

/// The payload as JSON on one line, `None` if it is not JSON.
pub(crate) fn as_json_line(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    check_json(bytes).ok()?;
    let on_one_line = memchr::memchr2(b'\n', b'\r', bytes).is_none();
    Some(if on_one_line { Cow::Borrowed(bytes) } else { Cow::Owned(compact(bytes)) })
}

/// Whether writing the payload into a line of JSON, and reading it from there, gives the same bytes.
pub(crate) fn survives_a_line(bytes: &[u8]) -> bool {
    let outer_space = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
    !outer_space(bytes.first()) && !outer_space(bytes.last()) && memchr::memchr(b'\n', bytes).is_none() && check_json(bytes).is_ok()
}

/// Bytes as text.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What [`to_base64`] wrote.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacting_touches_only_the_space_between_tokens() {
        let json = b"{ \"a b\" : [ 1.50 ,\n\t\"x \\\" y\" ] }";
        assert_eq!(compact(json), br#"{"a b":[1.50,"x \" y"]}"#);
    }

    #[test]
    fn only_what_a_line_keeps_to_the_byte_survives_it() {
        for (bytes, survives) in
            [(&b"{\"a\": 1}"[..], true), (b"1\r+", false), (b" 1", false), (b"{\n}", false), (b"", false), (b"\xff", false)]
        {
            assert_eq!(survives_a_line(bytes), survives, "{bytes:?}");
        }
    }
}
