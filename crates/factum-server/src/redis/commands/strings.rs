//! The commands on strings.

use bytes::Bytes;

use super::call::SYNTAX;
use crate::redis::keyspace::{Answered, Context, Key, Stop, Value, WRONG_TYPE, own};
use crate::redis::resp::{Reply, Request};

/// The string at a key.
fn text(context: &mut Context<'_>, key: &Key) -> Result<Option<Bytes>, Stop> {
    match &context.slot(key)?.value {
        Value::Text(text) => Ok(Some(text.clone())),
        Value::Nothing => Ok(None),
        Value::Hash(_) | Value::Stream => Err(WRONG_TYPE),
    }
}

pub(super) fn get(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    Ok(text(context, &key)?.map_or(Reply::Null, Reply::Bulk).into())
}

pub(super) fn set(context: &mut Context<'_>, request: &Request) -> Answered {
    if request.len() > 3 {
        return Err(SYNTAX);
    }
    let key = context.key(request.bytes(1));
    context.put(&key, Value::Text(own(&request[2])))?;
    Ok(Reply::OK.into())
}
