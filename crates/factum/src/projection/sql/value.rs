//! Values that go into statements and come out of rows, the same for every database.

use std::sync::Arc;

/// A value in a statement or a row.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// Nothing.
    Null,
    /// A whole number, also of smaller columns.
    Integer(i64),
    /// A number with a point.
    Real(f64),
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Yes or no; a number where the database has no type for it.
    Boolean(bool),
}

impl SqlValue {
    /// The whole number that it is.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Boolean(yes) => Some(i64::from(*yes)),
            Self::Null | Self::Real(_) | Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    /// The text that it is.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Integer(_) | Self::Real(_) | Self::Bytes(_) | Self::Boolean(_) => None,
        }
    }
}

impl std::fmt::Display for SqlValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Integer(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Boolean(yes) => yes.fmt(f),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for SqlValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}
from!(i64 => Integer, i32 => Integer, u32 => Integer, f64 => Real, &str => Text, String => Text, Vec<u8> => Bytes, bool => Boolean);

impl<T: Into<SqlValue>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A null of no type, so that the database takes it for one of the column's.
pub(super) struct Nothing;

#[cfg(feature = "sqlite")]
impl sqlx::Type<sqlx::Sqlite> for Nothing {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <i64 as sqlx::Type<sqlx::Sqlite>>::type_info()
    }
}

#[cfg(feature = "sqlite")]
impl sqlx::Encode<'_, sqlx::Sqlite> for Nothing {
    fn encode_by_ref(&self, _: &mut sqlx::sqlite::SqliteArgumentsBuffer) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}

#[cfg(feature = "postgres")]
impl sqlx::Type<sqlx::Postgres> for Nothing {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        // The type `unknown`, of which a literal is until it is used.
        sqlx::postgres::PgTypeInfo::with_oid(sqlx::postgres::types::Oid(705))
    }
}

#[cfg(feature = "postgres")]
impl sqlx::Encode<'_, sqlx::Postgres> for Nothing {
    fn encode_by_ref(&self, _: &mut sqlx::postgres::PgArgumentBuffer) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}
