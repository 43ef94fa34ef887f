//! Tests of a domain model: given what has happened, when this is asked for, then that happens; and of projections: given a log, then the
//! rows are these ([`given_log`]). With the feature `testing`.
//!
//! They run on the real store in memory, through a real repository: what is tested is also that events can be stored and read again.
//!
//! ```
//! # use factum::{Decider, Decision, Event};
//! # use serde::{Deserialize, Serialize};
//! # struct Account;
//! # #[derive(Debug, Serialize, Deserialize)]
//! # enum AccountEvent { Deposited { amount: u64 }, Withdrawn { amount: u64 } }
//! # impl Event for AccountEvent {}
//! # enum Command { Withdraw { amount: u64 } }
//! # #[derive(Debug, PartialEq)]
//! # struct NotEnough { balance: u64 }
//! # impl Decider for Account {
//! #     const CATEGORY: &'static str = "Account";
//! #     type State = u64;
//! #     type Command = Command;
//! #     type Event = AccountEvent;
//! #     type Reply = u64;
//! #     type Error = NotEnough;
//! #     fn decide(balance: &u64, command: &Command) -> Result<Decision<AccountEvent, u64>, NotEnough> {
//! #         let Command::Withdraw { amount } = *command;
//! #         if amount > *balance { return Err(NotEnough { balance: *balance }) }
//! #         Ok(Decision::of([AccountEvent::Withdrawn { amount }]).reply(balance - amount))
//! #     }
//! #     fn evolve(balance: &mut u64, event: &AccountEvent) {
//! #         match event {
//! #             AccountEvent::Deposited { amount } => *balance += amount,
//! #             AccountEvent::Withdrawn { amount } => *balance -= amount,
//! #         }
//! #     }
//! # }
//! use factum::testing::given;
//!
//! given::<Account>([AccountEvent::Deposited { amount: 10 }])
//!     .when(Command::Withdraw { amount: 4 })
//!     .then_events([AccountEvent::Withdrawn { amount: 4 }])
//!     .then_reply(6);
//!
//! given::<Account>([]).when(Command::Withdraw { amount: 4 }).then_refused(NotEnough { balance: 0 });
//! ```

mod difference;
mod golden;
mod projection;
mod specification;

pub use golden::Golden;
pub use projection::{GivenLog, ThenRows, given_log};
pub use specification::{Given, Then, given, given_object};

use std::future::Future;

use futures::FutureExt;

/// The answer of a future that waits for nothing.
#[track_caller]
fn at_once<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("the store in memory answers at once")
}
