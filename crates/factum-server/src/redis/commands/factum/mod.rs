//! The commands that Redis has not: what an event store can do besides.
//!
//! They go to the store themselves, not through the keyspace's batch; the keyspace notices what they append as it notices what others do.

mod append;
mod groups;
mod read;
mod state;

use factum::{Category, Error, EventType, Query, QueryItem, RecordedEvent, StreamId, Tag};

use super::call::is;
use super::table::Verb;
use crate::redis::door::Door;
use crate::redis::error::of_store;
use crate::redis::keyspace::Key;
use crate::redis::resp::{Reply, Request, integer};
use crate::redis::unit::Data;

pub(crate) use groups::OrderedGroups;

/// What a call of one of them ends with.
type Called = Result<Reply, Reply>;

/// Carries out a command of ours.
pub(crate) async fn carry_out(door: &Door, data: &Data) -> Reply {
    let answer = match data.command.verb {
        Verb::FactumAppend => append::append(door, data).await,
        Verb::FactumRead => read::read(door, data).await,
        Verb::FactumState => state::state(door, data).await,
        _ => groups::group(door, data).await,
    };
    answer.unwrap_or_else(|error| error)
}

const SYNTAX: Reply = Reply::error("ERR syntax error");

fn failed(error: Error) -> Reply {
    of_store(&error)
}

/// An argument that has to be text.
fn text(request: &Request, place: usize) -> Result<&str, Reply> {
    let argument = request.get(place).ok_or(SYNTAX)?;
    std::str::from_utf8(argument).map_err(|_| Reply::error("ERR names, types, tags and ids are text in UTF-8"))
}

fn number(request: &Request, place: usize) -> Result<u64, Reply> {
    let number = request.get(place).and_then(integer).and_then(|number| u64::try_from(number).ok());
    number.ok_or(Reply::error("ERR value is not an integer or out of range"))
}

/// The stream that an argument names, as a key.
fn stream(data: &Data, place: usize) -> Result<StreamId, Reply> {
    if data.request.len() <= place {
        return Err(SYNTAX);
    }
    let key = Key { database: data.database, name: data.request.bytes(place) };
    key.stream().ok_or(Reply::error("ERR the name of the stream is too long"))
}

/// Reads an option that says which events: CATEGORY, TYPE or TAG, and a value. Says whether it is one.
fn selects(item: &mut QueryItem, request: &Request, place: usize) -> Result<bool, Reply> {
    let option = &request[place];
    if is(option, "category") {
        item.category = Some(Category::new(text(request, place + 1)?).map_err(failed)?);
    } else if is(option, "type") {
        item.types.push(EventType::new(text(request, place + 1)?).map_err(failed)?);
    } else if is(option, "tag") {
        item.tags.push(Tag::new(text(request, place + 1)?).map_err(failed)?);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn query(item: QueryItem) -> Query {
    if item == QueryItem::default() { Query::all() } else { Query::item(item) }
}

/// An event, with all that is known of it.
fn told(event: &RecordedEvent) -> Vec<(Reply, Reply)> {
    let count = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    vec![
        (Reply::text("position"), count(event.position.number())),
        (Reply::text("stream"), Reply::string(event.stream.as_str())),
        (Reply::text("version"), count(event.version.get())),
        (Reply::text("id"), Reply::string(event.id.to_string())),
        (Reply::text("type"), Reply::string(event.event_type.as_str())),
        (Reply::text("recorded-at"), Reply::string(event.recorded_at.to_string())),
        (Reply::text("data"), Reply::Bulk(event.data.clone())),
        (Reply::text("metadata"), Reply::Bulk(event.metadata.clone())),
        (Reply::text("tags"), Reply::Array(event.tags.iter().map(|tag| Reply::string(tag.as_str())).collect())),
    ]
}
