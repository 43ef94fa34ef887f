//! A projection that runs inline: its rows and the append are committed together, or neither. For stores whose events are in the database of
//! the rows, which is PostgreSQL.
//!
//! An inline append keeps all other appends out until it is committed. So it sees everything that is recorded before it, also by those who
//! don't run the projection, and the rows are the fold of the log up to their position, as they are behind a projector. Each can take over
//! from the other.

use std::sync::Arc;

use async_trait::async_trait;

use super::sql::{SqlRows, SqlTarget};
use super::target::Build;
use super::{Projection, Projector};
use crate::backend::Postgres;
use crate::backend::postgres::Begun;
use crate::error::{Error, Result};
use crate::{
    Append, Capabilities, EventStore, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog, ReadStream, Receipt, Record,
    RecordName, RecordVersion, RecordWrite, Stats, StreamId, StreamInfo, StreamVersion,
};

/// So many events of others are applied while everybody waits; more are caught up with before.
const BEHIND_MAX: usize = 200;
/// So often what is missing is caught up with before an append, while nobody waits.
const CATCH_UPS_MAX: u32 = 5;

/// A store in PostgreSQL whose appends change the rows of a projection in the same transaction.
///
/// It is a store as any other, for a [`Repository`](crate::Repository) too: when an append returns, its rows are there. If the projection can't
/// apply an event, the append is refused with [`Error::HandlerFailed`] and nothing is recorded. The price is that appends go one by one.
/// Programs that append without it are not held up by the projection; what they recorded is applied before the next inline append.
pub struct Inline<P> {
    store: Arc<Postgres>,
    projector: Projector<P, SqlTarget>,
    build: Build,
}

impl<P: Projection<SqlRows>> Inline<P> {
    /// Opens the store that a `postgres://` URL names, and brings the rows up to its end.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is another store; and as [`Inline::new`].
    pub async fn connect(url: &str, projection: P) -> Result<Self> {
        let scheme = url.split(':').next().unwrap_or_default();
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(Error::Unsupported {
                feature: format!("running projection {} inline with its appends", projection.name()),
                store: scheme.to_owned(),
                instead: "run it with a Projector and wait for a receipt with wait_for; a store in PostgreSQL can".to_owned(),
            });
        }
        Self::new(Arc::new(Postgres::connect(url).await?), projection).await
    }

    /// Runs `projection` with each append to `store`, into tables of the same database, and brings its rows up to the end of the log.
    ///
    /// # Errors
    /// As [`Projector::run_to_end`].
    pub async fn new(store: Arc<Postgres>, projection: P) -> Result<Self> {
        let target = SqlTarget::beside(&store).await?;
        let build = Build {
            name: projection.name().to_owned(),
            version: 0,
            tables: projection.tables().iter().map(|table| (*table).to_owned()).collect(),
        };
        let projector = Projector::new(store.clone(), target.clone(), projection);
        let mut inline = Self { store, projector, build };
        inline.catch_up().await?;
        // Whoever else caught up made the rows.
        inline.build.version = super::Target::live_version(&target, &inline.build.name).await?.unwrap_or(1);
        Ok(inline)
    }

    /// Where the rows are.
    pub fn target(&self) -> &SqlTarget {
        &self.projector.target
    }

    /// Applies what others recorded. Somebody else may do the same at the same time, and be the later one.
    async fn catch_up(&self) -> Result<()> {
        match self.projector.run_to_end().await {
            Err(Error::Fenced { .. } | Error::Invalid { .. }) if self.build.version != 0 => Ok(()),
            ended => ended,
        }
    }

    async fn append_once(&self, append: &Append, behind_max: usize) -> Result<Option<Receipt>> {
        let (transaction, receipt) = match self.store.begin_append_alone(append).await? {
            Begun::Duplicate(receipt) => return Ok(Some(receipt)),
            Begun::Written(transaction, receipt) => (transaction, receipt),
        };
        let to = receipt.last_position();
        let projection = &self.projector.projection;
        let mut rows = SqlRows::within(transaction, &self.build);
        if to > GlobalPosition::START {
            let from = rows.step_inline(&self.build, to).await?;
            let events_max = behind_max.saturating_add(append.events());
            let query = projection.query();
            let events = self.store.events_within(rows.connection(), &query, from, events_max.saturating_add(1)).await?;
            if events.len() > events_max {
                return Ok(None);
            }
            if let Err(error) = projection.apply_all(&events, &mut rows).await {
                let Some(event) = events.last() else {
                    return Err(Error::Unavailable { reason: format!("nothing could not be applied: {error}"), source: Some(error) });
                };
                return Err(Error::handler_failed(projection.name(), event, 1, error));
            }
        }
        self.store.commit_append(rows.into_transaction(), &receipt).await?;
        Ok(Some(receipt))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Projection<SqlRows>> EventStore for Inline<P> {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        for _ in 0..CATCH_UPS_MAX {
            if let Some(receipt) = self.append_once(&append, BEHIND_MAX).await? {
                return Ok(receipt);
            }
            self.catch_up().await?;
        }
        // Others record faster than the projection, so they wait now.
        let receipt = self.append_once(&append, usize::MAX).await?;
        Ok(receipt.expect("there is no bound that events could be beyond"))
    }

    async fn append_alone(&self, append: Append) -> Result<Receipt> {
        self.append(append).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.store.read_stream(stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        self.store.read_log(options)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.store.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.store.wait_after(position).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.store.stream(stream).await
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        self.store.streams(options)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.store.truncate_before(stream, before).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.store.record(name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        self.store.write_record(write).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.store.stats().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

impl<P> std::fmt::Debug for Inline<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline").field("build", &self.build).finish_non_exhaustive()
    }
}
