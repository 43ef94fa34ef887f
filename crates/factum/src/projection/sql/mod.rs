//! Rows in a SQL database: the rows of a batch and the position are committed together, or neither.
//!
//! A table `factum_projections` says of each version of each projection how far its rows are, and who may change them. Its row is locked
//! and moved by the first statement of each batch, so whoever has an older claim waits there, and is then refused.

mod names;
#[cfg(feature = "postgres")]
mod postgres;
mod rebuild;
mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;
mod value;

use async_trait::async_trait;

use self::rows::Transaction;
use super::target::{Build, Claim, Target, fenced, moved};
use crate::error::{Error, Result};
use crate::subscription::ParkedEvent;
use crate::{EventType, GlobalPosition, StreamId};

pub use rows::SqlRows;
pub use value::SqlValue;

/// A SQL database that projections write to: SQLite, with the feature `sqlite`, or PostgreSQL, with the feature `postgres`.
#[derive(Clone, Debug)]
pub struct SqlTarget {
    pool: Pool,
}

#[derive(Clone, Debug)]
enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::File),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

/// Tables that are made once in a database. `BIGINT` and `TEXT` mean the same in both.
const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS factum_projections (
        name TEXT NOT NULL, version BIGINT NOT NULL, fence BIGINT NOT NULL, position BIGINT NOT NULL, live BIGINT NOT NULL,
        tables TEXT NOT NULL, PRIMARY KEY (name, version))",
    "CREATE TABLE IF NOT EXISTS factum_parked (
        name TEXT NOT NULL, version BIGINT NOT NULL, position BIGINT NOT NULL, stream TEXT NOT NULL, stream_version BIGINT NOT NULL,
        event_type TEXT NOT NULL, attempts BIGINT NOT NULL, reason TEXT NOT NULL, parked_at TEXT NOT NULL, replay BIGINT NOT NULL,
        PRIMARY KEY (name, version, position))",
    "CREATE TABLE IF NOT EXISTS factum_rebuilds (name TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (name, version))",
];

impl SqlTarget {
    /// Opens `sqlite:PATH` or `postgres://…`, and makes the tables that Factum keeps positions in, if they are not there.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the URL is neither, or this build lacks its feature; [`Error::Unavailable`] if the database can't be opened.
    pub async fn connect(url: &str) -> Result<Self> {
        let pool = match url.split_once(':') {
            #[cfg(feature = "sqlite")]
            Some(("sqlite", path)) => Pool::Sqlite(sqlite::open(path).await?),
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => Pool::Postgres(postgres::open(url).await?),
            _ => {
                return Err(Error::invalid(
                    "a projection's database is sqlite:PATH, with the feature sqlite, or postgres://USER:PASSWORD@HOST:PORT/DATABASE, with \
                     the feature postgres",
                ));
            }
        };
        Self::in_pool(pool).await
    }

    /// Makes the tables that Factum keeps positions in, if they are not there.
    async fn in_pool(pool: Pool) -> Result<Self> {
        let target = Self { pool };
        let mut rows = target.transaction(&Build { name: String::new(), version: 0, tables: Vec::new() }).await?;
        #[cfg(feature = "postgres")]
        if matches!(rows.transaction, Transaction::Postgres(_)) {
            // Of two who make the tables at the same time one would fail.
            rows.execute("SELECT pg_advisory_xact_lock(7379123)", &[]).await?;
        }
        for table in TABLES {
            rows.execute(table, &[]).await?;
        }
        target.keep(rows).await?;
        Ok(target)
    }

    /// Reads rows, as readers see them.
    ///
    /// # Errors
    /// As [`SqlRows::fetch`].
    pub async fn fetch(&self, sql: &str, values: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        self.reading().await?.fetch(sql, values).await
    }

    /// A transaction that changes rows. In SQLite nobody else does so until it ends.
    async fn transaction(&self, build: &Build) -> Result<SqlRows> {
        match &self.pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(file) => {
                let mut rows = SqlRows::new(Transaction::Sqlite(file.write().await?), build);
                rows.execute(sqlite::BEGIN, &[]).await?;
                Ok(rows)
            }
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => Ok(SqlRows::new(Transaction::Postgres(pool.begin().await.map_err(trouble)?), build)),
        }
    }

    /// A transaction, and what its first statement gives. In SQLite both are one request to the connection's thread.
    async fn transaction_with(&self, build: &Build, sql: &str, values: &[SqlValue]) -> Result<(SqlRows, Vec<Vec<SqlValue>>)> {
        match &self.pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(file) => {
                let mut rows = SqlRows::new(Transaction::Sqlite(file.write().await?), build);
                let found = rows.fetch(&format!("{}; {sql}", sqlite::BEGIN), values).await?;
                Ok((rows, found))
            }
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => {
                let mut rows = self.transaction(build).await?;
                let found = rows.fetch(sql, values).await?;
                Ok((rows, found))
            }
        }
    }

    /// A transaction that only looks.
    async fn reading(&self) -> Result<SqlRows> {
        let transaction = match &self.pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(file) => Transaction::Sqlite(file.read().await?),
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => Transaction::Postgres(pool.begin().await.map_err(trouble)?),
        };
        Ok(SqlRows::new(transaction, &Build { name: String::new(), version: 0, tables: Vec::new() }))
    }
}

#[async_trait]
impl Target for SqlTarget {
    type Rows = SqlRows;

    async fn live_version(&self, name: &str) -> Result<Option<u32>> {
        let found = self.fetch("SELECT version FROM factum_projections WHERE name = $1 AND live = 1", &[name.into()]).await?;
        Ok(found.first().and_then(|row| row[0].as_integer()).and_then(|version| u32::try_from(version).ok()))
    }

    async fn claim(&self, build: &Build) -> Result<(SqlRows, Claim)> {
        build.tables.iter().try_for_each(|table| names::check(table))?;
        let mut rows = self.transaction(build).await?;
        // Only one version is live, also where two begin at the same time: the later one waits here for the earlier one's row.
        let insert = "INSERT INTO factum_projections (name, version, fence, position, live, tables)
             SELECT $1, $2, 0, 0, CASE WHEN EXISTS (SELECT 1 FROM factum_projections p WHERE p.name = $1) THEN 0 ELSE 1 END, $3
             WHERE TRUE ON CONFLICT (name, version) DO NOTHING";
        let is_new = rows.execute(insert, &[build.name.as_str().into(), build.version.into(), build.tables.join(",").into()]).await? == 1;
        let take = "UPDATE factum_projections SET fence = fence + 1 WHERE name = $1 AND version = $2 RETURNING fence, position, live";
        let row = rows.fetch(take, &of(build)).await?.pop().ok_or_else(|| gone(build))?;
        let (fence, position, live) = (number(&row[0]), number(&row[1]), number(&row[2]));
        if is_new && live == 1 {
            rows.to_show = Some(build.clone());
        }
        Ok((rows, Claim { fence, position: GlobalPosition::from_number(position), is_new }))
    }

    async fn keep(&self, rows: SqlRows) -> Result<()> {
        rows.commit().await
    }

    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> Result<Option<SqlRows>> {
        let [name, version] = of(build);
        let values = [name, version, signed(claim.fence), signed(claim.position.number()), signed(to.number())];
        let step = "UPDATE factum_projections SET position = $5 WHERE name = $1 AND version = $2 AND fence = $3 AND position = $4
             RETURNING position";
        let (mut rows, stepped) = self.transaction_with(build, step, &values).await?;
        if !stepped.is_empty() {
            return Ok(Some(rows));
        }
        let look = "SELECT fence, position FROM factum_projections WHERE name = $1 AND version = $2";
        let row = rows.fetch(look, &of(build)).await?.pop().ok_or_else(|| gone(build))?;
        match (number(&row[0]), GlobalPosition::from_number(number(&row[1]))) {
            (fence, _) if fence != claim.fence => Err(fenced(build, claim.fence, fence)),
            (_, position) if position == to => Ok(None),
            (_, position) => Err(moved(build, &claim, position)),
        }
    }

    async fn park(&self, build: &Build, rows: &mut SqlRows, event: &ParkedEvent) -> Result<()> {
        let [name, version] = of(build);
        let insert = "INSERT INTO factum_parked
             (name, version, position, stream, stream_version, event_type, attempts, reason, parked_at, replay)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)";
        let values = [
            name,
            version,
            signed(event.position.number()),
            event.stream.as_str().into(),
            signed(event.version),
            event.event_type.as_str().into(),
            event.attempts.into(),
            event.reason.as_str().into(),
            event.parked_at.to_string().into(),
        ];
        rows.execute(insert, &values).await.map(drop)
    }

    async fn parked(&self, build: &Build) -> Result<Vec<ParkedEvent>> {
        let select = "SELECT position, stream, stream_version, event_type, attempts, reason, parked_at, replay FROM factum_parked
             WHERE name = $1 AND version = $2 ORDER BY position";
        self.fetch(select, &of(build)).await?.iter().map(|row| parked(row)).collect()
    }

    async fn unpark(&self, build: &Build, rows: &mut SqlRows, position: GlobalPosition) -> Result<()> {
        rows.remove_parked(build, position).await.map(drop)
    }

    async fn ask_for_replay(&self, build: &Build, position: Option<GlobalPosition>, wanted: bool) -> Result<usize> {
        let [name, version] = of(build);
        let mut rows = self.transaction(build).await?;
        let update = "UPDATE factum_parked SET replay = $3 WHERE name = $1 AND version = $2";
        let asked = match position {
            Some(position) => {
                let values = [name, version, SqlValue::Integer(wanted.into()), signed(position.number())];
                rows.execute(&format!("{update} AND position = $4"), &values).await?
            }
            None => rows.execute(update, &[name, version, SqlValue::Integer(wanted.into())]).await?,
        };
        self.keep(rows).await?;
        Ok(usize::try_from(asked).unwrap_or(usize::MAX))
    }

    async fn asked_for(&self, name: &str) -> Result<Option<u32>> {
        let look = "SELECT MAX(r.version) FROM factum_rebuilds r JOIN factum_projections p ON p.name = r.name AND p.live = 1
             WHERE r.name = $1 AND r.version > p.version";
        let found = self.fetch(look, &[name.into()]).await?;
        Ok(found.first().and_then(|row| row[0].as_integer()).and_then(|version| u32::try_from(version).ok()))
    }

    async fn position(&self, name: &str) -> Result<GlobalPosition> {
        let found = self.fetch("SELECT position FROM factum_projections WHERE name = $1 AND live = 1", &[name.into()]).await?;
        Ok(found.first().map(|row| GlobalPosition::from_number(number(&row[0]))).unwrap_or_default())
    }
}

impl SqlRows {
    /// Takes an event back that was put aside, if it is there; how many that are.
    async fn remove_parked(&mut self, build: &Build, position: GlobalPosition) -> Result<u64> {
        let [name, version] = of(build);
        let delete = "DELETE FROM factum_parked WHERE name = $1 AND version = $2 AND position = $3";
        self.execute(delete, &[name, version, signed(position.number())]).await
    }

    /// Keeps what was changed; readers see tables that are made under their plain names.
    async fn commit(mut self) -> Result<()> {
        if let Some(build) = self.to_show.take() {
            for table in &build.tables {
                self.execute(&format!("DROP VIEW IF EXISTS {table}"), &[]).await?;
                self.execute(&format!("CREATE VIEW {table} AS SELECT * FROM {}", names::table(table, build.version)), &[]).await?;
            }
        }
        match self.transaction {
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(inner) => inner.commit().await,
            #[cfg(feature = "postgres")]
            Transaction::Postgres(inner) => inner.commit().await.map_err(uncommitted),
        }
    }
}

/// Which row of `factum_projections` is a build's.
fn of(build: &Build) -> [SqlValue; 2] {
    [build.name.as_str().into(), build.version.into()]
}

/// Positions and fences are numbers of 64 bits; the databases have a sign in theirs, which is the same bits.
fn signed(number: u64) -> SqlValue {
    SqlValue::Integer(number.cast_signed())
}

fn number(value: &SqlValue) -> u64 {
    value.as_integer().unwrap_or_default().cast_unsigned()
}

fn parked(row: &[SqlValue]) -> Result<ParkedEvent> {
    let text = |column: usize| row[column].as_text().unwrap_or_default().to_owned();
    Ok(ParkedEvent {
        position: GlobalPosition::from_number(number(&row[0])),
        stream: StreamId::new(text(1))?,
        version: number(&row[2]),
        event_type: EventType::new(text(3))?,
        attempts: u32::try_from(number(&row[4])).unwrap_or(u32::MAX),
        reason: text(5),
        parked_at: text(6).parse().unwrap_or_default(),
        replay: number(&row[7]) == 1,
    })
}

fn gone(build: &Build) -> Error {
    let Build { name, version, .. } = build;
    Error::invalid(format!("version {version} of projection {name} is not there any more; another version took its place"))
}

/// What the database says, as something that the caller does next.
fn trouble(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(ref refusal) if !is_passing(&**refusal) => {
            Error::invalid(format!("the projection's database refuses: {refusal}"))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
            Error::invalid(format!("a row of the projection's database is not as expected: {error}"))
        }
        sqlx::Error::PoolTimedOut => Error::Unavailable {
            reason:
                "no connection to the projection's database within half a minute; does it run there, and does it take more connections?"
                    .into(),
            source: Some(error.into()),
        },
        error => Error::Unavailable { reason: format!("the projection's database can't be used: {error}"), source: Some(error.into()) },
    }
}

/// Whether a refusal passes by itself: locks that others have, serialization, a server that starts or stops.
fn is_passing(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    let code = refusal.code().unwrap_or_default();
    // SQLite's are numbers: busy, locked, and a full disk. PostgreSQL's are classes of five letters.
    let of_sqlite = code.parse::<u32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 6 | 10 | 13));
    of_sqlite || ["40", "53", "55", "57", "08"].iter().any(|class| code.len() == 5 && code.starts_with(class))
}

/// A commit without an answer may have been carried out: whoever tries again finds the rows where they are.
fn uncommitted(error: sqlx::Error) -> Error {
    match trouble(error) {
        Error::Unavailable { reason, source } => Error::OutcomeUnknown { reason, source },
        error => error,
    }
}
