//! Planted bugs: stores with one defect each, which the table must catch. They are what tests the table itself.
//!
//! Each is a few lines over a store that is correct; a check that none of them would fail proves little, and a bug that none of the
//! checks catches is a hole in the table. The defects are those that stores are known to have had.

mod appends;
mod content;
mod defect;
mod ordering;
mod reads;
mod records;
mod reopening;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use super::check::run_with_patience;
use super::{Outcome, Subject, checks};
use crate::SharedStore;
pub(super) use ordering::without_wake_ups;
use shelf::Shelf;

/// A store with one defect.
#[derive(Clone, Copy, Debug)]
pub struct PlantedBug {
    /// What the defect is, such as `half_an_append`.
    pub name: &'static str,
    /// What the store does wrong, in a sentence.
    pub story: &'static str,
    /// The name of the check that catches it.
    pub caught_by: &'static str,
    /// Adds the defect to a correct store that is opened for the time of that number, from 1.
    plant: fn(SharedStore, u64) -> SharedStore,
}

/// How often a check may try to catch its bug.
const TRIES: usize = 5;

/// All planted bugs.
pub fn planted_bugs() -> Vec<PlantedBug> {
    [appends::BUGS, ordering::BUGS, reads::BUGS, content::BUGS, records::BUGS, reopening::BUGS].concat()
}

impl PlantedBug {
    /// The defective store, under test.
    pub fn subject(&self) -> Arc<dyn Subject> {
        Arc::new(Shelf::with(self.name, self.plant))
    }

    /// Plays the check that is to catch the bug against it, a few times if it must, and gives what the check said.
    ///
    /// # Errors
    /// If the check did not notice the bug, or there is no such check.
    pub async fn caught(&self) -> Result<String, String> {
        let Self { name, caught_by, .. } = self;
        let check = checks().into_iter().find(|check| check.name == *caught_by);
        let check = check.ok_or_else(|| format!("there is no check {caught_by}, which is to catch {name}"))?;
        // What needs others to come between shows in nearly every run, but not in every one on a busy machine.
        for _ in 0..TRIES {
            match run_with_patience(&check, &self.subject(), Duration::from_secs(3)).await {
                Outcome::Failed { message } => return Ok(message),
                Outcome::Passed => {}
                Outcome::Skipped { reason } => return Err(format!("{caught_by} was skipped on {name}: {reason}")),
            }
        }
        Err(format!("{caught_by} did not catch {name} in {TRIES} tries"))
    }
}

/// The store that the bugs are planted in, without any: it passes every check, those that open it again too.
pub fn without_a_bug() -> Arc<dyn Subject> {
    Arc::new(Shelf::with("memory_kept", |store, _| store))
}
