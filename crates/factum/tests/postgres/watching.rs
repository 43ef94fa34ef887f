//! What is said of a store that can't be used, or whose readers are held back.

use std::sync::Arc;
use std::time::Duration;

use factum::backend::Postgres;
use factum::backend::postgres::sqlx::{self, Connection, PgConnection};
use factum::{EventStore, Stats};
use factum_servers::PostgresServer;

use crate::{Verdict, alone, append, says};

/// Waits until the stats say something about a long transaction.
async fn noted(store: &Postgres) -> Verdict<Stats> {
    loop {
        let stats = store.stats().await?;
        if !stats.notes.is_empty() {
            return Ok(stats);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Any transaction that has written holds readers back, in whatever database of the server. One that only reads does not.
pub(crate) async fn who_holds_readers_back_is_named() -> Verdict {
    let (server, store) = alone().await?;
    let store = Arc::new(store);
    server.sql("postgres", "CREATE DATABASE elsewhere")?;
    let mut only_reads = PgConnection::connect(&server.url()).await?;
    let mut reading = only_reads.begin().await?;
    sqlx::query("SELECT count(*) FROM factum.events").execute(&mut *reading).await?;
    let mut other = PgConnection::connect(&server.url_of("elsewhere")).await?;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await?;
    let mut transaction = other.begin().await?;
    sqlx::query("CREATE TABLE mine (id int)").execute(&mut *transaction).await?;
    store.append(append("Order-1", 1)).await?;
    let stats = noted(&store).await?;
    assert_eq!((stats.notes.len(), stats.details.get("hidden_events")), (1, Some(&1)), "{stats:?}");
    says(&stats.notes[0], &[&format!("pid {pid} "), " s ", "elsewhere", "idle in transaction", "do not see"]);
    transaction.rollback().await?;
    let stats = store.stats().await?;
    assert_eq!((stats.notes.len(), stats.details.get("hidden_events")), (0, Some(&0)));
    Ok(())
}

pub(crate) async fn a_replica_is_refused() -> Verdict {
    let (server, store) = alone().await?;
    store.append(append("Order-1", 1)).await?;
    let standby = server.standby()?;
    let refused = Postgres::connect(&standby.url()).await.err().ok_or("it was opened")?;
    says(refused, &["read replica", "connect to the primary"]);
    Ok(())
}

pub(crate) async fn a_wrong_address_is_an_error_and_tells_no_password() -> Verdict {
    let server = PostgresServer::start()?;
    let nobody = factum_servers::free_port()?;
    for (url, words) in [
        (format!("postgres://me:secret@127.0.0.1:{nobody}/postgres"), "can't be reached"),
        (format!("postgres://me:secret@127.0.0.1:{}/postgres", server.port()), "user and password"),
        (format!("postgres://postgres:secret@127.0.0.1:{}/nothing", server.port()), "create the database"),
    ] {
        let refused = Postgres::connect(&url).await.err().ok_or("it was opened")?.to_string();
        says(&refused, &[words]);
        assert!(!refused.contains("secret"), "{refused}");
    }
    Ok(())
}
