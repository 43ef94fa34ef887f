//! Folds: how a state is made of events. Pure: events in, states out.

mod jq;
mod merge_patch;
mod null_fields;

use factum::RecordedEvent;

use crate::json::{self, Val};
use crate::{moment, payload};

pub(crate) use jq::Program;

/// How a state is made of events.
pub(crate) enum Fold {
    /// Each event's data merged into the state, as RFC 7396 says.
    Merge,
    /// A jq program over `{state, event}`, whose result is the next state.
    Program(Box<Program>),
}

impl Fold {
    /// The state after `event`, from the state before it; the state before a stream's first event is null.
    ///
    /// # Errors
    /// Why there is no next state, in words; the caller says for which event.
    pub(crate) fn apply(&self, state: Val, event: &RecordedEvent) -> Result<Val, String> {
        match self {
            Self::Merge => Ok(merge_patch::merged(state, &payload_value("data", &event.data)?)),
            Self::Program(program) => program.run(state, event_value(event)?),
        }
    }
}

/// The event as programs see it, which is as every command prints it.
fn event_value(event: &RecordedEvent) -> Result<Val, String> {
    let metadata = if event.metadata.is_empty() { Val::Null } else { payload_value("metadata", &event.metadata)? };
    let tags: Vec<Val> = event.tags.iter().map(|tag| json::text(tag.as_str())).collect();
    let fields = [
        ("position", number(event.position.number())),
        ("stream", json::text(event.stream.as_str())),
        ("version", number(event.version.get())),
        ("id", json::text(event.id.to_string())),
        ("type", json::text(event.event_type.as_str())),
        ("recorded_at", json::text(moment::format(event.recorded_at))),
        ("occurred_at", json::text(moment::format(event.happened_at()))),
        ("data", payload_value("data", &event.data)?),
        ("metadata", metadata),
        ("tags", tags.into_iter().collect()),
    ];
    Ok(Val::obj(fields.into_iter().map(|(name, value)| (json::text(name), value)).collect()))
}

fn payload_value(what: &str, bytes: &[u8]) -> Result<Val, String> {
    payload::check_json(bytes).map_err(|error| format!("its {what} is not JSON: {error}"))?;
    json::read(bytes).map_err(|error| format!("its {what} can't be folded: {error}"))
}

fn number(number: u64) -> Val {
    Val::Num(json::Num::from_integral(number))
}
