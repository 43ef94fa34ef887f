//! An append with work in its transaction that knows what was recorded: positions, versions, times.

use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool, Transaction};

use super::Postgres;
use super::deciding::{self, Attempt, Gate};
use super::error::{Trouble, is_collision, uncommitted};
use super::row;
use super::selection::{self, Range, Which};
use crate::error::Result;
use crate::store::check_shape;
use crate::{Append, Direction, GlobalPosition, Query, Receipt, RecordedEvent};

/// How often an append is tried again when others are in the way; with the gate to itself that is only a stream which another transaction of
/// yours holds.
const ATTEMPTS_MAX: u32 = 20;

/// What an append came to, before it is committed.
pub(crate) enum Begun {
    /// It was there before.
    Duplicate(Receipt),
    /// It is written in this transaction, in which nobody else appends.
    Written(Transaction<'static, sqlx::Postgres>, Receipt),
}

impl Postgres {
    /// Appends, and does `work` in the same transaction, as [`Postgres::append_with`] does. The work is told the events as they are recorded,
    /// with their positions, versions and times.
    ///
    /// # Errors
    /// As [`Postgres::append_with`].
    pub async fn append_with_events<W>(&self, append: Append, work: W) -> Result<Receipt>
    where
        W: for<'c> FnOnce(&'c mut PgConnection, Vec<RecordedEvent>) -> BoxFuture<'c, Result<()>> + Send,
    {
        let (mut transaction, receipt) = match self.begin_append(&append, Gate::Shared).await? {
            Begun::Duplicate(receipt) => return Ok(receipt),
            Begun::Written(transaction, receipt) => (transaction, receipt),
        };
        let first = receipt.streams.iter().map(|stream| stream.first_position.number()).min().unwrap_or_default();
        let before = GlobalPosition::from_number(first.saturating_sub(1));
        let events = self.events_within(&mut transaction, &Query::all(), before, append.events()).await?;
        work(&mut transaction, events).await?;
        self.commit_append(transaction, &receipt).await?;
        Ok(receipt)
    }

    /// Writes an append in a transaction in which nobody else appends: everything that is recorded before it can be seen there.
    pub(crate) async fn begin_append_alone(&self, append: &Append) -> Result<Begun> {
        self.begin_append(append, Gate::Alone).await
    }

    async fn begin_append(&self, append: &Append, gate: Gate) -> Result<Begun> {
        check_shape(append, &self.database.limits)?;
        for _ in 0..ATTEMPTS_MAX {
            let connection: PoolConnection<sqlx::Postgres> = self.database.acquire().await?;
            let mut transaction = Transaction::begin(connection, None).await.map_err(Trouble::from)?;
            match deciding::attempt(&mut transaction, &self.database.names, append, gate).await {
                Ok(Attempt::Recorded(receipt)) => return Ok(Begun::Written(transaction, receipt)),
                Ok(Attempt::Duplicate(receipt)) => {
                    self.database.following.promise(receipt.last_position());
                    return Ok(Begun::Duplicate(receipt));
                }
                Ok(Attempt::Again) => {}
                Err(Trouble::Sql(error)) if is_collision(&error) => {}
                Err(trouble) => return Err(trouble.into()),
            }
            let _ = transaction.rollback().await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Err(deciding::crowded_out())
    }

    /// The events after a position that a transaction sees, its own too; at most so many.
    pub(crate) async fn events_within(
        &self,
        connection: &mut PgConnection,
        query: &Query,
        after: GlobalPosition,
        events_max: usize,
    ) -> Result<Vec<RecordedEvent>> {
        let from = row::number(after.number()).saturating_add(1);
        let events = i64::try_from(events_max).unwrap_or(i64::MAX);
        let range = Range { from, to: i64::MAX, direction: Direction::Forward, events };
        let rows = selection::events(&self.database.names, query, range, Which::Readable).fetch_all(connection).await;
        let events: sqlx::Result<Vec<_>> = rows.and_then(|rows| rows.iter().map(selection::event).collect());
        Ok(events.map_err(Trouble::from)?)
    }

    /// Commits what was begun; readers are told.
    pub(crate) async fn commit_append(&self, transaction: Transaction<'static, sqlx::Postgres>, receipt: &Receipt) -> Result<()> {
        transaction.commit().await.map_err(uncommitted)?;
        self.database.following.promise(receipt.last_position());
        Ok(())
    }

    /// A few connections to its database for rows beside it.
    pub(crate) fn pool_beside(&self, connections_max: u32) -> PgPool {
        let options = self.database.kept.pool.connect_options();
        PgPoolOptions::new().max_connections(connections_max).connect_lazy_with((*options).clone())
    }
}
