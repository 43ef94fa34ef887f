//! Making the store: by whom, beside what, and by several at once.

use factum::backend::Postgres;
use factum::{EventStore, EventStoreExt};
use factum_servers::PostgresServer;
use futures::future::join_all;

use crate::{Verdict, append, fresh_url, log, says, shared_sql, stream, texts};

/// The name of the schema in a URL of [`fresh_url`].
fn schema_of(url: &str) -> &str {
    url.rsplit_once("schema=").map_or("", |(_, schema)| schema)
}

pub(crate) async fn a_database_without_a_store_says_what_to_do() -> Verdict {
    let url = fresh_url().replace("create=true", "create=false");
    let refused = factum::connect(&url).await.err().ok_or("it was opened")?;
    says(refused, &[schema_of(&url), "`factum init`", "create=true"]);
    Ok(())
}

pub(crate) async fn several_can_make_the_same_store_at_once() -> Verdict {
    for _ in 0..3 {
        let url = fresh_url();
        for store in join_all((0..8).map(|_| Postgres::connect(&url))).await {
            store?.append(append("Order-1", 1)).await?;
        }
        let store = Postgres::connect(&url).await?;
        assert_eq!(store.version(&stream("Order-1")).await?.get(), 8);
    }
    Ok(())
}

pub(crate) async fn a_store_of_a_later_version_is_refused() -> Verdict {
    let url = fresh_url();
    Postgres::connect(&url).await?.close().await?;
    shared_sql(&format!("INSERT INTO {}.migrations (version) VALUES (99)", schema_of(&url)))?;
    let refused = factum::connect(&url).await.err().ok_or("it was opened")?;
    says(refused, &["version 99", "later Factum"]);
    Ok(())
}

/// A later Factum brings the schema up to date while an earlier one has the store open. The earlier one was told to run `factum init`,
/// which is what the later had done.
pub(crate) async fn an_open_store_that_is_changed_by_a_later_factum_says_so() -> Verdict {
    let url = fresh_url();
    let store = Postgres::connect(&url).await?;
    store.append(append("Order-1", 1)).await?;
    let schema = schema_of(&url);
    let later = format!(
        "INSERT INTO {schema}.migrations (version) VALUES (99);
         ALTER TABLE {schema}.events RENAME COLUMN data TO content; ALTER TABLE {schema}.streams RENAME TO sources"
    );
    shared_sql(&later)?;
    for refused in [store.append(append("Order-1", 2)).await.err(), store.append(append("Order-2", 1)).await.err(), log(&store).await.err()]
    {
        let refused = refused.ok_or("it was carried out")?.to_string();
        says(&refused, &["later Factum", "open it again"]);
        assert!(!refused.contains("init"), "{refused}");
    }
    says(factum::connect(&url).await.err().ok_or("it was opened")?, &["version 99", "later Factum"]);
    Ok(())
}

/// No superuser and no extension: the right to make a schema is enough.
pub(crate) async fn an_ordinary_user_can_make_a_store() -> Verdict {
    let server = PostgresServer::start()?;
    server.sql("postgres", "CREATE ROLE clerk LOGIN; CREATE ROLE guest LOGIN; GRANT CREATE ON DATABASE postgres TO clerk")?;
    let url = |user: &str| format!("postgres://{user}@127.0.0.1:{}/postgres?create=true", server.port());
    let store = Postgres::connect(&url("clerk")).await?;
    store.append(append("Order-1", 1)).await?;
    store.truncate_before(&stream("Order-1"), factum::StreamVersion::new(2)).await?;
    assert_eq!(store.stats().await?.events, 1);
    let refused = Postgres::connect(&format!("{}&schema=other", url("guest"))).await.err().ok_or("it was made")?;
    says(refused, &["permission denied", "give the user the right"]);
    Ok(())
}

pub(crate) async fn a_schema_can_be_given() -> Verdict {
    let server = PostgresServer::start()?;
    server.sql("postgres", "CREATE ROLE guest LOGIN; CREATE SCHEMA given AUTHORIZATION guest")?;
    let store = Postgres::connect(&format!("postgres://guest@127.0.0.1:{}/postgres?create=true&schema=given", server.port())).await?;
    store.append(append("Order-1", 1)).await?;
    Ok(())
}

pub(crate) async fn stores_and_tables_of_yours_live_side_by_side() -> Verdict {
    let server = PostgresServer::start()?;
    server.sql("postgres", "CREATE TABLE events (id int); CREATE TABLE streams (id int); CREATE TABLE records (id int)")?;
    let one = Postgres::connect(&format!("{}?create=true&schema=one", server.url())).await?;
    let other = Postgres::connect(&format!("{}?create=true&schema=Other", server.url())).await?;
    one.append(append("Order-1", 1)).await?;
    assert_eq!((log(&one).await?.len(), log(&other).await?.len()), (1, 0));
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM events")?.trim(), "0");
    Ok(())
}

pub(crate) async fn durability_always_refuses_what_may_lose_events() -> Verdict {
    let server = PostgresServer::start_with(&["fsync=off"])?;
    let url = |durability: &str| format!("{}?create=true&durability={durability}", server.url());
    let refused = Postgres::connect(&url("always")).await.err().ok_or("it was opened")?;
    says(refused, &["fsync is off", "lose acknowledged events"]);
    says(Postgres::connect(&url("server")).await?.capabilities().durability, &["may be lost"]);
    let server = PostgresServer::start_with(&["synchronous_commit=off"])?;
    let url = |durability: &str| format!("{}?create=true&durability={durability}", server.url());
    says(Postgres::connect(&url("server")).await?.capabilities().durability, &["synchronous_commit is off"]);
    // A setting of the session is set, not refused.
    says(Postgres::connect(&url("always")).await?.capabilities().durability, &["on the server's disk"]);
    says(Postgres::connect(&url("relaxed")).await?.capabilities().durability, &["may be lost"]);
    Ok(())
}

pub(crate) async fn another_encoding_is_refused() -> Verdict {
    let url = fresh_url();
    shared_sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")?;
    let refused = Postgres::connect(&url.replace("/postgres?", "/latin?")).await.err().ok_or("it was made")?;
    says(refused, &["LATIN1", "UTF8"]);
    Ok(())
}

/// A store as an earlier Factum left it: brought up to date by `factum init`, and then it goes on where it was.
pub(crate) async fn an_older_store_is_brought_up_to_date() -> Verdict {
    const OLDER: [&str; 4] = [
        include_str!("../../src/backend/postgres/migrations/1_tables.sql"),
        include_str!("../../src/backend/postgres/migrations/2_append.sql"),
        include_str!("../../src/backend/postgres/migrations/3_records.sql"),
        include_str!("../../src/backend/postgres/migrations/4_append_one.sql"),
    ];
    let server = PostgresServer::start()?;
    let made = OLDER.concat().replace("{s}", "factum");
    let noted = "CREATE TABLE factum.migrations (version int PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now());
                 INSERT INTO factum.migrations SELECT generate_series(1, 4)";
    let one = "SELECT factum.append_one('Order-1', 'Order', -2, ARRAY[gen_random_uuid()], ARRAY['Noted'], ARRAY['old'::bytea],
                                        ARRAY[NULL::bytea], ARRAY[NULL::bigint], ARRAY[NULL::smallint]);";
    server.sql("postgres", &format!("CREATE SCHEMA factum; {made}; {noted}; {one}{one}{one}"))?;
    server.sql(
        "postgres",
        "UPDATE factum.events SET id = NULL, data = NULL WHERE version = 1; UPDATE factum.streams SET first_version = 2",
    )?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port());
    let refused = Postgres::connect(&url).await.err().ok_or("it was opened")?;
    says(refused, &["version 4, older", "`factum init`"]);
    let store = Postgres::connect(&format!("{url}?create=true")).await?;
    let order = stream("Order-1");
    assert_eq!(store.stream(&order).await?.map(|info| (info.version.get(), info.first_version.get())), Some((3, 2)));
    store.append(append("Order-1", "new").expecting(factum::ExpectedVersion::exact(3))).await?;
    assert_eq!(texts(&log(&store).await?), ["old", "old", "new"]);
    Ok(())
}
