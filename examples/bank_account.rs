//! The bank account: many transfers at once, some of them sent twice, and not a cent is made or lost.
//!
//! A transfer is two commands on two accounts. Both carry the transfer's id as their key, so whoever is interrupted in between, or does not
//! know how it ended, does both again: what was done is not done twice, and what was not is done now.
//!
//! ```text
//! cargo run -p factum-examples --bin bank_account -- file:./bank
//! ```

use std::sync::Arc;

use factum::{CommandError, CommandOptions, Decider, Decision, Event, Repository, Retry, Uuid, connect};
use serde::{Deserialize, Serialize};

// --- The account -------------------------------------------------------------------------------------------------------------------

struct Account;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    AccountOpened { cents: u64 },
    MoneySent { cents: u64, to: String },
    MoneyReceived { cents: u64, from: String },
}

impl Event for AccountEvent {}

#[derive(Clone, Debug)]
enum Command {
    Open { cents: u64 },
    Send { cents: u64, to: String },
    Receive { cents: u64, from: String },
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("there is such an account")]
    Exists,
    #[error("there is no such account")]
    DoesNotExist,
    #[error("there are only {balance} cents, and {cents} are asked for")]
    NotEnough { balance: u64, cents: u64 },
}

impl Decider for Account {
    const CATEGORY: &'static str = "Account";
    /// The balance in cents, of an account that is there.
    type State = Option<u64>;
    type Command = Command;
    type Event = AccountEvent;
    /// The balance after it.
    type Reply = u64;
    type Error = Refusal;

    fn decide(balance: &Option<u64>, command: &Command) -> Result<Decision<AccountEvent, u64>, Refusal> {
        match (*balance, command.clone()) {
            (None, Command::Open { cents }) => Ok(Decision::of([AccountEvent::AccountOpened { cents }]).reply(cents)),
            (Some(_), Command::Open { .. }) => Err(Refusal::Exists),
            (None, _) => Err(Refusal::DoesNotExist),
            (Some(balance), Command::Send { cents, .. }) if cents > balance => Err(Refusal::NotEnough { balance, cents }),
            (Some(balance), Command::Send { cents, to }) => {
                Ok(Decision::of([AccountEvent::MoneySent { cents, to }]).reply(balance - cents))
            }
            (Some(balance), Command::Receive { cents, from }) => {
                Ok(Decision::of([AccountEvent::MoneyReceived { cents, from }]).reply(balance + cents))
            }
        }
    }

    fn evolve(balance: &mut Option<u64>, event: &AccountEvent) {
        let balance = balance.get_or_insert_default();
        match event {
            AccountEvent::AccountOpened { cents } => *balance = *cents,
            AccountEvent::MoneySent { cents, .. } => *balance -= cents,
            AccountEvent::MoneyReceived { cents, .. } => *balance += cents,
        }
    }
}

// --- A transfer --------------------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Transfer {
    id: String,
    from: String,
    to: String,
    cents: u64,
}

/// Does the transfer, or finishes it, or finds that it is done. Returns how many conflicts it met.
async fn carry_out(accounts: &Repository<Account>, transfer: &Transfer) -> Result<u32, CommandError<Refusal>> {
    let Transfer { id, from, to, cents } = transfer;
    let once = || CommandOptions::key(format!("transfer-{id}"));
    let sent = accounts.execute_with(from, Command::Send { cents: *cents, to: to.clone() }, once()).await?;
    let received = accounts.execute_with(to, Command::Receive { cents: *cents, from: from.clone() }, once()).await?;
    Ok(sent.conflicts + received.conflicts)
}

// --- At work -----------------------------------------------------------------------------------------------------------------------

const ACCOUNTS: usize = 4;
const TELLERS: usize = 8;
const TRANSFERS_EACH: usize = 10;
const CENTS_EACH: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let store = connect(&url).await?;
    // Eight tellers on four accounts meet often: give them time.
    let retry = Retry { attempts: 200, ..Retry::default() };
    let accounts = Arc::new(Repository::<Account>::new(store.clone()).retrying(retry));

    let bank = Uuid::now_v7();
    let names: Arc<Vec<String>> = Arc::new((0..ACCOUNTS).map(|number| format!("{bank}-{number}")).collect());
    for name in names.iter() {
        accounts.execute(name, Command::Open { cents: CENTS_EACH }).await?;
    }

    let mut tellers = Vec::new();
    for teller in 0..TELLERS {
        let (accounts, names) = (accounts.clone(), names.clone());
        tellers.push(tokio::spawn(async move {
            let (mut conflicts, mut refused) = (0, 0);
            for number in 0..TRANSFERS_EACH {
                let (from, to) = ((teller + number) % ACCOUNTS, (teller + 2 * number + 1) % ACCOUNTS);
                if from == to {
                    continue;
                }
                let cents = 100 + 37 * number as u64;
                let transfer =
                    Transfer { id: format!("{bank}-{teller}-{number}"), from: names[from].clone(), to: names[to].clone(), cents };
                // Each transfer is sent twice: nobody is sure that the first was heard.
                for _ in 0..2 {
                    match carry_out(&accounts, &transfer).await {
                        Ok(met) => conflicts += met,
                        Err(CommandError::Refused(Refusal::NotEnough { .. })) => refused += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok((conflicts, refused))
        }));
    }
    let (mut conflicts, mut refused) = (0, 0);
    for teller in tellers {
        let (met, not_enough) = teller.await??;
        (conflicts, refused) = (conflicts + met, refused + not_enough);
    }

    let mut total = 0;
    for name in names.iter() {
        let account = accounts.get(name).await?.ok_or("it is there")?;
        println!("account {}: {:?} cents after {} bookings", &name[name.len() - 1..], account.state, account.version);
        total += account.state.unwrap_or_default();
    }
    println!("{conflicts} conflicts were met and resolved, {refused} transfers were refused");
    println!("in all: {total} cents");
    assert_eq!(total, CENTS_EACH * ACCOUNTS as u64, "no cent is made or lost");

    let unknown = accounts.execute(format!("{bank}-9"), Command::Receive { cents: 1, from: names[0].clone() }).await;
    assert_eq!(unknown.expect_err("there is none").refused(), Some(Refusal::DoesNotExist));
    let again = accounts.execute(&names[0], Command::Open { cents: 1 }).await;
    assert_eq!(again.expect_err("it is open").refused(), Some(Refusal::Exists));
    store.close().await?;
    Ok(())
}

// --- Its tests ---------------------------------------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use factum::testing::given;

    use super::*;

    #[test]
    fn nobody_sends_more_than_there_is() {
        let (opened, to) = (|| AccountEvent::AccountOpened { cents: 500 }, "8".to_owned());
        let send = |cents| Command::Send { cents, to: to.clone() };
        given::<Account>([opened()]).when(send(501)).then_refused(Refusal::NotEnough { balance: 500, cents: 501 });
        given::<Account>([opened()]).when(send(500)).then_events([AccountEvent::MoneySent { cents: 500, to: to.clone() }]).then_reply(0);
        given::<Account>([]).when(send(1)).then_refused(Refusal::DoesNotExist);
    }
}
