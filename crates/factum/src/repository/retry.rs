//! How often a command is tried, and the rest between two attempts.

use std::time::Duration;

/// How often a command is tried that meets conflicts, and how long it rests before the next attempt.
///
/// The second attempt comes at once: what it met is known by then. Before later ones it rests for a random part of a time that doubles each
/// time, so that those who collided do not collide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often at most, at least once.
    pub attempts: u32,
    /// The longest rest before the third attempt.
    pub delay: Duration,
    /// The longest rest before any.
    pub delay_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 12, delay: Duration::from_millis(1), delay_max: Duration::from_millis(200) }
    }
}

impl Retry {
    /// Tries once, and no more.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// So many attempts.
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// Rests after `tried` attempts; `false` if there is no further one.
    pub(super) async fn rest(&self, tried: u32) -> bool {
        if tried >= self.attempts {
            return false;
        }
        let delay = self.delay_after(tried).mul_f64(fastrand::f64());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        true
    }

    fn delay_after(&self, tried: u32) -> Duration {
        if tried < 2 {
            return Duration::ZERO;
        }
        self.delay.saturating_mul(1 << (tried - 2).min(20)).min(self.delay_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_doubles_up_to_a_bound() {
        let retry = Retry::default();
        let millis: Vec<u128> = (1..=12).map(|tried| retry.delay_after(tried).as_millis()).collect();
        assert_eq!(millis, [0, 1, 2, 4, 8, 16, 32, 64, 128, 200, 200, 200]);
        assert_eq!(retry.delay_after(u32::MAX), retry.delay_max);
    }
}
