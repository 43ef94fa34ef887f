//! Records: small named bytes with a version to compare and set.

use bytes::Bytes;
use sqlx::{PgConnection, Row};

use super::database::Names;
use super::error::Trouble;
use super::row;
use crate::error::Error;
use crate::{Record, RecordName, RecordVersion, RecordWrite};

/// The record of that name.
pub(super) async fn record(connection: &mut PgConnection, names: &Names, name: &RecordName) -> sqlx::Result<Option<Record>> {
    let look = "SELECT version, value FROM {s}.records WHERE name = $1 AND value IS NOT NULL";
    let found = sqlx::query(names.sql(look)).bind(name.as_str()).fetch_optional(connection).await?;
    let record = |row: sqlx::postgres::PgRow| {
        let value: &[u8] = row.try_get(1)?;
        Ok(Record { version: record_version(row.try_get(0)?), value: Bytes::copy_from_slice(value) })
    };
    found.map(record).transpose()
}

/// Writes a record, in the transaction that the connection is in or in one of its own.
pub(super) async fn write(connection: &mut PgConnection, names: &Names, write: &RecordWrite) -> Result<RecordVersion, Trouble> {
    let row = sqlx::query(names.sql("SELECT refused, new_version FROM {s}.write_record($1, $2, $3)"))
        .bind(write.name.as_str())
        .bind(write.value.as_deref())
        .bind(write.expected.map(|version| row::number(version.get())))
        .fetch_one(connection)
        .await?;
    let (refused, version): (bool, i64) = (row.try_get(0)?, row.try_get(1)?);
    let version = record_version(version);
    match write.expected {
        Some(expected) if refused => Err(Error::RecordConflict { name: write.name.clone(), expected, actual: version }.into()),
        _ => Ok(version),
    }
}

fn record_version(number: i64) -> RecordVersion {
    RecordVersion::new(u64::try_from(number).unwrap_or_default())
}
