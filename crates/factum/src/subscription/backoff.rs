//! How often something is tried again, and how long between two attempts.

use std::time::Duration;

/// Attempts, and pauses between them that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How often it is tried in all, the first time included.
    pub attempts_max: u32,
    /// The pause after the first failure; each later one is twice as long.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { attempts_max: 5, first: Duration::from_millis(100), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// One attempt, and no more.
    pub const ONCE: Self = Self { attempts_max: 1, first: Duration::ZERO, longest: Duration::ZERO };

    /// Whether there is another attempt after so many failures.
    pub const fn allows(&self, failures: u32) -> bool {
        failures < self.attempts_max
    }

    /// How long to wait after the failure of that number, from 1.
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { attempts_max: 3, first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let pauses = [1, 2, 3, 4, u32::MAX].map(|failures| backoff.pause(failures).as_secs());
        assert_eq!((pauses, backoff.allows(2), backoff.allows(3)), ([1, 2, 4, 5, 5], true, false));
    }
}
