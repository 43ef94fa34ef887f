//! The account that the tests are about: it is opened, holds money, and never less than none.

use factum::{Decider, Decision, Event, Repository, SharedStore};
use serde::{Deserialize, Serialize};

pub(crate) struct Account;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) is_open: bool,
    pub(crate) amount: u64,
    pub(crate) bookings: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    AccountOpened { owner: String },
    MoneyDeposited { amount: u64 },
    MoneyWithdrawn { amount: u64 },
    FeeCharged { amount: u64 },
}
impl Event for AccountEvent {}

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Open {
        owner: &'static str,
    },
    Deposit {
        amount: u64,
    },
    /// With a fee of 1, which is an event of its own.
    Withdraw {
        amount: u64,
    },
    /// Nothing happens to an account that is open.
    EnsureOpen,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is such an account")]
    IsOpen,
    #[error("there is no such account")]
    IsNotOpen,
    #[error("there is only {amount}")]
    TooLittle { amount: u64 },
}

impl Decider for Account {
    const CATEGORY: &'static str = "Account";
    type State = Balance;
    type Command = Command;
    type Event = AccountEvent;
    /// The amount after it.
    type Reply = u64;
    type Error = Refusal;

    fn decide(state: &Balance, command: &Command) -> Result<Decision<AccountEvent, u64>, Refusal> {
        use AccountEvent::{AccountOpened, FeeCharged, MoneyDeposited, MoneyWithdrawn};
        let opened = |owner: &str| Decision::of([AccountOpened { owner: owner.into() }]).reply(0);
        match *command {
            Command::Open { .. } if state.is_open => Err(Refusal::IsOpen),
            Command::Open { owner } => Ok(opened(owner)),
            Command::EnsureOpen if state.is_open => Ok(Decision::nothing().reply(state.amount)),
            Command::EnsureOpen => Ok(opened("nobody")),
            _ if !state.is_open => Err(Refusal::IsNotOpen),
            Command::Deposit { amount } => Ok(Decision::of([MoneyDeposited { amount }]).reply(state.amount + amount)),
            Command::Withdraw { amount } if amount + 1 > state.amount => Err(Refusal::TooLittle { amount: state.amount }),
            Command::Withdraw { amount } => {
                Ok(Decision::of([MoneyWithdrawn { amount }, FeeCharged { amount: 1 }]).reply(state.amount - amount - 1))
            }
        }
    }

    fn evolve(state: &mut Balance, event: &AccountEvent) {
        state.bookings += 1;
        match event {
            AccountEvent::AccountOpened { .. } => state.is_open = true,
            AccountEvent::MoneyDeposited { amount } => state.amount += amount,
            AccountEvent::MoneyWithdrawn { amount } | AccountEvent::FeeCharged { amount } => state.amount -= amount,
        }
    }
}

/// A repository with account 1 open, and an amount on it.
pub(crate) async fn with_account(store: &SharedStore, amount: u64) -> Repository<Account> {
    let accounts = Repository::<Account>::new(store.clone());
    accounts.execute("1", Command::Open { owner: "ann" }).await.expect("it is opened");
    accounts.execute("1", Command::Deposit { amount }).await.expect("it is deposited");
    accounts
}
