//! The store in PostgreSQL: a schema of its own beside your tables, one function call for a batch of appends.
//!
//! A position is made of the transaction's id and a number within it, so there is no sequence to wait for and no lock that all appends
//! share. Readers stop before the first transaction that is still under way; `following` says why nothing is ever skipped.

mod batch;
mod database;
mod deciding;
mod error;
mod following;
mod inline;
mod kept;
mod pooler;
mod reading;
mod records;
mod row;
mod schema;
mod selection;
mod stats;
mod truncating;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use sqlx::{Connection, PgConnection};

use crate::error::Result;
use crate::store::{BatchLimits, Batcher, SendBatch, check_record, check_shape};
use crate::{
    Append, Capabilities, EventStore, EventStream, GlobalPosition, Idempotency, InfoStream, Limits, ListStreams, ReadLog, ReadStream,
    Receipt, Record, RecordName, RecordVersion, RecordWrite, Stats, StreamId, StreamInfo, StreamVersion, Support,
};
use batch::{Ids, Status};
use database::{Database, WRITERS_MAX, read};
use deciding::{Attempt, Gate};
use error::{Trouble, is_collision, uncommitted, uncommitted_again};
pub(crate) use inline::Begun;

/// The driver, for statements beside an append: [`Postgres::append_with`].
pub use sqlx;

/// How often an append is tried again when others are in the way.
const ATTEMPTS_MAX: u32 = 20;
/// After so many attempts it keeps all others out, which can't fail in that way.
const ATTEMPTS_SHARED: u32 = 4;
/// What a batch leaves over goes on so many connections.
const LEFT_OVER_AT_ONCE: usize = 4;

/// How to open a store in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The schema that the store's tables are in.
    pub schema: String,
    /// Makes the store if there is none, and brings an older one up to date.
    pub create: bool,
    /// What an acknowledged append must survive.
    pub durability: Durability,
    /// Connections that are open at the same time, at most; one of them listens.
    pub connections_max: u32,
    /// What it takes at most.
    pub limits: Limits,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        let schema = "factum".to_owned();
        Self { schema, create: false, durability: Durability::Server, connections_max: 12, limits: Limits::default() }
    }
}

/// What an acknowledged append must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What the server is set up for; a setting that loses acknowledged events is warned of once.
    #[default]
    Server,
    /// The server's machine failing: a server that is not set up for that is refused, with the setting's name.
    Always,
    /// Not even that: commits are answered before they are synced, and the last moments may be lost.
    Relaxed,
}

/// An event store in a schema of a PostgreSQL database.
///
/// Appends of all callers go together in batches. Dropping the store, or [`EventStore::close`], lets go of its connections.
#[derive(Debug)]
pub struct Postgres {
    database: Arc<Database>,
    batcher: Batcher<Sender>,
}

impl Postgres {
    /// Opens the store that a `postgres://` URL names, with the options of the URL.
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) if the URL is not one; [`Unavailable`](crate::Error::Unavailable) if the server can't be reached,
    /// is a replica, or has no store and is not to make one.
    pub async fn connect(url: &str) -> Result<Self> {
        let (connect, options) = url::parse(url)?;
        Self::open(connect, options).await
    }

    /// Opens the store on the server that the driver's options name.
    ///
    /// # Errors
    /// As [`Postgres::connect`].
    pub async fn open(connect: sqlx::postgres::PgConnectOptions, options: PostgresOptions) -> Result<Self> {
        url::schema(&options.schema)?;
        let database = Arc::new(Database::open(connect, &options).await?);
        following::start(&database);
        let limits = BatchLimits { in_flight_max: WRITERS_MAX as usize, ..BatchLimits::default() };
        let batcher = Batcher::new(Sender { database: database.clone() }, limits);
        Ok(Self { database, batcher })
    }

    /// Appends, and does `work` in the same transaction: its rows and the events are committed together, or neither.
    ///
    /// The work is done after the events are written. It is not done for a duplicate, whose first append did it, nor for an append that
    /// is refused. If it fails, nothing is recorded. Until it ends, readers of the log don't see what others record: keep it short.
    ///
    /// ```no_run
    /// # use factum::{Append, NewEvent, Result, StreamId, backend::postgres::{Postgres, sqlx}};
    /// # async fn example(store: Postgres) -> Result<()> {
    /// let append = Append::to(StreamId::new("Order-1")?, [NewEvent::json("OrderPlaced", &"a book")?]);
    /// let receipt = store.append_with(append, |connection| {
    ///     Box::pin(async move {
    ///         sqlx::query("INSERT INTO orders (id) VALUES (1)").execute(connection).await?;
    ///         Ok(())
    ///     })
    /// });
    /// receipt.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`EventStore::append`], and what the work says.
    pub async fn append_with<W>(&self, append: Append, work: W) -> Result<Receipt>
    where
        W: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<()>> + Send,
    {
        check_shape(&append, &self.database.limits)?;
        self.database.record_alone(&append, Some(work)).await
    }

    /// Writes a record, and does `work` in the same transaction, as [`Postgres::append_with`] does: a checkpoint moves together with the
    /// rows that were made of the events up to there, or neither does.
    ///
    /// The work is not done if the record is not at the version expected.
    ///
    /// # Errors
    /// As [`EventStore::write_record`], and what the work says.
    pub async fn write_record_with<W>(&self, write: RecordWrite, work: W) -> Result<RecordVersion>
    where
        W: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<()>> + Send,
    {
        check_record(&write, self.database.limits.record_bytes_max)?;
        let database = &self.database;
        let mut connection = database.acquire().await?;
        let mut transaction = connection.begin().await.map_err(Trouble::from)?;
        let version = records::write(&mut transaction, &database.names, &write).await?;
        work(&mut transaction).await?;
        transaction.commit().await.map_err(uncommitted)?;
        Ok(version)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.database.following.stop();
    }
}

/// Work in the transaction of an append; none.
type NoWork = for<'c> fn(&'c mut PgConnection) -> BoxFuture<'c, Result<()>>;

/// Sends batches to the server.
#[derive(Debug)]
struct Sender {
    database: Arc<Database>,
}

#[async_trait]
impl SendBatch for Sender {
    async fn send_batch(&self, batch: Vec<Append>) -> Vec<Result<Receipt>> {
        let database = &*self.database;
        if let [append] = batch.as_slice()
            && self.goes_alone(append)
        {
            return vec![database.record_alone(append, None::<NoWork>).await];
        }
        database.record_batch(&batch).await
    }

    /// What rests on more than the streams that it names is decided by itself.
    fn goes_alone(&self, append: &Append) -> bool {
        append.condition.is_some() || !append.records.is_empty()
    }
}

/// Why a whole batch failed.
enum Unrecorded {
    Unsent(crate::Error),
    Sent(sqlx::Error),
}

impl Unrecorded {
    /// The same for each append.
    fn error(&self) -> crate::Error {
        match self {
            Self::Unsent(error) => crate::Error::Unavailable { reason: error.to_string(), source: None },
            Self::Sent(error) => uncommitted_again(error),
        }
    }
}

impl Database {
    /// Records a batch in one call. What that leaves over is decided one by one.
    async fn record_batch(&self, batch: &[Append]) -> Vec<Result<Receipt>> {
        let statuses = match self.record_plain(batch).await {
            Ok(statuses) => statuses,
            Err(unrecorded) => return batch.iter().map(|_| Err(unrecorded.error())).collect(),
        };
        if let Some(last) = statuses.iter().filter_map(Status::receipt).map(Receipt::last_position).max() {
            self.following.promise(last);
        }
        let left_over: Vec<&Append> =
            batch.iter().zip(&statuses).filter(|(_, status)| status.receipt().is_none()).map(|(append, _)| append).collect();
        let decided = left_over.into_iter().map(|append| self.record_alone(append, None::<NoWork>).boxed());
        let mut decided = stream::iter(decided.collect::<Vec<_>>()).buffered(LEFT_OVER_AT_ONCE).collect::<Vec<_>>().await.into_iter();
        let outcome = |status| match status {
            Status::Recorded(receipt) => Ok(receipt),
            Status::LookClosely => decided.next().expect("each that was left over was decided"),
        };
        statuses.into_iter().map(outcome).collect()
    }

    /// Records what is plain of a batch.
    async fn record_plain(&self, batch: &[Append]) -> Result<Vec<Status>, Unrecorded> {
        for ids in [Ids::Unseen, Ids::Sought] {
            let mut connection = self.writer().await.map_err(Unrecorded::Unsent)?;
            match batch::record(&mut connection, &self.names, batch, ids).await {
                Ok(statuses) => {
                    self.writers.give_back(connection);
                    return Ok(statuses);
                }
                // One of them may be at fault, or another transaction; nothing is recorded.
                Err(error) if is_collision(&error) => self.writers.give_back(connection),
                Err(error) => return Err(Unrecorded::Sent(error)),
            }
            if batch.len() == 1 {
                break;
            }
        }
        // By themselves they don't touch each other.
        Ok(batch.iter().map(|_| Status::LookClosely).collect())
    }

    /// Records an append in a transaction of its own, and does the work there.
    async fn record_alone<W>(&self, append: &Append, work: Option<W>) -> Result<Receipt>
    where
        W: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<()>> + Send,
    {
        let mut pause = Duration::from_millis(1);
        for attempt in 0..ATTEMPTS_MAX {
            let alone = append.condition.is_some() || attempt >= ATTEMPTS_SHARED;
            let gate = if alone { Gate::Alone } else { Gate::Shared };
            let mut connection = self.acquire().await?;
            let mut transaction = connection.begin().await.map_err(Trouble::from)?;
            match deciding::attempt(&mut transaction, &self.names, append, gate).await {
                Ok(Attempt::Recorded(receipt)) => {
                    if let Some(work) = work {
                        work(&mut transaction).await?;
                    }
                    transaction.commit().await.map_err(uncommitted)?;
                    self.following.promise(receipt.last_position());
                    return Ok(receipt);
                }
                Ok(Attempt::Duplicate(receipt)) => {
                    self.following.promise(receipt.last_position());
                    return Ok(receipt);
                }
                Ok(Attempt::Again) => {}
                Err(Trouble::Sql(error)) if is_collision(&error) => {}
                Err(trouble) => return Err(trouble.into()),
            }
            let _ = transaction.rollback().await;
            if alone {
                // Positions that are behind even when nobody else appends: the cluster is another one than it was.
                schema::check_epoch(&mut connection, &self.names).await.map_err(Trouble::from)?;
            }
            drop(connection);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Err(deciding::crowded_out())
    }
}

#[async_trait]
impl EventStore for Postgres {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            store: "postgres",
            durability: self.database.durability,
            multi_stream_append: Support::Yes,
            records_in_append: Support::Yes,
            appends_in_order: Support::No("several batches are under way at once"),
            conditions: Support::Yes,
            idempotency: Idempotency::Forever,
            contiguous_positions: Support::No("positions are made of transaction ids, so that appends don't wait for each other"),
            monotonic_log_time: Support::No("transactions that overlap take their times before their places are settled"),
            indexed_queries: Support::Yes,
            truncate: Support::Yes,
            persistent: Support::Yes,
            limits: self.database.limits,
        }
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        check_shape(&append, &self.database.limits)?;
        self.database.check_open()?;
        self.batcher.append(append).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        reading::stream(self.database.clone(), stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        reading::log(self.database.clone(), options)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.database.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.database.check_open()?;
        self.database.wait_after(position).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        let database = &self.database;
        Ok(read!(database, |connection| reading::info(connection, database, stream)))
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        reading::streams(self.database.clone(), options)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        let mut connection = self.database.acquire().await?;
        let (transaction, info) = truncating::truncate(&mut connection, &self.database.names, stream, before).await?;
        transaction.commit().await.map_err(uncommitted)?;
        Ok(info)
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        let database = &self.database;
        Ok(read!(database, |connection| records::record(connection, &database.names, name)))
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        check_record(&write, self.database.limits.record_bytes_max)?;
        let mut connection = self.database.acquire().await?;
        match records::write(&mut connection, &self.database.names, &write).await {
            Ok(version) => {
                self.database.kept.give_back(connection);
                Ok(version)
            }
            // The call commits by itself.
            Err(Trouble::Sql(error)) => Err(uncommitted(error)),
            Err(Trouble::Contract(error)) => Err(error),
        }
    }

    async fn stats(&self) -> Result<Stats> {
        let head = self.head().await?;
        let database = &self.database;
        let stats = read!(database, |connection| stats::stats(connection, &database.names));
        Ok(Stats { head, ..stats })
    }

    async fn close(&self) -> Result<()> {
        self.database.check_open()?;
        self.batcher.close().await;
        self.database.following.close();
        self.database.writers.close().await;
        self.database.kept.close().await;
        Ok(())
    }
}
