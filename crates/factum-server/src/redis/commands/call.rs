//! What many commands have in common in how they are called: numbers, ids, and the errors of wrong calls.

use crate::redis::entry::EntryId;
use crate::redis::keyspace::Stop;
use crate::redis::resp::integer;

pub(super) const SYNTAX: Stop = Stop::error("ERR syntax error");
pub(super) const NOT_AN_INTEGER: Stop = Stop::error("ERR value is not an integer or out of range");
pub(super) const NOT_A_FLOAT: Stop = Stop::error("ERR value is not a valid float");
pub(super) const INVALID_ID: Stop = Stop::error("ERR Invalid stream ID specified as stream command argument");

/// A whole number.
pub(super) fn number(text: &[u8]) -> Result<i64, Stop> {
    integer(text).ok_or(NOT_AN_INTEGER)
}

/// An entry id, without the special ones; a missing sequence is `missing_seq`.
pub(super) fn id(text: &[u8], missing_seq: u64) -> Result<EntryId, Stop> {
    EntryId::parse(text, missing_seq).ok_or(INVALID_ID)
}

/// An entry id, where `-` is the lowest and `+` the highest.
pub(super) fn bound(text: &[u8], missing_seq: u64) -> Result<EntryId, Stop> {
    match text {
        b"-" => Ok(EntryId::MIN),
        b"+" => Ok(EntryId::MAX),
        _ => id(text, missing_seq),
    }
}

/// Whether an argument is this word, in any case.
pub(super) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}
