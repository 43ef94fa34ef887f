//! Reading page by page: lazy, with memory bounded in events and in bytes, and no connection held between pages.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query as Statement;
use sqlx::{PgConnection, Postgres, Row};

use super::database::{Database, read};
use super::row;
use super::selection::{self, Range, Which};
use crate::error::Result;
use crate::{Category, Direction, EventStream, InfoStream, ListStreams, Query, ReadLog, ReadStream, RecordedEvent, StreamId, StreamInfo};

const FIRST_PAGE: i64 = 128;
const LAST_PAGE: i64 = 2_048;
/// A page ends when it has so many bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Something that is read page by page; one page asks for what follows the one before.
trait Pager: Send + 'static {
    type Item: Send + 'static;

    /// The statement that reads the next page, of at most so many items.
    fn statement(&self, database: &Database, items: i64) -> Statement<'static, Postgres, PgArguments>;

    fn item(&self, row: &PgRow) -> sqlx::Result<Self::Item>;

    /// How many bytes it has, about.
    fn bytes(item: &Self::Item) -> usize;

    /// The next page follows this item.
    fn pass(&mut self, item: &Self::Item);

    /// Called before the first page.
    fn begin(&mut self, database: &Database) -> impl Future<Output = Result<()>> + Send {
        let _ = database;
        async { Ok(()) }
    }
}

/// Reads a stream.
pub(super) fn stream(database: Arc<Database>, id: &StreamId, options: ReadStream) -> EventStream {
    let ReadStream { from, to, direction, limit } = options;
    let from = row::number(from.unwrap_or_default().get());
    let to = to.map_or(i64::MAX, |to| row::number(to.get()));
    pages(database, StreamPager { id: id.clone(), from, to, direction }, limit)
}

/// Reads the log.
pub(super) fn log(database: Arc<Database>, options: ReadLog) -> EventStream {
    let ReadLog { after, up_to, query, direction, limit } = options;
    let from = row::number(after.number()).saturating_add(1);
    let to = up_to.map_or(i64::MAX, |up_to| row::number(up_to.number()));
    pages(database, LogPager { from, to, query, direction }, limit)
}

/// Lists streams.
pub(super) fn streams(database: Arc<Database>, options: ListStreams) -> InfoStream {
    pages(database, InfoPager { category: options.category, after: 0 }, options.limit).map_ok(|(_, info)| info).boxed()
}

/// What is known of a stream.
pub(super) async fn info(connection: &mut PgConnection, database: &Database, id: &StreamId) -> sqlx::Result<Option<StreamInfo>> {
    let look = format!("SELECT {}, s.first_version FROM {{s}}.streams s WHERE s.name = $1", row::STREAM_VERSION);
    let row = sqlx::query(database.names.sql(&look)).bind(id.as_str()).fetch_optional(connection).await?;
    row.map(|row| info_of(&row, id.clone())).transpose()
}

fn info_of(row: &PgRow, stream: StreamId) -> sqlx::Result<StreamInfo> {
    Ok(StreamInfo { stream, version: row::version(row.try_get(0)?), first_version: row::version(row.try_get(1)?) })
}

/// A read between two pages.
struct Pages<P> {
    database: Arc<Database>,
    pager: P,
    begun: bool,
    ended: bool,
    /// The size of the next page.
    items: i64,
    /// How many items may still be given out.
    left: u64,
}

fn pages<P: Pager + Sync>(database: Arc<Database>, pager: P, limit: Option<u64>) -> BoxStream<'static, Result<P::Item>> {
    let pages = Pages { database, pager, begun: false, ended: false, items: FIRST_PAGE, left: limit.unwrap_or(u64::MAX) };
    let pages = stream::try_unfold(pages, |mut pages| async move {
        let page = pages.next().await?;
        Ok::<_, crate::Error>(page.map(|page| (stream::iter(page.into_iter().map(Ok)), pages)))
    });
    pages.try_flatten().boxed()
}

impl<P: Pager + Sync> Pages<P> {
    async fn next(&mut self) -> Result<Option<Vec<P::Item>>> {
        self.database.check_open()?;
        if self.ended || self.left == 0 {
            return Ok(None);
        }
        if !self.begun {
            self.pager.begin(&self.database).await?;
            self.begun = true;
        }
        let items = self.items.min(row::number(self.left));
        let (pager, database) = (&self.pager, &*self.database);
        let (page, is_whole) = read!(database, |connection| read_page(connection, pager, database, items));
        let count = page.len();
        self.ended = is_whole && (count as u64) < items.unsigned_abs();
        self.left -= count as u64;
        self.items = (self.items * 4).min(LAST_PAGE);
        if let Some(last) = page.last() {
            self.pager.pass(last);
        }
        Ok(Some(page))
    }
}

/// Reads a page, and whether it was read to its end.
async fn read_page<P: Pager>(
    connection: &mut PgConnection,
    pager: &P,
    database: &Database,
    items: i64,
) -> sqlx::Result<(Vec<P::Item>, bool)> {
    let mut rows = pager.statement(database, items).fetch(connection);
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let item = pager.item(&row)?;
        bytes += P::bytes(&item);
        page.push(item);
        if bytes > PAGE_BYTES_MAX {
            return Ok((page, false));
        }
    }
    Ok((page, true))
}

struct StreamPager {
    id: StreamId,
    from: i64,
    to: i64,
    direction: Direction,
}

impl Pager for StreamPager {
    type Item = RecordedEvent;

    fn statement(&self, database: &Database, items: i64) -> Statement<'static, Postgres, PgArguments> {
        let order = if self.direction == Direction::Forward { "ASC" } else { "DESC" };
        let text = format!(
            "SELECT {} FROM {{s}}.events e WHERE e.stream = (SELECT s.id FROM {{s}}.streams s WHERE s.name = $1)
             AND e.version BETWEEN greatest($2, (SELECT s.first_version FROM {{s}}.streams s WHERE s.name = $1)) AND $3 ORDER BY e.version {order} LIMIT $4",
            row::COLUMNS
        );
        sqlx::query(database.names.sql(&text)).bind(self.id.to_string()).bind(self.from).bind(self.to).bind(items)
    }

    fn item(&self, row: &PgRow) -> sqlx::Result<RecordedEvent> {
        row::event(row, self.id.clone())
    }

    fn bytes(event: &RecordedEvent) -> usize {
        event.data.len() + event.metadata.len()
    }

    fn pass(&mut self, event: &RecordedEvent) {
        let version = row::number(event.version.get());
        match self.direction {
            Direction::Forward => self.from = version + 1,
            Direction::Backward => self.to = version - 1,
        }
    }
}

struct LogPager {
    from: i64,
    to: i64,
    query: Query,
    direction: Direction,
}

impl Pager for LogPager {
    type Item = RecordedEvent;

    /// The end is fixed before anything is read: up to there everything is settled.
    async fn begin(&mut self, database: &Database) -> Result<()> {
        if !database.is_settled(self.to) {
            self.to = self.to.min(database.settled_to().await?);
        }
        Ok(())
    }

    fn statement(&self, database: &Database, items: i64) -> Statement<'static, Postgres, PgArguments> {
        let range = Range { from: self.from, to: self.to, direction: self.direction, events: items };
        selection::events(&database.names, &self.query, range, Which::Readable)
    }

    fn item(&self, row: &PgRow) -> sqlx::Result<RecordedEvent> {
        selection::event(row)
    }

    fn bytes(event: &RecordedEvent) -> usize {
        event.data.len() + event.metadata.len()
    }

    fn pass(&mut self, event: &RecordedEvent) {
        let position = row::number(event.position.number());
        match self.direction {
            Direction::Forward => self.from = position + 1,
            Direction::Backward => self.to = position - 1,
        }
    }
}

/// A stream in the list, and its place there: the position of its first event.
type Listed = (i64, StreamInfo);

struct InfoPager {
    category: Option<Category>,
    after: i64,
}

impl Pager for InfoPager {
    type Item = Listed;

    fn statement(&self, database: &Database, items: i64) -> Statement<'static, Postgres, PgArguments> {
        let look = format!("SELECT {}, s.first_version, s.id, s.name FROM {{s}}.streams s", row::STREAM_VERSION);
        match &self.category {
            None => {
                let text = format!("{look} WHERE s.id > $1 ORDER BY s.id LIMIT $2");
                sqlx::query(database.names.sql(&text)).bind(self.after).bind(items)
            }
            Some(category) => {
                let text = format!("{look} WHERE s.id > $1 AND s.category = $3 ORDER BY s.id LIMIT $2");
                sqlx::query(database.names.sql(&text)).bind(self.after).bind(items).bind(category.to_string())
            }
        }
    }

    fn item(&self, row: &PgRow) -> sqlx::Result<Listed> {
        Ok((row.try_get(2)?, info_of(row, row::stream(row, 3)?)?))
    }

    fn bytes((_, info): &Listed) -> usize {
        info.stream.as_str().len()
    }

    fn pass(&mut self, (place, _): &Listed) {
        self.after = *place;
    }
}
