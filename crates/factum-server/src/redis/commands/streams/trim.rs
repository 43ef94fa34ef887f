//! XTRIM, and trimming by XADD: the oldest entries are hidden from this door. The log keeps their events.

use crate::redis::commands::call::{self, is, number};
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Key, Load, Stop};
use crate::redis::resp::{Reply, Request};

/// What is to be trimmed.
#[derive(Debug, Default)]
pub(crate) struct Trim {
    strategy: Option<Strategy>,
    is_approximate: bool,
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Strategy {
    /// So many entries stay.
    MaxLen(u64),
    /// Entries from this id on stay.
    MinId(EntryId),
}

impl Trim {
    /// Reads an option at a place, and says where the next one is; `None` if it is none of these.
    pub(super) fn option(&mut self, request: &Request, place: usize) -> Result<Option<usize>, Stop> {
        let argument = &request[place];
        let has_more = place + 1 < request.len();
        let is_maxlen = is(argument, "maxlen");
        if (is_maxlen || is(argument, "minid")) && has_more {
            if self.strategy.is_some() {
                return Err(Stop::error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible"));
            }
            let mut place = place + 1;
            self.is_approximate = false;
            if place + 1 < request.len() && matches!(&request[place], b"~" | b"=") {
                self.is_approximate = &request[place] == b"~";
                place += 1;
            }
            let threshold = &request[place];
            self.strategy = Some(if is_maxlen {
                let count = u64::try_from(number(threshold)?).map_err(|_| Stop::error("ERR The MAXLEN argument must be >= 0."))?;
                Strategy::MaxLen(count)
            } else {
                Strategy::MinId(call::id(threshold, 0)?)
            });
            return Ok(Some(place + 1));
        }
        if is(argument, "limit") && has_more {
            let limit = u64::try_from(number(&request[place + 1])?).map_err(|_| Stop::error("ERR The LIMIT argument must be >= 0."))?;
            self.limit = Some(limit);
            return Ok(Some(place + 2));
        }
        Ok(None)
    }

    /// Checks that the options go together.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.limit.is_some_and(|limit| limit > 0) && self.strategy.is_none() {
            return Err(Stop::error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"));
        }
        if self.limit.is_some() && !self.is_approximate {
            return Err(Stop::error("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        Ok(())
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.strategy.is_some()
    }

    /// Whether an entry with that id goes in any case.
    pub(super) fn is_too_old(&self, id: EntryId) -> bool {
        matches!(self.strategy, Some(Strategy::MinId(first)) if id < first)
    }
}

pub(crate) fn trim(context: &mut Context<'_>, request: &Request) -> Answered {
    let mut trim = Trim::default();
    let mut place = 2;
    while place < request.len() {
        place = trim.option(request, place)?.ok_or(call::SYNTAX)?;
    }
    if !trim.is_asked_for() && trim.limit.is_none_or(|limit| limit == 0) {
        return Err(Stop::error("ERR syntax error, XTRIM must be called with a trimming strategy"));
    }
    trim.check()?;
    let key = context.key(request.bytes(1));
    if context.stream(&key)?.is_none() {
        return Ok(Reply::Integer(0).into());
    }
    let found = find(context, &key, &trim)?;
    let count = carry_out(context, &key, &trim, found);
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)).into())
}

/// Where the first entry is that is not too old, if trimming goes by ids. Before an entry is added: what is known of those before it may
/// not be kept.
pub(super) fn find(context: &mut Context<'_>, key: &Key, trim: &Trim) -> Result<Option<u64>, Stop> {
    let Some(Strategy::MinId(id)) = trim.strategy else { return Ok(None) };
    match context.known_stream(key).at_least(id) {
        None => Err(Stop::Load(vec![Load::AtLeast(key.clone(), vec![id], 0)])),
        found => Ok(found),
    }
}

/// Trims, and says how many entries are hidden now that were not before. `found` is where the first entry is that is not too old.
pub(super) fn carry_out(context: &mut Context<'_>, key: &Key, trim: &Trim, found: Option<u64>) -> u64 {
    let node = context.options.node_entries();
    let stream = context.known_stream(key);
    // The version of the first entry that stays, if all that may go goes.
    let kept_from = match (trim.strategy, found) {
        (Some(Strategy::MaxLen(count)), _) if stream.len() > count => stream.view().nth(stream.len() - count),
        (Some(Strategy::MinId(_)), Some(found)) => found,
        _ => return 0,
    };
    let kept_from = if trim.is_approximate {
        let limit = match trim.limit {
            Some(0) => u64::MAX,
            Some(limit) => limit,
            // Of one block, however long it is, so many.
            None if node > u64::from(u32::MAX) => 10_000,
            None => (100 * node).min(1_000_000),
        };
        // Redis goes by the last id of a node, even if that entry was deleted.
        let last_stays = matches!(trim.strategy, Some(Strategy::MinId(id)) if stream.max_deleted >= id);
        whole_nodes(stream, kept_from, node, limit, last_stays)
    } else {
        kept_from
    };
    let count = stream.hide_below(kept_from.min(stream.version + 1));
    if count > 0 {
        context.changed(key);
    }
    count
}

/// Redis keeps entries in nodes and removes whole ones when it need not be exact. Ours are as many entries, counted from the stream's first.
fn whole_nodes(stream: &crate::redis::keyspace::Stream, kept_from: u64, node: u64, limit: u64, last_stays: bool) -> u64 {
    let begin = stream.version.saturating_sub(stream.entries_added);
    let mut end = stream.base;
    let mut removed = 0;
    loop {
        // The last node may be shorter.
        let next = begin.saturating_add((end.saturating_sub(begin) / node + 1).saturating_mul(node)).min(stream.version);
        if next >= kept_from || end == stream.version || last_stays && stream.hidden.contains(next) {
            return end + 1;
        }
        let entries = (next - end) - (stream.hidden.count_below(next + 1) - stream.hidden.count_below(end + 1));
        if removed + entries > limit {
            return end + 1;
        }
        removed += entries;
        end = next;
    }
}
