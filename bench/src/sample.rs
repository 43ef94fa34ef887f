//! The events that are measured: orders, many streams of them, their events interleaved as they come in real life.
//!
//! Everything follows from an event's number, so that no process needs to remember what another wrote.

use bytes::Bytes;
use factum::{Append, ExpectedVersion, NewEvent, StreamId, Uuid};

/// The size of an event's data where nothing else is said.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// The type of one event in a hundred.
pub(crate) const RARE_TYPE: &str = "OrderDisputed";
/// The category of one stream in a hundred.
pub(crate) const RARE_CATEGORY: &str = "Refund";

const TYPES: [&str; 8] =
    ["OrderPlaced", "OrderPaid", "OrderPacked", "OrderShipped", "OrderDelivered", "AddressChanged", "ItemAdded", "ItemRemoved"];
/// 2026-01-01, in milliseconds since 1970: ids look as if they were made from then on, a thousand in a millisecond.
const FIRST_MILLISECOND: u128 = 1_767_225_600_000;

/// Events over a number of streams: event `n` belongs to stream `n % streams`.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    streams: u64,
    payloads: Vec<Bytes>,
    types: Vec<factum::EventType>,
    rare: factum::EventType,
}

impl Sample {
    pub(crate) fn new(streams: u64, payload_bytes: usize) -> Self {
        let named = |name: &str| factum::EventType::new(name).expect("these are short names");
        Self {
            streams,
            payloads: (0..256).map(|seed| payload(seed, payload_bytes)).collect(),
            types: TYPES.into_iter().map(named).collect(),
            rare: named(RARE_TYPE),
        }
    }

    pub(crate) fn streams(&self) -> u64 {
        self.streams
    }

    /// The stream of that number.
    pub(crate) fn stream(&self, number: u64) -> StreamId {
        let category = if number % 100 == 3 { RARE_CATEGORY } else { "Order" };
        StreamId::new(format!("{category}-{number:07}")).expect("these are short names")
    }

    /// Event `number`.
    pub(crate) fn event(&self, number: u64) -> NewEvent {
        let round = number / self.streams;
        let event_type = if (number + round) % 100 == 7 { &self.rare } else { &self.types[index(round, self.types.len())] };
        NewEvent {
            id: id(number),
            event_type: event_type.clone(),
            data: self.payloads[index(number, self.payloads.len())].clone(),
            metadata: Bytes::new(),
            tags: Vec::new(),
            occurred_at: None,
        }
    }

    /// The append of events `first` to `first + count - 1`, each where it belongs.
    pub(crate) fn append(&self, first: u64, count: u64) -> Append {
        let add = |append: Append, number: u64| {
            let expected = ExpectedVersion::exact(number / self.streams);
            append.and_to(self.stream(number % self.streams), expected, [self.event(number)])
        };
        (first..first + count).fold(Append::default(), add)
    }
}

/// An id as version 7 makes them, unique for each number, without asking the clock or the system's randomness each time.
pub(crate) fn id(number: u64) -> Uuid {
    let millisecond = FIRST_MILLISECOND + u128::from(number / 1_000);
    let random = u128::from(scrambled(number)) & 0x3fff_ffff_ffff_ffff;
    Uuid::from_u128(millisecond << 80 | 7 << 76 | u128::from(number % 1_000) << 64 | 2 << 62 | random)
}

/// A number that looks like chance and is a different one for each `number`.
pub(crate) fn scrambled(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x81da_def4_bc2d_d44d);
    mixed ^ mixed >> 33
}

/// An order in JSON, of exactly that size if it can be.
fn payload(seed: u64, bytes: usize) -> Bytes {
    let order = format!(r#"{{"order":{},"amount":{}.{:02}"#, scrambled(seed) % 10_000_000, seed % 900, seed % 100);
    let rest = bytes.saturating_sub(order.len() + r#","note":""}"#.len());
    let letter = |at: usize| char::from(b'a' + u8::try_from(scrambled(seed << 16 | at as u64) % 26).expect("it is less than 26"));
    let note: String = (0..rest).map(letter).collect();
    Bytes::from(format!(r#"{order},"note":"{note}"}}"#))
}

fn index(number: u64, len: usize) -> usize {
    usize::try_from(number % len as u64).expect("it is less than a length")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_payload_is_json_of_the_size_asked_for() {
        for seed in 0..100 {
            let payload = payload(seed, PAYLOAD_BYTES);
            assert_eq!(payload.len(), PAYLOAD_BYTES);
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        }
    }

    #[test]
    fn ids_are_unique_and_of_version_7() {
        let ids: HashSet<Uuid> = (0..10_000).map(id).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn one_event_and_one_stream_in_a_hundred_are_rare() {
        let sample = Sample::new(1_000, 64);
        let rare = (0..100_000).filter(|number| sample.event(*number).event_type == RARE_TYPE).count();
        assert_eq!(rare, 1_000);
        let rare = (0..1_000).filter(|number| sample.stream(*number).category_str() == RARE_CATEGORY).count();
        assert_eq!(rare, 10);
    }
}
