//! A process that runs keyed commands is killed with SIGKILL at random moments. The next one begins by sending all of them again, as whoever
//! lost the answers would: those that were acknowledged are known, and each has happened once.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use factum::{CommandOptions, EventStoreExt, Repository, Snapshots, connect};

use crate::Outcome;
use crate::account::{Account, Command};

/// Where the child finds its store.
pub(crate) const DIRECTORY: &str = "FACTUM_COMMANDS_DIRECTORY";

const ROUNDS: u32 = 6;
/// Commands of each round, more than a child comes to.
const COMMANDS: u64 = 100_000;

fn open(store: factum::SharedStore) -> Repository<Account> {
    Repository::new(store).snapshots(Snapshots::every(50))
}

/// Command `number`: a deposit, or a withdrawal that records two events.
fn command(number: u64) -> Command {
    if number % 3 == 2 { Command::Withdraw { amount: 1 } } else { Command::Deposit { amount: 2 } }
}

/// The child: runs commands from the first that nobody was told of, until it is killed; says what was acknowledged.
pub(crate) async fn work(directory: &Path) -> Outcome {
    let store = connect(&format!("file:{}", directory.display())).await?;
    let accounts = open(store);
    let begin: u64 = std::env::var("FACTUM_COMMANDS_BEGIN")?.parse()?;
    accounts.execute_with("1", Command::Open { owner: "ann" }, CommandOptions::key("open")).await?;
    for number in begin..COMMANDS {
        accounts.execute_with("1", command(number), CommandOptions::key(number.to_string())).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{number}")?;
        out.flush()?;
    }
    Ok(())
}

pub(crate) async fn once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().join("store");
    // The first command that was not acknowledged.
    let mut open_from = 0;
    for round in 0..ROUNDS {
        let mut child = Process::new(std::env::current_exe()?)
            .env(DIRECTORY, &directory)
            .env("FACTUM_COMMANDS_BEGIN", open_from.to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("it is piped")?).lines();
        // It is killed some time after the first was acknowledged.
        let mut acknowledged = vec![lines.next().ok_or("the child ended early")??];
        tokio::time::sleep(Duration::from_millis(u64::from(17 + 31 * round))).await;
        child.kill()?;
        child.wait()?;
        acknowledged.extend(lines.collect::<Result<Vec<_>, _>>()?);
        // A last line may have been cut off.
        let told = acknowledged.iter().rev().find_map(|line| line.parse::<u64>().ok()).ok_or("something was acknowledged")?;

        let store = connect(&format!("file:{}", directory.display())).await?;
        let accounts = open(store.clone());
        for number in open_from..=told {
            let again = accounts.execute_with("1", command(number), CommandOptions::key(number.to_string())).await?;
            assert!(again.is_duplicate(), "command {number} was acknowledged, and is not known after round {round}");
        }
        // The one under way may have happened or not; now it has.
        accounts.execute_with("1", command(told + 1), CommandOptions::key((told + 1).to_string())).await?;
        open_from = told + 2;

        let withdrawals = (0..open_from).filter(|number| number % 3 == 2).count() as u64;
        let state = accounts.get("1").await?.ok_or("it is there")?.state;
        assert_eq!(state.amount, 2 * (open_from - withdrawals) - 2 * withdrawals, "after round {round}");
        assert_eq!(state.bookings, 1 + open_from + withdrawals, "after round {round}");
        assert_eq!(store.load(&accounts.stream("1")?).await?.len() as u64, state.bookings);
        accounts.settle().await;
        store.close().await?;
    }
    Ok(())
}
