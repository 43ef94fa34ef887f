//! Copies of streams, for RENAME and COPY: the entries become events of the other stream too.

use std::sync::Arc;

use factum::{GlobalPosition, NewEvent, RecordedEvent, StreamId, StreamVersion};
use smallvec::SmallVec;

use super::key::Key;
use super::locate::entry_id;
use super::state::{Context, Load, State, Stop};
use crate::redis::entry::{EntryId, LastMetadata, event_of, fields_of, recorded_id};
use crate::redis::resp::Reply;

impl Context<'_> {
    /// Copies the stream at a key to another, with its groups and what is pending in them.
    pub(crate) fn copy_stream(&mut self, from: &Key, to: &Key) -> Result<(), Stop> {
        let source = self.known_stream(from).clone();
        let events_max = self.limits.events_max;
        if source.len() > events_max as u64 {
            let text = format!("ERR the stream has {} entries; at most {events_max} can be copied to another name as one", source.len());
            return Err(Reply::Error(text.into()).into());
        }
        let Some((durable, mut events)) = self.state.copied.get(from).cloned() else {
            return Err(Stop::Load(vec![Load::Events(from.clone())]));
        };
        events.extend(self.state.on_their_way(&source.id, durable));
        if events.last().map_or(durable, |event| event.version.get().max(durable)) < source.version {
            return Err(Stop::Load(vec![Load::Events(from.clone())]));
        }
        let bytes = events.iter().map(|event| event.data.len() + event.metadata.len() + 256).sum();
        if !self.has_room(events.len(), bytes) {
            return Err(Stop::Full);
        }
        self.slot(to)?;
        self.remove(to);
        self.create_stream(to)?;
        let (generation, before) = (self.known_stream(to).generation, self.known_stream(to).version);
        let visible = events.iter().filter(|event| source.is_visible(event.version.get()));
        let mut versions = Vec::new();
        for event in visible {
            let id = entry_id(event);
            let copy = self.copy_of(event, id, generation);
            self.event(to, id, copy);
            versions.push(event.version.get());
        }
        let copy = self.known_stream(to);
        (copy.last_id, copy.entries_added, copy.max_deleted) = (source.last_id, source.entries_added, source.max_deleted);
        let version_of = |version: u64| versions.binary_search(&version).map_or(0, |place| before + place as u64 + 1);
        for (name, group) in &source.groups {
            let number = copy.next_group;
            copy.next_group += 1;
            copy.groups.insert(name.clone(), Arc::new(group.copy(number, version_of)));
        }
        self.changed(to);
        Ok(())
    }

    /// An event with the same content, that is an entry with this id wherever it was written.
    fn copy_of(&self, event: &RecordedEvent, id: EntryId, generation: u32) -> NewEvent {
        let RecordedEvent { event_type, data, metadata, tags, occurred_at, .. } = event.clone();
        match id.uuid(generation).filter(|_| recorded_id(event).is_some()) {
            Some(uuid) => NewEvent { id: uuid, event_type, data, metadata, tags, occurred_at },
            None => {
                let fields = fields_of(event);
                let flat: SmallVec<[&[u8]; 16]> = fields.iter().flat_map(|(name, value)| [&name[..], &value[..]]).collect();
                let share = |place: usize| super::own(flat[place]);
                let copy = event_of(&flat, share, id, generation, &self.options.type_fields, &mut LastMetadata::default());
                NewEvent { tags, occurred_at, ..copy }
            }
        }
    }
}

impl State {
    /// The events of a stream behind a version that are in batches that were not sent yet.
    fn on_their_way(&self, stream: &StreamId, after: u64) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        let parts = self.closed.iter().chain([&self.open]).flat_map(|batch| &batch.parts);
        for part in parts.filter(|part| part.stream == *stream) {
            let before = part.expected.pinned().unwrap_or_default();
            for (event, version) in part.events.iter().zip(before.get() + 1..) {
                let NewEvent { id, event_type, data, metadata, tags, occurred_at } = event.clone();
                events.push(RecordedEvent {
                    position: GlobalPosition::START,
                    stream: stream.clone(),
                    version: StreamVersion::new(version),
                    id,
                    event_type,
                    recorded_at: jiff::Timestamp::UNIX_EPOCH,
                    occurred_at,
                    data,
                    metadata,
                    tags,
                });
            }
        }
        events.retain(|event| event.version.get() > after);
        events
    }
}
