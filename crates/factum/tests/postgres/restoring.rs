//! Dumps that are restored into another cluster, whose transaction ids are behind: positions go on all the same.

use factum::backend::Postgres;
use factum::{EventStore, GlobalPosition, ReadLog, RecordedEvent};
use factum_servers::PostgresServer;
use futures::TryStreamExt;

use crate::{Verdict, alone, append, log, texts};

/// Uses up transaction ids, as years do.
const LATER: &str = "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";

async fn after(store: &Postgres, after: GlobalPosition) -> factum::Result<Vec<RecordedEvent>> {
    store.read_log(ReadLog { after, ..ReadLog::default() }).try_collect().await
}

pub(crate) async fn a_restored_store_goes_on_behind_its_last_position() -> Verdict {
    let (old, store) = alone().await?;
    store.append(append("Order-1", 1)).await?;
    old.sql("postgres", LATER)?;
    store.append(append("Order-1", 2)).await?;
    let before = log(&store).await?;
    let new = PostgresServer::start()?;
    new.sql("postgres", &old.dump("postgres")?)?;
    for round in 0..3 {
        // Opened again and again, it is raised once.
        let store = Postgres::connect(&new.url()).await?;
        let now = log(&store).await?;
        assert_eq!(now[..2], before[..]);
        assert_eq!(now.len(), 2 + round);
        let head = store.head().await?;
        let receipt = store.append(append("Order-1", round + 3)).await?;
        assert!(receipt.last_position() > head);
        assert_eq!(texts(&after(&store, head).await?), [(round + 3).to_string()]);
        store.close().await?;
    }
    assert_ne!(new.sql("postgres", "SELECT base FROM factum.meta")?.trim(), "0");
    Ok(())
}

/// The server behind the URL was replaced while the store was open.
pub(crate) async fn a_store_that_is_open_notices_that_it_was_restored() -> Verdict {
    let (server, store) = alone().await?;
    server.sql("postgres", LATER)?;
    store.append(append("Order-1", 1)).await?;
    let (dump, head) = (server.dump("postgres")?, store.head().await?);
    let replacement = server.replace()?;
    replacement.sql("postgres", &dump)?;
    loop {
        match store.append(append("Order-2", 2)).await {
            Ok(receipt) => {
                assert!(receipt.last_position() > head);
                break;
            }
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(texts(&after(&store, head).await?).last().map(String::as_str), Some("2"));
    Ok(())
}
