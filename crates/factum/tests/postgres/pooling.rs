//! A pooler between the store and its server: as good as the server itself, or refused.

use factum::backend::Postgres;
use factum::{EventStore, EventStoreExt, GlobalPosition};
use factum_servers::{PgBouncer, PostgresServer};
use futures::future::try_join_all;

use crate::{Verdict, append, says, stream};

/// What a session was told is lost there, or reaches somebody else: appends were answered before they were durable, and nobody noticed.
pub(crate) async fn a_pooler_in_transaction_mode_is_refused() -> Verdict {
    let server = PostgresServer::start()?;
    Postgres::connect(&format!("{}?create=true", server.url())).await?.close().await?;
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(&server, mode)?;
        // Once while the pool has no session, and then with those that the first left behind.
        for _ in 0..3 {
            let refused = Postgres::connect(&pooler.url()).await.err().ok_or("it was opened")?;
            says(refused, &["pool", mode]);
        }
    }
    Ok(())
}

pub(crate) async fn a_pooler_in_session_mode_is_as_the_server_itself() -> Verdict {
    let server = PostgresServer::start()?;
    let pooler = PgBouncer::start(&server, "session")?;
    let url = format!("{}?create=true&connections_max=5&durability=always", pooler.url());
    let (one, other) = (Postgres::connect(&url).await?, Postgres::connect(&url).await?);
    let woken = tokio::spawn(async move {
        other.wait_after(GlobalPosition::START).await?;
        other.close().await
    });
    let appends: Vec<_> = (0..40).map(|number| append(&format!("Order-{}", number % 4), number)).collect();
    try_join_all(appends.into_iter().map(|append| one.append(append))).await?;
    woken.await??;
    for number in 0..4 {
        assert_eq!(one.version(&stream(format!("Order-{number}"))).await?.get(), 10);
    }
    Ok(one.close().await?)
}
