//! What is PostgreSQL's own: connecting, and what its rows hold.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{Row, TypeInfo, ValueRef};

use super::rows::Transaction;
use super::{SqlRows, SqlTarget, SqlValue, gone, number, of, signed, trouble};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::projection::target::Build;

/// So many connections a target has at most.
const CONNECTIONS_MAX: u32 = 4;

/// Connects to a database.
pub(super) async fn open(url: &str) -> Result<PgPool> {
    // What the driver says of a URL that it does not understand may hold the password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| Error::invalid("this is not a PostgreSQL URL; it looks like postgres://USER:PASSWORD@HOST:PORT/DATABASE"))?;
    PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options.application_name("factum-projection")).await.map_err(trouble)
}

impl SqlTarget {
    /// The database that a store is in.
    pub(in crate::projection) async fn beside(store: &crate::backend::Postgres) -> Result<Self> {
        Self::in_pool(super::Pool::Postgres(store.pool_beside(CONNECTIONS_MAX))).await
    }
}

/// What an inline projection does with its rows, in the transaction of an append.
impl SqlRows {
    /// Moves a build to a position, whoever runs it otherwise; where it was. Whoever fills it at the same time is told so.
    pub(in crate::projection) async fn step_inline(&mut self, build: &Build, to: GlobalPosition) -> Result<GlobalPosition> {
        let lock = "SELECT position FROM factum_projections WHERE name = $1 AND version = $2 AND live = 1 FOR UPDATE";
        let row = self.fetch(lock, &of(build)).await?.pop().ok_or_else(|| gone(build))?;
        let step = "UPDATE factum_projections SET position = $3, fence = fence + 1 WHERE name = $1 AND version = $2";
        let [name, version] = of(build);
        self.execute(step, &[name, version, signed(to.number())]).await?;
        Ok(GlobalPosition::from_number(number(&row[0])))
    }

    /// The connection that its transaction is on.
    pub(in crate::projection) fn connection(&mut self) -> &mut sqlx::PgConnection {
        match &mut self.transaction {
            Transaction::Postgres(transaction) => transaction,
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(_) => unreachable!("an append is in PostgreSQL"),
        }
    }

    /// Its transaction, to be committed with the append.
    pub(in crate::projection) fn into_transaction(self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        match self.transaction {
            Transaction::Postgres(transaction) => transaction,
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(_) => unreachable!("an append is in PostgreSQL"),
        }
    }
}

/// What a row holds in a column.
pub(super) fn value(row: &PgRow, column: usize) -> Result<SqlValue> {
    let raw = row.try_get_raw(column).map_err(trouble)?;
    if raw.is_null() {
        return Ok(SqlValue::Null);
    }
    let name = raw.type_info().name().to_owned();
    let value = match name.as_str() {
        "INT8" => row.try_get(column).map(SqlValue::Integer),
        "INT4" => row.try_get::<i32, _>(column).map(|number| SqlValue::Integer(number.into())),
        "INT2" => row.try_get::<i16, _>(column).map(|number| SqlValue::Integer(number.into())),
        "FLOAT8" => row.try_get(column).map(SqlValue::Real),
        "FLOAT4" => row.try_get::<f32, _>(column).map(|number| SqlValue::Real(number.into())),
        "BOOL" => row.try_get(column).map(SqlValue::Boolean),
        "BYTEA" => row.try_get(column).map(SqlValue::Bytes),
        "TEXT" | "VARCHAR" | "BPCHAR" | "NAME" => row.try_get::<String, _>(column).map(SqlValue::from),
        _ => {
            return Err(Error::invalid(format!(
                "a column of type {name} can't be read as it is; CAST it to TEXT, BIGINT or DOUBLE PRECISION"
            )));
        }
    };
    value.map_err(trouble)
}
