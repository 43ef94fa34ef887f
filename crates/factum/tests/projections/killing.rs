//! A process that appends and projects is killed, at any moment, again and again. What it leaves must be a fold of the log, and what it was told
//! is recorded must be there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use factum::projection::{SqlTarget, Target};
use factum::{Projector, SharedStore};

use crate::Outcome;
use crate::places::Database;
use crate::totals::{Folded, Totals, append, rows_at};

/// Names the store's folder and the rows' database to a process that is to be killed.
const CHILD: &str = "FACTUM_KILLED_PROJECTION";
/// So often it is killed, unless `FACTUM_KILLS` says otherwise.
const KILLS: u64 = 20;
/// It lives so long at most.
const LIFE: Duration = Duration::from_millis(150);

/// What this process is to do if it is one that is to be killed.
pub(crate) fn child() -> Option<Outcome> {
    let places = std::env::var(CHILD).ok()?;
    let (folder, database) = places.split_once('|')?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Some(runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(project(folder, database))))
}

/// Appends, says so, and projects, until it is killed.
async fn project(folder: &str, database: &str) -> Outcome {
    let store = open(Path::new(folder)).await?;
    let target = SqlTarget::connect(database).await?;
    let projector = Projector::new(store.clone(), target, Totals::default()).batch_events_max(7);
    let running = projector.run_until(std::future::pending::<()>());
    let appending = async {
        for number in 0.. {
            let last = append(&store, [number, number + 1]).await?;
            writeln!(std::io::stdout(), "{}", last.number())?;
        }
        Outcome::Ok(())
    };
    tokio::select! {
        ended = running => Ok(ended?),
        ended = appending => ended,
    }
}

async fn open(folder: &Path) -> factum::Result<SharedStore> {
    factum::connect(&format!("file:{}", folder.display())).await
}

pub(crate) async fn rows_are_the_fold_of_the_log_whenever_its_process_is_killed(_: SharedStore, database: Arc<Database>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let kills = std::env::var("FACTUM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let (mut expected, mut acknowledged) = (Folded::default(), 0);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe()?)
            .env(CHILD, format!("{}|{}", path.display(), database.url))
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
        let hears = std::thread::spawn(move || lines.map_while(Result::ok).filter_map(|line| line.parse::<u64>().ok()).max());
        // An xorshift: any moment of its life, its beginning too.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        tokio::time::sleep(LIFE.mul_f64((random % 1_000) as f64 / 1_000.0)).await;
        if let Some(status) = child.try_wait()? {
            return Err(format!("it ended by itself before kill {kill}: {status}").into());
        }
        child.kill()?;
        child.wait()?;
        acknowledged = acknowledged.max(hears.join().map_err(|_| "its output can be read")?.unwrap_or_default());
        let store = open(&path).await?;
        let head = store.head().await?;
        assert!(head.number() >= acknowledged, "position {acknowledged} was acknowledged, and the log ends at {head}");
        // Nobody has made the tables before somebody came so far.
        if database.target.live_version("totals").await?.is_none() {
            store.close().await?;
            continue;
        }
        let (position, is) = rows_at(&database.target).await?;
        assert!(position <= head, "the rows are at {position}, behind the end of the log at {head}");
        expected.advance(&store, position).await?;
        assert_eq!(is, expected.sums, "after kill {kill}, at position {position}");
        store.close().await?;
    }
    let store = open(&path).await?;
    Projector::new(store.clone(), database.target.clone(), Totals::default()).run_to_end().await?;
    let (position, is) = rows_at(&database.target).await?;
    assert_eq!(position, store.head().await?);
    expected.advance(&store, position).await?;
    assert_eq!(is, expected.sums);
    println!("{kills} kills, {position} events");
    Ok(store.close().await?)
}
