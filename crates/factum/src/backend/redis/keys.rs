//! The names of a partition's keys, and which partition a stream is in.

use crate::{RecordName, StreamId};

/// The keys of one partition. They share one hash tag, so that a cluster keeps them together.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// `{name:partition}:`.
    prefix: String,
    log: String,
}

impl Keys {
    pub(super) fn new(name: &str, partition: u32) -> Self {
        let prefix = format!("{{{name}:{partition}}}:");
        let log = format!("{prefix}log");
        Self { prefix, log }
    }

    /// The log: where each event is, in order.
    pub(super) fn log(&self) -> &str {
        &self.log
    }

    /// The last position, and what else there is one of.
    pub(super) fn meta(&self) -> String {
        format!("{}meta", self.prefix)
    }

    /// A stream's events.
    pub(super) fn stream(&self, stream: &str) -> String {
        format!("{}stream:{stream}", self.prefix)
    }

    /// A stream's version, and where its ids stand.
    pub(super) fn ids(&self, stream: &StreamId) -> String {
        format!("{}ids:{stream}", self.prefix)
    }

    /// The streams, of a category or all, in the order of their first events.
    pub(super) fn streams(&self, category: Option<&str>) -> String {
        match category {
            Some(category) => format!("{}streams:{category}", self.prefix),
            None => format!("{}streams", self.prefix),
        }
    }

    /// The positions of a category's events.
    pub(super) fn category(&self, category: &str) -> String {
        format!("{}category:{category}", self.prefix)
    }

    /// The positions of a type's events.
    pub(super) fn event_type(&self, event_type: &str) -> String {
        format!("{}type:{event_type}", self.prefix)
    }

    /// The names of all categories.
    pub(super) fn categories(&self) -> String {
        format!("{}categories", self.prefix)
    }

    /// The names of all types.
    pub(super) fn types(&self) -> String {
        format!("{}types", self.prefix)
    }

    /// A record.
    pub(super) fn record(&self, name: &RecordName) -> String {
        format!("{}record:{name}", self.prefix)
    }
}

/// The partition, of so many, that `name` belongs to. As with Redis's own keys, of a name with braces only what they hold counts.
pub(super) fn partition_of(name: &str, partitions: u32) -> u32 {
    let braced = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(inner, _)| inner);
    let counted = braced.filter(|inner| !inner.is_empty()).unwrap_or(name);
    u32::try_from(hash(counted.as_bytes()) % u64::from(partitions)).expect("it is less than a u32")
}

/// FNV-1a, with the bits mixed once more: the low ones decide. It decides where streams are, so it never changes.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_stay_where_they_are() {
        // Stores exist whose streams were placed so.
        let placed: Vec<_> = ["Order-1", "Order-2", "Kunde-é", "settings"].map(|name| partition_of(name, 16)).into();
        assert_eq!(placed, PLACED);
    }
    const PLACED: [u32; 4] = [1, 4, 5, 14];

    #[test]
    fn braces_keep_streams_together() {
        for partitions in [2, 7, 64] {
            let places = ["Order-{42}-head", "Line-{42}-1", "42"].map(|name| partition_of(name, partitions));
            assert!(places.iter().all(|place| *place == places[0]));
        }
        assert_eq!(partition_of("a{}b", 1_000), partition_of("a{}b", 1_000));
    }

    #[test]
    fn streams_are_spread_evenly() {
        let mut counts = [0u32; 8];
        for number in 0..8_000 {
            counts[partition_of(&format!("Order-{number}"), 8) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
