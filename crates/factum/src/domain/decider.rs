//! A decider: a domain model as two functions, without I/O.

use super::Event;

/// A domain model: what a command does to a state is decided, and what has happened changes the state.
///
/// ```
/// use factum::{Decider, Decision, Event};
/// use serde::{Deserialize, Serialize};
///
/// struct Account;
///
/// #[derive(Debug, Serialize, Deserialize)]
/// enum AccountEvent {
///     Deposited { amount: u64 },
///     Withdrawn { amount: u64 },
/// }
/// impl Event for AccountEvent {}
///
/// enum AccountCommand {
///     Deposit { amount: u64 },
///     Withdraw { amount: u64 },
/// }
///
/// #[derive(Debug, PartialEq)]
/// struct NotEnough {
///     balance: u64,
/// }
///
/// impl Decider for Account {
///     const CATEGORY: &'static str = "Account";
///     type State = u64;
///     type Command = AccountCommand;
///     type Event = AccountEvent;
///     type Reply = ();
///     type Error = NotEnough;
///
///     fn decide(balance: &u64, command: &AccountCommand) -> Result<Decision<AccountEvent>, NotEnough> {
///         match *command {
///             AccountCommand::Deposit { amount } => Ok(Decision::of([AccountEvent::Deposited { amount }])),
///             AccountCommand::Withdraw { amount } if amount > *balance => Err(NotEnough { balance: *balance }),
///             AccountCommand::Withdraw { amount } => Ok(Decision::of([AccountEvent::Withdrawn { amount }])),
///         }
///     }
///
///     fn evolve(balance: &mut u64, event: &AccountEvent) {
///         match event {
///             AccountEvent::Deposited { amount } => *balance += amount,
///             AccountEvent::Withdrawn { amount } => *balance -= amount,
///         }
///     }
/// }
/// ```
pub trait Decider: Send + Sync + 'static {
    /// The category of its streams: `Account` for streams such as `Account-7`. Without a `-`.
    const CATEGORY: &'static str;

    /// What decisions rest on. Its default is the state before the first event.
    type State: Default + Clone + Send + Sync + 'static;
    /// What is asked for.
    type Command: Send + Sync;
    /// What happens.
    type Event: Event;
    /// What whoever asked is told besides; `()` where there is nothing to tell.
    type Reply: Send;
    /// Why not.
    type Error: Send;

    /// Decides what a command does: the events that it makes happen, or why it is refused. The same state and command give the same
    /// decision, so time and chance come in with the command.
    ///
    /// # Errors
    /// The refusal.
    fn decide(state: &Self::State, command: &Self::Command) -> Result<Decision<Self::Event, Self::Reply>, Self::Error>;

    /// Applies one event. It can't fail: the event has already happened.
    fn evolve(state: &mut Self::State, event: &Self::Event);
}

/// What a command does, and what whoever asked for it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<E, R = ()> {
    /// What happens, in order; nothing, where all is as it was asked to be.
    pub events: Vec<E>,
    /// What whoever asked is told.
    pub reply: R,
}

impl<E> Decision<E> {
    /// These events happen.
    pub fn of(events: impl IntoIterator<Item = E>) -> Self {
        Self { events: events.into_iter().collect(), reply: () }
    }

    /// Nothing happens, and that is no refusal.
    pub fn nothing() -> Self {
        Self::of([])
    }

    /// The same, with a reply.
    pub fn reply<R>(self, reply: R) -> Decision<E, R> {
        Decision { events: self.events, reply }
    }
}
