//! Poolers that give each transaction another session of the server: noticed, and refused.
//!
//! How commits are synced, which statements are prepared and who listens are settings of a session. In transaction mode what one connection
//! sets would hold for another, and an append might be answered before it is durable although that was asked for.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use uuid::Uuid;

use super::error::Trouble;
use crate::error::Error;

/// Refuses a pooler in transaction mode. `first` is a connection to where `connect` leads.
pub(super) async fn refuse(first: &mut PgConnection, connect: &PgConnectOptions) -> Result<(), Trouble> {
    let mut second = PgConnection::connect_with(connect).await?;
    let shared = share_sessions(first, &mut second).await?;
    // Its transaction, if it is in one, ends with it.
    _ = second.close().await;
    if shared {
        let reason =
            "a pooler in transaction mode stands in between, where settings of one session reach others, and with them how far appends \
                      are durable; set its pool_mode to session, or connect to the server itself"
                .to_owned();
        return Err(Error::Unavailable { reason, source: None }.into());
    }
    Ok(())
}

/// Marks the session of one connection, and looks whether the other finds the mark, or the first finds it gone while the other holds a
/// session. Both are asked without prepared statements, which a pooler may lose.
async fn share_sessions(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mark = Uuid::now_v7().simple().to_string();
    sqlx::raw_sql(AssertSqlSafe(format!("SET factum.session = '{mark}'"))).execute(&mut *first).await?;
    sqlx::raw_sql("BEGIN").execute(&mut *second).await?;
    // A pool of one session would have none for the first as long as the second has it: so this comes before.
    Ok(found_by(second).await?.as_ref() == Some(&mark) || found_by(first).await?.as_ref() != Some(&mark))
}

async fn found_by(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::raw_sql("SELECT current_setting('factum.session', true)").fetch_one(connection).await?.try_get(0)
}
