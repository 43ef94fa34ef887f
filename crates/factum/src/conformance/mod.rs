//! The conformance table: what every store must do, one check each.
//!
//! A store is under test as a [`Subject`], which opens it at a place that the table names; each check gets an empty store of its own.
//! A check that needs what the store says it can't do is skipped, with the store's reason. The table is itself tested: the
//! [`planted_bugs`] are stores with one defect each, and every one of them must be caught.
//!
//! ```
//! # use std::sync::Arc;
//! use factum::conformance::{InMemory, Outcome, Subject, checks, run};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let subject: Arc<dyn Subject> = Arc::new(InMemory);
//! let check = checks().into_iter().find(|check| check.name == "versions_count_up_from_1").expect("it is in the table");
//! assert_eq!(run(&check, &subject).await, Outcome::Passed);
//! # }
//! ```

mod appending;
mod bugs;
mod check;
mod checkpoints;
mod closing;
mod concurrency;
mod conditions;
mod fidelity;
mod guarantees;
mod idempotency;
mod limits;
mod persistence;
mod querying;
mod reading;
mod records;
mod refusal;
mod sample;
mod stage;
mod stats;
mod streams;
mod subject;
mod subscribing;
mod together;
mod truncating;

pub use bugs::{PlantedBug, planted_bugs, without_a_bug};
pub use check::{Check, Need, Outcome, run};
pub use guarantees::guarantees;
#[cfg(feature = "embedded")]
pub use subject::InDirectory;
pub use subject::{InMemory, Subject};

/// The table, in the order in which the contract says it.
pub fn checks() -> Vec<Check> {
    [
        appending::CHECKS,
        fidelity::CHECKS,
        idempotency::CHECKS,
        conditions::CHECKS,
        together::CHECKS,
        concurrency::CHECKS,
        reading::CHECKS,
        querying::CHECKS,
        subscribing::CHECKS,
        streams::CHECKS,
        truncating::CHECKS,
        records::CHECKS,
        checkpoints::CHECKS,
        limits::CHECKS,
        stats::CHECKS,
        persistence::CHECKS,
        closing::CHECKS,
    ]
    .concat()
}
