//! What is PostgreSQL's own: connecting, and what its rows hold.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{Row, TypeInfo, ValueRef};

use super::{SqlValue, trouble};
use crate::error::{Error, Result};

/// Connects to a database.
pub(super) async fn open(url: &str) -> Result<PgPool> {
    // What the driver says of a URL that it does not understand may hold the password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| Error::invalid("this is not a PostgreSQL URL; it looks like postgres://USER:PASSWORD@HOST:PORT/DATABASE"))?;
    PgPoolOptions::new().max_connections(4).connect_with(options.application_name("factum-projection")).await.map_err(trouble)
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
        "TEXT" | "VARCHAR" | "BPCHAR" | "NAME" => row.try_get(column).map(SqlValue::Text),
        _ => {
            return Err(Error::invalid(format!(
                "a column of type {name} can't be read as it is; CAST it to TEXT, BIGINT or DOUBLE PRECISION"
            )));
        }
    };
    value.map_err(trouble)
}
