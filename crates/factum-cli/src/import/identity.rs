//! Ids for lines that have none: made of what the line says, so that importing the same file again is recognised.

use std::collections::HashMap;

use factum::{NewEvent, StreamId, Uuid};
use foldhash::fast::RandomState;
use sha1::{Digest, Sha1};

use crate::moment;

/// What ids made here are version 5 of.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_b2ea_91c4_4c7e_9d4b_5f2a_7c31_e806);

/// Makes ids, and remembers how often each line has come.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// Lines that say the same are different events; what tells them apart is which of them it is. Half of an id is enough to count
    /// by: two lines that share it by chance only count together.
    seen: HashMap<u64, u32, RandomState>,
    content: Vec<u8>,
}

impl Identities {
    /// The id of an event that was given none.
    pub(super) fn of(&mut self, stream: &StreamId, event: &NewEvent) -> Uuid {
        self.content.clear();
        let time = event.occurred_at.map(moment::format).unwrap_or_default();
        let texts = [stream.as_str().as_bytes(), event.event_type.as_str().as_bytes(), time.as_bytes(), &event.data, &event.metadata];
        for text in texts.into_iter().chain(event.tags.iter().map(|tag| tag.as_str().as_bytes())) {
            self.content.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.content.extend_from_slice(text);
        }
        let first = version_5(NAMESPACE, &self.content);
        let seen = self.seen.entry(first.as_u64_pair().1).or_default();
        *seen = seen.saturating_add(1);
        if *seen == 1 { first } else { version_5(first, &u64::from(*seen).to_le_bytes()) }
    }
}

/// As `Uuid::new_v5`, but with the processor's own SHA-1 where it has one: an import of lines without ids spends its time here.
fn version_5(namespace: Uuid, name: &[u8]) -> Uuid {
    let digest = Sha1::new_with_prefix(namespace.as_bytes()).chain_update(name).finalize();
    let (first, _) = digest.split_first_chunk().expect("SHA-1 gives 20 bytes");
    uuid::Builder::from_sha1_bytes(*first).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_everybody_else_would_make() {
        assert_eq!(version_5(Uuid::NAMESPACE_URL, b"factum"), Uuid::new_v5(&Uuid::NAMESPACE_URL, b"factum"));
    }
    use factum::EventType;

    #[test]
    fn the_same_lines_get_the_same_ids_and_repeated_lines_different_ones() -> factum::Result<()> {
        let stream = StreamId::new("Order-1")?;
        let mut event = NewEvent::new(EventType::new("Placed")?, "{}");
        let (mut one, mut two) = (Identities::default(), Identities::default());
        let first = one.of(&stream, &event);
        let second = one.of(&stream, &event);
        assert_ne!(first, second);
        assert_eq!([first, second], [two.of(&stream, &event), two.of(&stream, &event)]);
        event.metadata = "{}".into();
        assert_ne!(one.of(&stream, &event), one.of(&StreamId::new("Order-2")?, &event));
        Ok(())
    }
}
