//! JSON values: reading, writing, and changing them, with numbers and the order of names kept as they were written.

use std::fmt::Write;

pub(crate) use jaq_json::{Num, Val};

/// How deep a value may be nested; everything that walks one does so by recursion.
const DEPTH_MAX: usize = 256;

/// Reads one value from bytes that are known to be JSON.
pub(crate) fn read(json: &[u8]) -> Result<Val, String> {
    if depth(json) > DEPTH_MAX {
        return Err(format!("it is nested more than {DEPTH_MAX} deep"));
    }
    jaq_json::read::parse_single(json).map_err(|error| error.to_string())
}

/// A text as a value.
pub(crate) fn text(text: impl Into<String>) -> Val {
    Val::from(text.into())
}

/// The value on one line.
pub(crate) fn line(value: &Val) -> String {
    let mut out = String::new();
    write(&mut out, value, None, 0);
    out
}

/// The value on as many lines as people like, each but the first indented by `indent` columns.
pub(crate) fn pretty(value: &Val, indent: usize) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(indent), 0);
    out
}

/// The name of an object's field. Programs may make fields with names that are no texts; JSON has none.
pub(crate) fn name(key: &Val) -> String {
    match key {
        Val::TStr(bytes) | Val::BStr(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => line(other),
    }
}

fn write(out: &mut String, value: &Val, indent: Option<usize>, level: usize) {
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(true) => out.push_str("true"),
        Val::Bool(false) => out.push_str("false"),
        Val::Num(number) => write_number(out, number),
        Val::TStr(_) | Val::BStr(_) => write_text(out, &name(value)),
        Val::Arr(items) if items.is_empty() => out.push_str("[]"),
        Val::Obj(fields) if fields.is_empty() => out.push_str("{}"),
        Val::Arr(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index, indent, level + 1);
                write(out, item, indent, level + 1);
            }
            end(out, indent, level);
            out.push(']');
        }
        Val::Obj(fields) => {
            out.push('{');
            for (index, (key, field)) in fields.iter().enumerate() {
                separate(out, index, indent, level + 1);
                write_text(out, &name(key));
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(out, field, indent, level + 1);
            }
            end(out, indent, level);
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize, indent: Option<usize>, level: usize) {
    if index > 0 {
        out.push(',');
    }
    end(out, indent, level);
}

fn end(out: &mut String, indent: Option<usize>, level: usize) {
    if let Some(indent) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent + 2 * level));
    }
}

/// Programs may make numbers that JSON does not have; they are written as jq writes them.
fn write_number(out: &mut String, number: &Num) {
    match number {
        Num::Float(float) if float.is_nan() => out.push_str("null"),
        Num::Float(float) if float.is_infinite() => {
            out.push_str(if *float > 0.0 { "1.7976931348623157e308" } else { "-1.7976931348623157e308" })
        }
        number => write!(out, "{number}").expect("a string can be written to"),
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a text can be written as JSON"));
}

fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for json in [r#"{"b":1.50,"a":[1e3,12345678901234567890123,-0.1,"\n\"ü",null,true,{}]}"#, "[]", "\"\u{1F600}\"", "-0.0", "0.10"] {
            assert_eq!(read(json.as_bytes()).map(|value| line(&value)).as_deref(), Ok(json));
        }
    }

    #[test]
    fn a_value_that_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(read(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(read(nested(500_000).as_bytes()).is_err());
    }
}
