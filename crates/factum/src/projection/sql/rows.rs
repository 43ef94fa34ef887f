//! Rows in tables, within a transaction: statements with values, in which a table's name in braces stands for the table of this version.

use sqlx::{Arguments, AssertSqlSafe, Row};

use super::value::SqlValue;
use super::{names, trouble};
use crate::error::{Error, Result};
use crate::projection::target::Build;

/// The tables of one version of a projection, in a transaction.
///
/// Placeholders are `$1`, `$2`, … in every database. `{orders}` stands for the table `orders` of this version, if the projection names it
/// among its [`tables`](crate::Projection::tables).
pub struct SqlRows {
    pub(super) transaction: Transaction,
    names: Vec<(String, String)>,
    /// What readers are to see, once it is kept.
    pub(super) to_show: Option<Build>,
}

pub(super) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(super::sqlite::Session),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// So many values a statement takes at most; SQLite's bound is 32,766.
const VALUES_MAX: usize = 30_000;

/// Makes a driver's arguments of values; drivers have a type each, so it can't be a function.
macro_rules! arguments {
    ($driver:ty, $values:expr) => {{
        let values = $values;
        let mut arguments = <$driver as sqlx::Database>::Arguments::default();
        arguments.reserve(values.size_hint().0, 0);
        for value in values {
            let added = match value {
                SqlValue::Null => arguments.add(super::value::Nothing),
                SqlValue::Integer(number) => arguments.add(number),
                SqlValue::Real(number) => arguments.add(number),
                SqlValue::Text(text) => arguments.add(text),
                SqlValue::Bytes(bytes) => arguments.add(bytes),
                SqlValue::Boolean(yes) => arguments.add(yes),
            };
            added.map_err(|error| trouble(sqlx::Error::Encode(error)))?;
        }
        arguments
    }};
}
impl SqlRows {
    pub(super) fn new(transaction: Transaction, build: &Build) -> Self {
        let names = build.tables.iter().map(|table| (format!("{{{table}}}"), names::table(table, build.version))).collect();
        Self { transaction, names, to_show: None }
    }

    /// Rows in the transaction of an append.
    #[cfg(feature = "postgres")]
    pub(in crate::projection) fn within(transaction: sqlx::Transaction<'static, sqlx::Postgres>, build: &Build) -> Self {
        Self::new(Transaction::Postgres(transaction), build)
    }

    /// Runs one statement with values, and says how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(&mut self, sql: &str, values: &[SqlValue]) -> Result<u64> {
        self.run(self.with_names(sql), values.iter().cloned()).await
    }

    /// Runs one statement for many rows, of which each has the values that it takes: `$rows` in the statement stands for all of them, as in
    /// `INSERT INTO {orders} (id, cents) VALUES $rows`. A batch that goes in together costs far less than one row after the other. Very
    /// many are divided over several statements. Says how many rows they changed.
    ///
    /// With `ON CONFLICT … DO UPDATE`, PostgreSQL refuses two rows with one key in a statement: put them together before.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the statement has no `$rows`; and what the database says.
    pub async fn execute_rows<const N: usize>(&mut self, sql: &str, rows: Vec<[SqlValue; N]>) -> Result<u64> {
        let sql = self.with_names(sql);
        let Some((before, behind)) = sql.split_once("$rows").filter(|_| N > 0) else {
            return Err(Error::invalid(format!("this statement has no $rows that values could stand for: {sql}")));
        };
        let mut changed = 0;
        let mut left = rows.into_iter();
        while left.len() > 0 {
            let rows = left.len().min(VALUES_MAX / N);
            let text = [before, &self.placeholders(rows, N), behind].concat();
            changed += self.run(text, left.by_ref().take(rows).flatten()).await?;
        }
        Ok(changed)
    }

    /// Places for the values of so many rows: `(?, ?), (?, ?)`.
    fn placeholders(&self, rows: usize, columns: usize) -> String {
        match &self.transaction {
            // It looks through the names of all placeholders for each that has one, so these have none.
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(_) => {
                let row = format!("({}), ", ["?"].repeat(columns).join(", "));
                row.repeat(rows).trim_end_matches(", ").to_owned()
            }
            #[cfg(feature = "postgres")]
            Transaction::Postgres(_) => {
                let row = |row: usize| (1..=columns).map(|column| format!("${}", row * columns + column)).collect::<Vec<_>>().join(", ");
                (0..rows).map(|number| format!("({})", row(number))).collect::<Vec<_>>().join(", ")
            }
        }
    }

    async fn run(&mut self, sql: String, values: impl Iterator<Item = SqlValue>) -> Result<u64> {
        let sql = AssertSqlSafe(sql);
        let changed = match &mut self.transaction {
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(inner) => {
                let query = sqlx::query_with(sql, arguments!(sqlx::Sqlite, values));
                query.execute(&mut **inner).await.map_err(trouble)?.rows_affected()
            }
            #[cfg(feature = "postgres")]
            Transaction::Postgres(inner) => {
                let query = sqlx::query_with(sql, arguments!(sqlx::Postgres, values));
                query.execute(&mut **inner).await.map_err(trouble)?.rows_affected()
            }
        };
        Ok(changed)
    }

    /// Reads rows.
    ///
    /// # Errors
    /// What the database says; and if a column is of a type that no [`SqlValue`] is, which a `CAST` in the statement changes.
    pub async fn fetch(&mut self, sql: &str, values: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        let sql = AssertSqlSafe(self.with_names(sql));
        match &mut self.transaction {
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(inner) => {
                let query = sqlx::query_with(sql, arguments!(sqlx::Sqlite, values.iter().cloned()));
                let rows = query.fetch_all(&mut **inner).await.map_err(trouble)?;
                rows.iter().map(|row| (0..row.len()).map(|column| super::sqlite::value(row, column)).collect()).collect()
            }
            #[cfg(feature = "postgres")]
            Transaction::Postgres(inner) => {
                let query = sqlx::query_with(sql, arguments!(sqlx::Postgres, values.iter().cloned()));
                let rows = query.fetch_all(&mut **inner).await.map_err(trouble)?;
                rows.iter().map(|row| (0..row.len()).map(|column| super::postgres::value(row, column)).collect()).collect()
            }
        }
    }

    fn with_names(&self, sql: &str) -> String {
        self.names.iter().fold(sql.to_owned(), |sql, (placeholder, name)| sql.replace(placeholder.as_str(), name))
    }
}

impl std::fmt::Debug for SqlRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlRows").field("names", &self.names).finish_non_exhaustive()
    }
}
