//! An entry is an event: what XADD gives becomes one that every door can read, and every event becomes fields.
//!
//! The event's metadata ends with a member `redis` that says how the fields were given. `1` says that they are the members of the data, in
//! their order. Else it is a list of names and values in turn; a value is text, or a number that says where it stands:
//! 0 it is the event's type, 1 it is the event's data, 3 it is the member of the data that has the field's name, and 16 + n it is the first
//! n bytes of the metadata, of which the last is a closing brace. Bytes that are not text are an object `{"b": base64}`.

mod alike;
mod fields;
mod id;
mod reading;
mod shape;

pub(crate) use fields::{LastMetadata, event_of};
pub(crate) use id::{EntryId, TEXT_BYTES_MAX};
pub(crate) use reading::{fields_of, recorded_id};
pub(crate) use shape::Shapes;

/// How the metadata of most events ends, and all of it where that is all.
const ALL_IN_DATA: &[u8] = br#"{"redis":1}"#;
/// All of the metadata of an entry that has only the field `data`.
const ONLY_DATA: &[u8] = br#"{"redis":["data",1]}"#;
/// Where a list of fields begins.
const MEMBER: &[u8] = br#""redis":"#;
/// The member before it with an id that does not fit into the event's.
const ID_MEMBER: &[u8] = br#""redis_id":""#;

const IS_TYPE: u64 = 0;
const IS_DATA: u64 = 1;
const IS_MEMBER: u64 = 3;
const IS_METADATA: u64 = 16;
