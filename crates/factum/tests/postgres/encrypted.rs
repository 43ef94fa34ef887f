//! Encrypted connections: to a server that somebody trusted vouches for, and to no other.

use factum::EventStoreExt;
use factum::backend::Postgres;
use factum::backend::postgres::sqlx::{self, PgConnection};
use factum_servers::{Authority, PostgresServer};

use crate::{Verdict, append, says, stream};

pub(crate) async fn a_server_is_trusted_whom_the_authority_vouches_for() -> Verdict {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let server = PostgresServer::start_with_tls(&authority)?;
    let url = |mode: &str, authority: Option<&Authority>| {
        let file = authority.map(|authority| format!("&sslrootcert={}", authority.certificate().display())).unwrap_or_default();
        format!("{}?create=true&sslmode={mode}{file}", server.url())
    };
    for (mode, authority) in
        [("require", None), ("require", Some(&authority)), ("verify-ca", Some(&authority)), ("verify-full", Some(&authority))]
    {
        let store = Postgres::connect(&url(mode, authority)).await?;
        let encrypted = store.append_with(append(mode, 1), |connection: &mut PgConnection| {
            Box::pin(async move {
                let ssl: bool =
                    sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetch_one(connection).await?;
                assert!(ssl, "it is not encrypted");
                Ok(())
            })
        });
        encrypted.await?;
        assert!(store.version(&stream(mode)).await?.get() > 0);
    }
    // Somebody else's authority, and those of the system, do not know this server; nor does "require" with a file take it unseen.
    for (mode, authority) in [("require", Some(&stranger)), ("verify-ca", Some(&stranger)), ("verify-full", None)] {
        let refused = Postgres::connect(&url(mode, authority)).await.err().ok_or("it was trusted")?;
        says(refused, &["certificate", "sslmode"]);
    }
    Ok(())
}

pub(crate) async fn a_server_without_encryption_is_refused_where_it_is_asked_for() -> Verdict {
    let server = PostgresServer::start()?;
    let refused = Postgres::connect(&format!("{}?create=true&sslmode=require", server.url())).await.err().ok_or("it was opened")?;
    says(refused, &["encrypted", "sslmode"]);
    Ok(())
}
