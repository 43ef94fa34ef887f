//! Rows of yours in the transaction of an append or of a record.

use factum::backend::Postgres;
use factum::backend::postgres::sqlx::{self, PgConnection};
use factum::{Error, EventStore, ExpectedVersion, RecordName, RecordVersion, RecordWrite, Result};
use futures::future::BoxFuture;

use crate::{Verdict, alone, append, stream};

fn insert(connection: &mut PgConnection) -> BoxFuture<'_, Result<()>> {
    Box::pin(async move {
        sqlx::query("INSERT INTO orders VALUES (1)").execute(connection).await?;
        Ok(())
    })
}

fn insert_and_fail(connection: &mut PgConnection) -> BoxFuture<'_, Result<()>> {
    Box::pin(async move {
        insert(connection).await?;
        Err(Error::invalid("this order can't be"))
    })
}

async fn stage() -> Verdict<(factum_servers::PostgresServer, Postgres)> {
    let (server, store) = alone().await?;
    server.sql("postgres", "CREATE TABLE orders (id int)")?;
    Ok((server, store))
}

fn rows(server: &factum_servers::PostgresServer) -> Verdict<u32> {
    Ok(server.sql("postgres", "SELECT count(*) FROM orders")?.trim().parse()?)
}

pub(crate) async fn rows_and_events_are_committed_together() -> Verdict {
    let (server, store) = stage().await?;
    let receipt = store.append_with(append("Order-1", 1).expecting(ExpectedVersion::NoStream), insert).await?;
    assert_eq!((rows(&server)?, receipt.last_version().get()), (1, 1));
    assert_eq!(store.head().await?, receipt.last_position());
    let late = store.append_with(append("Order-1", 1).expecting(ExpectedVersion::NoStream), insert).await;
    assert!(matches!(late, Err(Error::Conflict(_))));
    assert_eq!(rows(&server)?, 1, "a refused append did the work");
    Ok(())
}

pub(crate) async fn rows_and_events_are_rolled_back_together() -> Verdict {
    let (server, store) = stage().await?;
    let failed = store.append_with(append("Order-1", 1), insert_and_fail).await;
    assert!(matches!(failed, Err(Error::Invalid { .. })));
    let wrong = store.append_with(append("Order-1", 1), |connection| {
        Box::pin(async move {
            sqlx::query("INSERT INTO no_such_table VALUES (1)").execute(connection).await?;
            Ok(())
        })
    });
    assert!(matches!(wrong.await, Err(Error::Unavailable { .. })));
    assert_eq!(rows(&server)?, 0);
    assert_eq!(store.stream(&stream("Order-1")).await?, None);
    store.append(append("Order-1", 1).expecting(ExpectedVersion::NoStream)).await?;
    Ok(())
}

pub(crate) async fn a_duplicate_does_not_do_the_work_again() -> Verdict {
    let (server, store) = stage().await?;
    let append = append("Order-1", 1);
    assert!(!store.append_with(append.clone(), insert).await?.duplicate);
    assert!(store.append_with(append, insert).await?.duplicate);
    assert_eq!(rows(&server)?, 1);
    Ok(())
}

pub(crate) async fn a_record_moves_with_its_rows() -> Verdict {
    let (server, store) = stage().await?;
    let name = RecordName::new("checkpoint/orders")?;
    let write = |version: u64| RecordWrite::set(name.clone(), version.to_string()).expecting(RecordVersion::new(version));
    assert_eq!(store.write_record_with(write(0), insert).await?, RecordVersion::new(1));
    assert!(store.write_record_with(write(1), insert_and_fail).await.is_err());
    let stale = store.write_record_with(write(0), insert).await;
    assert!(matches!(stale, Err(Error::RecordConflict { actual, .. }) if actual == RecordVersion::new(1)));
    assert_eq!(rows(&server)?, 1);
    assert_eq!(store.record(&name).await?.map(|record| record.version), Some(RecordVersion::new(1)));
    Ok(())
}
