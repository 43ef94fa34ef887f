//! The commands on keys, whatever they hold.

use crate::redis::keyspace::{Answered, Context, Key};
use crate::redis::resp::{Reply, Request};

fn all(context: &Context<'_>, request: &Request) -> Vec<Key> {
    (1..request.len()).map(|place| context.key(request.bytes(place))).collect()
}

pub(super) fn del(context: &mut Context<'_>, request: &Request) -> Answered {
    let keys = all(context, request);
    context.need(&keys)?;
    let mut count = 0;
    for key in &keys {
        context.slot(key)?;
        count += i64::from(context.remove(key));
    }
    Ok(Reply::Integer(count).into())
}
