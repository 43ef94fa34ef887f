//! Bare PostgreSQL: a prepared INSERT of one row into the kind of table that people make for events, and a prepared SELECT.

use std::collections::HashMap;

use async_trait::async_trait;
use factum::Uuid;
use factum::backend::postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection};
use factum_servers::PostgresServer;

use super::{Bare, BareClient, Served};
use crate::Outcome;

/// How much of the bare rate we want with many appenders.
const SHARE_WANTED: f64 = 1.5;

/// A row an event, the version unique within its stream, and indexes for what is commonly asked.
const TABLE: &str = "
    DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare;
    CREATE TABLE bare.events (
        id uuid PRIMARY KEY, stream_id varchar(255) NOT NULL, stream_type varchar(255) NOT NULL, event_type varchar(255) NOT NULL,
        event_data jsonb NOT NULL, metadata jsonb DEFAULT '{}', version bigint NOT NULL, global_position bigserial,
        created_at timestamptz DEFAULT now(), UNIQUE (stream_id, version));
    CREATE INDEX ON bare.events (stream_id, version); CREATE INDEX ON bare.events (global_position); CREATE INDEX ON bare.events (event_type)";
const INSERT: &str =
    "INSERT INTO bare.events (id, stream_id, stream_type, event_type, event_data, version) VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)";
/// The store's own rows, with all that an event has. `{s}` stands for its schema.
const SELECT: &str = "
    SELECT e.position, e.version, e.recorded_at, e.id, e.occurred_at, e.occurred_nanos, e.type, e.data, e.metadata, e.tags
    FROM {s}.events e WHERE e.stream = (SELECT s.id FROM {s}.streams s WHERE s.name = $1) ORDER BY e.version";

/// The server that the URL names; `postgres:` starts one as it is installed.
pub(super) fn serve(url: &str) -> Outcome<Served> {
    let (server, bare) = if url == "postgres:" {
        let server = PostgresServer::start()?;
        let url = server.url();
        (Some(server), url)
    } else {
        (None, url.split_once('?').map_or(url, |(place, _)| place).to_owned())
    };
    let url = if server.is_some() { format!("{bare}?create=true&durability=always") } else { url.to_owned() };
    let options = url.split_once('?').map_or("", |(_, options)| options);
    let schema = options.split('&').find_map(|option| option.strip_prefix("schema=")).unwrap_or("factum");
    let select = SELECT.replace("{s}", schema);
    Ok(Served { url, bare: Box::new(BarePostgres { url: bare, select }), _server: Box::new(server), share_wanted: SHARE_WANTED })
}

struct BarePostgres {
    url: String,
    select: String,
}

#[async_trait]
impl Bare for BarePostgres {
    fn appending(&self) -> &'static str {
        "one prepared INSERT a connection: id, stream, type, data as jsonb, version; four indexes besides the key of the stream's version"
    }

    fn reading(&self) -> &'static str {
        "one prepared SELECT of the same rows"
    }

    async fn prepare(&self) -> Outcome {
        let mut connection = PgConnection::connect(&self.url).await?;
        sqlx::raw_sql(TABLE).execute(&mut connection).await?;
        Ok(())
    }

    async fn client(&self) -> Outcome<Box<dyn BareClient>> {
        let connection = PgConnection::connect(&self.url).await?;
        Ok(Box::new(Client { connection, select: self.select.clone(), versions: HashMap::new() }))
    }
}

struct Client {
    connection: PgConnection,
    select: String,
    versions: HashMap<String, i64>,
}

#[async_trait]
impl BareClient for Client {
    async fn append(&mut self, stream: &str, event_type: &str, data: &[u8]) -> Outcome {
        let version = self.versions.entry(stream.to_owned()).or_default();
        *version += 1;
        let category = stream.split('-').next().unwrap_or_default();
        sqlx::query(INSERT)
            .bind(Uuid::now_v7())
            .bind(stream)
            .bind(category)
            .bind(event_type)
            .bind(std::str::from_utf8(data)?)
            .bind(*version)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn read(&mut self, stream: &str) -> Outcome<u64> {
        Ok(sqlx::query(AssertSqlSafe(self.select.clone())).bind(stream).fetch_all(&mut self.connection).await?.len() as u64)
    }
}
