//! XDEL hides entries from this door, XSETID sets the last id. The log keeps the events.

use crate::redis::commands::call::{self, SYNTAX, is, number};
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Known, Load, Stop};
use crate::redis::resp::{Reply, Request};

pub(crate) fn delete(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let Some(stream) = context.stream(&key)? else { return Ok(Reply::Integer(0).into()) };
    let ids: Vec<EntryId> = request.iter().skip(2).map(|text| call::id(text, 0)).collect::<Result<_, _>>()?;
    let unknown: Vec<EntryId> = ids.iter().copied().filter(|id| stream.find(*id) == Known::Unknown).collect();
    if !unknown.is_empty() {
        return Err(Stop::Load(vec![Load::AtLeast(key, unknown, 1)]));
    }
    let mut count = 0;
    for id in ids {
        if let Known::At(version) = stream.find(id)
            && stream.hide(version)
        {
            stream.max_deleted = stream.max_deleted.max(id);
            count += 1;
        }
    }
    if count > 0 {
        context.changed(&key);
    }
    Ok(Reply::Integer(count).into())
}

pub(crate) fn set_id(context: &mut Context<'_>, request: &Request) -> Answered {
    let id = call::id(&request[2], 0)?;
    let mut added = None;
    let mut max_deleted = EntryId::MIN;
    let mut place = 3;
    while place < request.len() {
        let has_more = place + 1 < request.len();
        if is(&request[place], "entriesadded") && has_more {
            let count = u64::try_from(number(&request[place + 1])?).map_err(|_| Stop::error("ERR entries_added must be positive"))?;
            added = Some(count);
        } else if is(&request[place], "maxdeletedid") && has_more {
            max_deleted = call::id(&request[place + 1], 0)?;
            if id < max_deleted {
                return Err(Stop::error("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"));
            }
        } else {
            return Err(SYNTAX);
        }
        place += 2;
    }
    let key = context.key(request.bytes(1));
    let Some(stream) = context.stream(&key)? else { return Err(Stop::error("ERR no such key")) };
    let Some(top) = stream.top_id() else {
        let last = stream.last_visible().expect("an entry whose id is not known is there");
        return Err(Stop::Load(vec![Load::Ids(key, last, 1)]));
    };
    if let Some(top) = top {
        if id < top {
            return Err(Stop::error("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if added.is_some_and(|added| added < stream.len()) {
            return Err(Stop::error("ERR The entries_added specified in XSETID is smaller than the target stream length"));
        }
    }
    if id < stream.last_id {
        // What was trimmed may have had ids above; they may come again now.
        stream.begin_generation();
    }
    stream.last_id = id;
    stream.entries_added = added.unwrap_or(stream.entries_added);
    if max_deleted != EntryId::MIN {
        stream.max_deleted = max_deleted;
    }
    context.changed(&key);
    Ok(Reply::OK.into())
}
