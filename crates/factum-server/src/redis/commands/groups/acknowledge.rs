//! XACK: entries are taken off what is pending.

use std::sync::Arc;

use crate::redis::commands::call;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context};
use crate::redis::resp::{Reply, Request};

pub(crate) fn acknowledge(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let Some(shared) = context.stream(&key)?.and_then(|stream| stream.groups.get_mut(&request[2])) else {
        return Ok(Reply::Integer(0).into());
    };
    let ids: Vec<EntryId> = request.iter().skip(3).map(|text| call::id(text, 0)).collect::<Result<_, _>>()?;
    let group = Arc::make_mut(shared);
    let count = ids.into_iter().filter(|id| group.remove(*id).is_some()).count();
    if count > 0 {
        context.changed_groups(&key);
    }
    Ok(Reply::count(count).into())
}
