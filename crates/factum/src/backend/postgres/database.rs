//! The server: connections to it, and what is asked of it before it is trusted with events.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Row};
use tokio::time::Instant;

use super::error::{Trouble, closed, is_passing, unavailable};
use super::following::Following;
use super::kept::Kept;
use super::{Durability, PostgresOptions, pooler, schema};
use crate::Limits;
use crate::error::{Error, Result};

/// How long a connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// So many batches are under way at the same time, each on a connection of its own.
pub(super) const WRITERS_MAX: u32 = 2;
/// How long reads are tried again while the server restarts.
const READ_PATIENCE: Duration = Duration::from_secs(15);
/// A connection that was idle for so long is asked whether it still lives.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// An open store's way to its server.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) kept: Kept,
    /// For batches alone.
    pub(super) writers: Kept,
    pub(super) names: Arc<Names>,
    pub(super) following: Following,
    pub(super) limits: Limits,
    /// What an acknowledged append survives, as far as the server's settings tell.
    pub(super) durability: &'static str,
}

/// The names under which the store's tables are found.
#[derive(Debug)]
pub(super) struct Names {
    schema: String,
    /// What is asked most often, ready.
    pub(super) append_one: Arc<str>,
}

impl Names {
    pub(super) fn new(schema: &str) -> Self {
        let mut names = Self { schema: schema.to_owned(), append_one: "".into() };
        names.append_one = names.sql(super::batch::APPEND_ONE).0.into();
        names
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    /// What writers notify and readers listen to.
    pub(super) fn channel(&self) -> String {
        format!("factum/{}", self.schema)
    }

    /// A statement with the schema in place of `{s}`. The schema's name has been checked and the rest is written here.
    pub(super) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("{s}", &self.quoted()))
    }
}

impl Database {
    pub(super) async fn open(connect: PgConnectOptions, options: &PostgresOptions) -> Result<Self> {
        let names = Arc::new(Names::new(&options.schema));
        // The first connection is made here, because a pool would wait for a server that is not there.
        let mut first = PgConnection::connect_with(&connect).await.map_err(unavailable)?;
        pooler::refuse(&mut first, &connect).await?;
        refuse_replica(&mut first).await?;
        let durability = durability(&mut first, options.durability).await?;
        if options.create {
            schema::migrate(&mut first, &names).await?;
        }
        schema::check(&mut first, &names).await?;
        let seen = schema::check_epoch(&mut first, &names).await.map_err(unavailable)?;
        // It may have gone in between; that does not matter.
        let _ = first.close().await;
        let others = options.connections_max - WRITERS_MAX;
        let kept = Kept::new(pool(connect.clone(), options, &names, Purpose::Anything, others));
        let writers = Kept::new(pool(connect, options, &names, Purpose::Batches, WRITERS_MAX));
        Ok(Self { kept, writers, names, following: Following::new(seen), limits: options.limits, durability })
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.following.is_closed() { Err(closed()) } else { Ok(()) }
    }

    /// A connection for a batch.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Postgres>> {
        self.check_open()?;
        self.writers.borrow().await.map_err(unavailable)
    }

    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
        self.check_open()?;
        self.kept.borrow().await.map_err(unavailable)
    }
}

/// How long reads are tried again.
pub(super) struct Patience {
    begun: Instant,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), pause: Duration::from_millis(5) }
    }

    /// Returns when it is time to try again, or says that it is not worth it.
    pub(super) async fn after(&mut self, error: sqlx::Error) -> Result<()> {
        if !is_passing(&error) || self.begun.elapsed() > READ_PATIENCE {
            return Err(unavailable(error));
        }
        tracing::debug!(%error, "reading again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(250));
        Ok(())
    }
}

/// Reads something. While the connection or the server is gone it is tried again, because reading twice changes nothing.
macro_rules! read {
    ($database:expr, |$connection:ident| $step:expr) => {{
        let mut patience = crate::backend::postgres::database::Patience::new();
        loop {
            $database.check_open()?;
            let outcome = match $database.kept.borrow().await {
                Ok(mut held) => {
                    let $connection = &mut *held;
                    let outcome = $step.await;
                    if outcome.is_ok() {
                        $database.kept.give_back(held);
                    }
                    outcome
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(read) => break read,
                Err(error) => patience.after(error).await?,
            }
        }
    }};
}
pub(super) use read;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Anything,
    /// The few statements that append, whose plans are made once and never read a whole table: what the server's statistics say of
    /// a table that has just begun to grow would choose plans that do.
    Batches,
}

impl Purpose {
    fn session(self) -> &'static str {
        match self {
            Self::Anything => "SET default_transaction_isolation = 'read committed'; SET jit = off",
            Self::Batches => {
                "SET default_transaction_isolation = 'read committed'; SET jit = off; SET plan_cache_mode = force_generic_plan;
                 SET enable_seqscan = off; SET enable_bitmapscan = off"
            }
        }
    }
}

fn pool(connect: PgConnectOptions, options: &PostgresOptions, names: &Arc<Names>, purpose: Purpose, connections_max: u32) -> PgPool {
    let (names, relaxed) = (names.clone(), options.durability == Durability::Relaxed);
    let always = options.durability == Durability::Always;
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move { if metadata.idle_for > IDLE_TRUSTED { connection.ping().await.map(|()| true) } else { Ok(true) } })
        })
        .after_connect(move |connection, _| {
            let names = names.clone();
            Box::pin(async move {
                // Another server may have taken the place of the one that was checked when the store was opened.
                connection.execute(purpose.session()).await?;
                if relaxed {
                    connection.execute("SET synchronous_commit = off").await?;
                } else if always {
                    connection
                        .execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
                        .await?;
                }
                refuse_replica(connection).await.map_err(|trouble| match trouble {
                    Trouble::Sql(error) => error,
                    Trouble::Contract(error) => sqlx::Error::Configuration(error.into()),
                })?;
                schema::check_epoch(connection, &names).await.map(drop)
            })
        })
        .connect_lazy_with(connect)
}

/// A replica can't record, and it may be behind: what needs order needs the primary.
async fn refuse_replica(connection: &mut PgConnection) -> Result<(), Trouble> {
    let in_recovery: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if in_recovery {
        let reason = "this server is a read replica (in recovery), which can't record and may be behind; connect to the primary".to_owned();
        return Err(Error::Unavailable { reason, source: None }.into());
    }
    Ok(())
}

/// What the server is set up to keep.
async fn durability(connection: &mut PgConnection, asked: Durability) -> Result<&'static str, Trouble> {
    let settings = "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')";
    let row = sqlx::query(settings).fetch_one(connection).await?;
    let (fsync, pages, commit): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let lax = [("fsync", fsync), ("full_page_writes", pages)].into_iter().find(|(_, value)| value == "off");
    match (asked, lax) {
        (Durability::Always, Some((setting, _))) => {
            let reason =
                format!("this server would lose acknowledged events: {setting} is off; switch it on, or leave durability=always out");
            Err(Error::Unavailable { reason, source: None }.into())
        }
        (_, Some((setting, _))) => {
            tracing::warn!("PostgreSQL has {setting} = off: events that were acknowledged may be lost when the machine fails");
            Ok("the server's fsync or full_page_writes is off: acknowledged events may be lost when its machine fails")
        }
        (Durability::Relaxed, None) => Ok("written soon after the answer: the last moments may be lost when the server fails"),
        (Durability::Server, None) if commit == "off" => {
            tracing::warn!("PostgreSQL has synchronous_commit = off: the last events that were acknowledged may be lost when it fails");
            Ok("the server's synchronous_commit is off: the last moments may be lost when the server fails")
        }
        (Durability::Server | Durability::Always, None) => Ok("on the server's disk before the answer: its commit has been synced"),
    }
}
