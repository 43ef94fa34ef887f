//! Random commands through several repositories at once, each with its own memory and snapshots, against a reference that is too simple to
//! be wrong: one list of events, and what each key did.

use std::collections::HashMap;

use factum::{CommandError, CommandOptions, Decider, Decision, Repository, SharedStore, Snapshots, StreamVersion};
use proptest::prelude::*;

use crate::account::{Account, AccountEvent, Balance, Command, Refusal};
use crate::memory;

/// All that a command may come to.
#[derive(Debug, PartialEq)]
enum Answer {
    Recorded { reply: u64, version: u64, is_duplicate: bool },
    Nothing { reply: u64, version: u64 },
    Refused(Refusal),
    KeyReused { version: u64 },
}

#[derive(Default)]
struct Reference {
    events: Vec<AccountEvent>,
    /// How many events there were before the command of that key, and how many it recorded.
    keys: HashMap<u8, (usize, usize)>,
}

impl Reference {
    fn state_at(&self, version: usize) -> Balance {
        let mut state = Balance::default();
        self.events[..version].iter().for_each(|event| Account::evolve(&mut state, event));
        state
    }

    fn execute(&mut self, command: &Command, key: Option<u8>) -> Answer {
        if let Some((before, count)) = key.and_then(|key| self.keys.get(&key).copied()) {
            let recorded = &self.events[before..before + count];
            return match Account::decide(&self.state_at(before), command) {
                Ok(Decision { events, reply }) if events == recorded => {
                    Answer::Recorded { reply, version: (before + count) as u64, is_duplicate: true }
                }
                _ => Answer::KeyReused { version: before as u64 + 1 },
            };
        }
        let before = self.events.len();
        match Account::decide(&self.state_at(before), command) {
            Err(refusal) => Answer::Refused(refusal),
            Ok(Decision { events, reply }) if events.is_empty() => Answer::Nothing { reply, version: before as u64 },
            Ok(Decision { events, reply }) => {
                key.map(|key| self.keys.insert(key, (before, events.len())));
                self.events.extend(events);
                Answer::Recorded { reply, version: self.events.len() as u64, is_duplicate: false }
            }
        }
    }
}

async fn execute(accounts: &Repository<Account>, command: &Command, key: Option<u8>) -> Answer {
    let options = CommandOptions { key: key.map(|key| key.to_string()), ..CommandOptions::default() };
    match accounts.execute_with("1", command, options).await {
        Ok(done) if done.receipt.is_none() => Answer::Nothing { reply: done.reply, version: done.version.get() },
        Ok(done) => Answer::Recorded { is_duplicate: done.is_duplicate(), reply: done.reply, version: done.version.get() },
        Err(CommandError::Refused(refusal)) => Answer::Refused(refusal),
        Err(CommandError::KeyReused { version, .. }) => Answer::KeyReused { version: version.get() },
        Err(error) => panic!("{error}"),
    }
}

/// Repositories that differ in all that must make no difference.
fn repositories(store: &SharedStore) -> Vec<Repository<Account>> {
    vec![
        Repository::new(store.clone()),
        Repository::new(store.clone()).caching(0),
        Repository::new(store.clone()).snapshots(Snapshots::every(3)),
        Repository::new(store.clone()).caching(0).snapshots(Snapshots::after_replaying(2)),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => Just(Command::Open { owner: "ann" }),
        1 => Just(Command::EnsureOpen),
        4 => (1..6u64).prop_map(|amount| Command::Deposit { amount }),
        3 => (1..6u64).prop_map(|amount| Command::Withdraw { amount }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn repositories_agree_with_the_reference(
        steps in proptest::collection::vec((commands(), 0..4usize, proptest::option::of(0..6u8), any::<bool>()), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let store = memory().await;
            let mut reference = Reference::default();
            let repositories = repositories(&store);
            for (command, which, key, settles) in steps {
                let accounts = &repositories[which];
                prop_assert_eq!(execute(accounts, &command, key).await, reference.execute(&command, key), "{:?} {:?}", command, key);
                if settles {
                    accounts.settle().await;
                }
            }
            for accounts in &repositories {
                for version in 0..=reference.events.len() {
                    let then = accounts.get_at("1", StreamVersion::new(version as u64)).await.expect("it is read");
                    prop_assert_eq!(then.state, reference.state_at(version));
                }
                let now = accounts.get("1").await.expect("it is read").map(|loaded| loaded.state).unwrap_or_default();
                prop_assert_eq!(now, reference.state_at(reference.events.len()));
            }
            Ok(())
        })?;
    }
}

fn cases() -> u32 {
    std::env::var("FACTUM_COMMAND_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}
