//! Sets of versions, kept as ranges: which entries of a stream are hidden.

/// Versions, as disjoint ranges that rise and don't touch. Both ends belong to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    ranges: Vec<(u64, u64)>,
    count: u64,
}

impl Ranges {
    /// How many versions there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The ranges, rising.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + ExactSizeIterator + '_ {
        self.ranges.iter().copied()
    }

    /// Adds a range behind all others.
    pub(super) fn push(&mut self, first: u64, last: u64) {
        self.count += last - first + 1;
        self.ranges.push((first, last));
    }

    pub(crate) fn contains(&self, version: u64) -> bool {
        self.range_of(version).is_some()
    }

    /// The range that holds a version.
    pub(crate) fn range_of(&self, version: u64) -> Option<(u64, u64)> {
        let place = self.ranges.partition_point(|(_, last)| *last < version);
        self.ranges.get(place).copied().filter(|(first, _)| *first <= version)
    }

    /// Adds a version; `false` if it was there.
    pub(crate) fn insert(&mut self, version: u64) -> bool {
        let place = self.ranges.partition_point(|(_, last)| *last < version);
        if self.ranges.get(place).is_some_and(|(first, _)| *first <= version) {
            return false;
        }
        self.count += 1;
        let joins_before = place > 0 && self.ranges[place - 1].1 + 1 == version;
        let joins_after = self.ranges.get(place).is_some_and(|(first, _)| *first == version + 1);
        match (joins_before, joins_after) {
            (true, true) => {
                self.ranges[place - 1].1 = self.ranges[place].1;
                self.ranges.remove(place);
            }
            (true, false) => self.ranges[place - 1].1 = version,
            (false, true) => self.ranges[place].0 = version,
            (false, false) => self.ranges.insert(place, (version, version)),
        }
        true
    }

    /// Takes everything up to and with `version` out.
    pub(crate) fn remove_up_to(&mut self, version: u64) {
        let place = self.ranges.partition_point(|(_, last)| *last <= version);
        for (first, last) in self.ranges.drain(..place) {
            self.count -= last - first + 1;
        }
        if let Some((first, _)) = self.ranges.first_mut()
            && *first <= version
        {
            self.count -= version - *first + 1;
            *first = version + 1;
        }
    }

    /// How many of the versions are below `version`.
    pub(crate) fn count_below(&self, version: u64) -> u64 {
        self.ranges.iter().take_while(|(first, _)| *first < version).map(|(first, last)| (*last).min(version - 1) - first + 1).sum()
    }

    /// The `number`th version above `base` that is not in the set; the first is number 0.
    pub(crate) fn gap(&self, base: u64, number: u64) -> u64 {
        let mut version = base + 1 + number;
        for (first, last) in self.ranges.iter().filter(|(first, _)| *first > base) {
            if *first > version {
                break;
            }
            version += last - first + 1;
        }
        version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_set_that_they_stand_for() {
        let mut ranges = Ranges::default();
        let mut set = std::collections::BTreeSet::new();
        let mut random = 7_u64;
        for step in 0..2_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let version = random >> 33 & 255;
            if step % 97 == 96 {
                ranges.remove_up_to(version / 4);
                set.retain(|one| *one > version / 4);
            } else if version > 64 {
                assert_eq!(ranges.insert(version), set.insert(version));
            }
            assert_eq!(ranges.count(), set.len() as u64);
            assert_eq!(ranges.contains(version), set.contains(&version));
            assert_eq!(ranges.count_below(version), set.range(..version).count() as u64);
            let gaps: Vec<u64> = (65..400).filter(|one| !set.contains(one)).collect();
            assert_eq!(ranges.gap(64, version / 8), gaps[usize::try_from(version / 8).expect("small")]);
        }
    }
}
