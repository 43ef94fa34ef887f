//! XPENDING: what was delivered and not acknowledged.

use super::no_group;
use crate::redis::commands::call::{SYNTAX, is, number};
use crate::redis::commands::streams::range::interval;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Group};
use crate::redis::resp::{Reply, Request};

pub(crate) fn pending(context: &mut Context<'_>, request: &Request) -> Answered {
    let is_summary = request.len() == 3;
    if !is_summary && !(6..=9).contains(&request.len()) {
        return Err(SYNTAX);
    }
    let mut place = 3;
    let mut idle_min = 0;
    let mut range = (EntryId::MIN, EntryId::MAX, 0, None);
    if !is_summary {
        if is(&request[3], "idle") {
            idle_min = u64::try_from(number(&request[4])?).unwrap_or(0);
            if request.len() < 8 {
                return Err(SYNTAX);
            }
            place = 5;
        }
        let count = usize::try_from(number(&request[place + 2])?).unwrap_or(0);
        let (start, end) = interval(&request[place], &request[place + 1])?;
        range = (start, end, count, request.get(place + 3));
    }
    let key = context.key(request.bytes(1));
    let now = context.now;
    let stream = context.stream(&key)?;
    let Some(group) = stream.and_then(|stream| stream.groups.get(&request[2])) else {
        return Err(no_group(&request[1], &request[2], ""));
    };
    if is_summary {
        return Ok(summary(group).into());
    }
    let (start, end, count, consumer) = range;
    let number = match consumer {
        None => None,
        Some(name) => match group.consumers.get(name) {
            None => return Ok(Reply::Array(Vec::new()).into()),
            Some(consumer) => Some(consumer.number),
        },
    };
    let wanted = group.pending_from(start).take_while(|entry| entry.id <= end);
    let wanted = wanted.filter(|entry| number.is_none_or(|number| entry.consumer == number));
    let wanted = wanted.filter(|entry| now.saturating_sub(entry.time) >= idle_min).take(count);
    let entries = wanted.map(|entry| {
        Reply::Array(vec![
            Reply::Bulk(entry.id.text()),
            Reply::Bulk(group.consumer_name(entry.consumer)),
            Reply::Integer(i64::try_from(now.saturating_sub(entry.time)).unwrap_or(i64::MAX)),
            Reply::Integer(i64::try_from(entry.count).unwrap_or(i64::MAX)),
        ])
    });
    Ok(Reply::Array(entries.collect()).into())
}

fn summary(group: &Group) -> Reply {
    let (Some(first), Some(last)) = (group.pending().next(), group.pending().next_back()) else {
        return Reply::Array(vec![Reply::Integer(0), Reply::Null, Reply::Null, Reply::NullArray]);
    };
    let with_pending = group.consumers.iter().filter(|(_, consumer)| consumer.pending > 0);
    let consumers =
        with_pending.map(|(name, consumer)| Reply::Array(vec![Reply::Bulk(name.clone()), Reply::string(consumer.pending.to_string())]));
    Reply::Array(vec![
        Reply::Integer(i64::try_from(group.len()).unwrap_or(i64::MAX)),
        Reply::Bulk(first.id.text()),
        Reply::Bulk(last.id.text()),
        Reply::Array(consumers.collect()),
    ])
}
