//! Truncating a stream: its first events lose their content and their ids. That they were recorded stays, for conditions and counts.

use sqlx::{Connection, PgConnection, Row};

use super::database::Names;
use super::error::Trouble;
use super::row;
use crate::store::admit_truncation;
use crate::{StreamId, StreamInfo, StreamVersion};

/// Truncates, in a transaction of its own, which is left to be committed.
pub(super) async fn truncate<'c>(
    connection: &'c mut PgConnection,
    names: &Names,
    stream: &StreamId,
    before: StreamVersion,
) -> Result<(sqlx::Transaction<'c, sqlx::Postgres>, StreamInfo), Trouble> {
    let mut transaction = connection.begin().await?;
    let lock = format!("SELECT {}, s.first_version, s.id FROM {{s}}.streams s WHERE s.name = $1 FOR UPDATE", row::STREAM_VERSION);
    let found = sqlx::query(names.sql(&lock)).bind(stream.as_str()).fetch_optional(&mut *transaction).await?;
    let (version, held, id): (i64, i64, i64) = match found {
        Some(row) => (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
        None => (0, 0, 0),
    };
    let (version, held) = (row::version(version), row::version(held));
    let first = admit_truncation(stream, version, held, before)?;
    if first > held {
        let first = row::number(first.get());
        let move_first = "UPDATE {s}.streams SET first_version = $2 WHERE id = $1";
        sqlx::query(names.sql(move_first)).bind(id).bind(first).execute(&mut *transaction).await?;
        let empty = "UPDATE {s}.events SET id = NULL, data = NULL, metadata = NULL, occurred_at = NULL, occurred_nanos = NULL
                     WHERE stream = $1 AND version < $2 AND data IS NOT NULL";
        sqlx::query(names.sql(empty)).bind(id).bind(first).execute(&mut *transaction).await?;
    }
    Ok((transaction, StreamInfo { stream: stream.clone(), version, first_version: first }))
}
