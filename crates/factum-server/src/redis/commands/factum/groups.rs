//! FACTUM.GROUP: groups in which the events of a stream stay in order, whoever consumes them.
//!
//! A consumer joins with its first READ. What it is given is in its hand until it says ACK, NACK or PARK; meanwhile nobody is given a later
//! event of the same stream. A consumer that leaves, or whose server ends, leaves what is in its hand to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use factum::{Consumer, Delivery, Group, Groups, QueryItem};
use tokio::time::{Instant, timeout_at};

use super::{Called, SYNTAX, failed, number, query, selects, text, told};
use crate::redis::commands::call::is;
use crate::redis::door::Door;
use crate::redis::resp::{Reply, Request};
use crate::redis::unit::Data;

/// Who consumes through this door, by group and name.
#[derive(Default)]
pub(crate) struct OrderedGroups {
    members: Mutex<HashMap<(String, String), Arc<Member>>>,
}

struct Member {
    consumer: Consumer,
    /// What it was given, by position.
    in_hand: Mutex<HashMap<u64, Delivery>>,
}

impl Member {
    fn in_hand(&self) -> MutexGuard<'_, HashMap<u64, Delivery>> {
        self.in_hand.lock().expect("no holder of this lock panics")
    }
}

impl OrderedGroups {
    fn members(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Member>>> {
        self.members.lock().expect("no holder of this lock panics")
    }

    /// Lets all consumers leave in order.
    pub(crate) async fn stop(&self) {
        let members = std::mem::take(&mut *self.members());
        for member in members.into_values() {
            member.in_hand().clear();
            if let Err(error) = member.consumer.stop().await {
                tracing::warn!(%error, "a consumer of a group could not leave in order; others take over when its lease is over");
            }
        }
    }
}

pub(super) async fn group(door: &Door, data: &Data) -> Called {
    let request = &data.request;
    let name = text(request, 2)?.to_owned();
    let groups = || Groups::new(Arc::clone(&door.store));
    match request[1].to_ascii_lowercase().as_slice() {
        b"read" => read(door, request, name).await,
        b"ack" => {
            let member = member(door, request, name)?;
            let mut count = 0;
            for place in 4..request.len() {
                let delivery = member.in_hand().remove(&number(request, place)?);
                if let Some(delivery) = delivery {
                    delivery.ack_durably().await.map_err(failed)?;
                    count += 1;
                }
            }
            Ok(Reply::Integer(count))
        }
        b"nack" | b"park" => {
            let member = member(door, request, name)?;
            let position = number(request, 4)?;
            let (delay, reason) = options(request, 5)?;
            let Some(delivery) = member.in_hand().remove(&position) else { return Ok(Reply::Integer(0)) };
            let is_park = is(&request[1], "park");
            if is_park { delivery.park(&reason) } else { delivery.nack(delay, &reason) }.map_err(failed)?;
            Ok(Reply::Integer(1))
        }
        b"replay" => {
            let key = if request.len() > 3 { Some(text(request, 3)?) } else { None };
            Ok(Reply::count(groups().replay(&name, key).await.map_err(failed)?))
        }
        b"skip" => {
            groups().skip(&name, text(request, 3)?).await.map_err(failed)?;
            Ok(Reply::OK)
        }
        b"info" => {
            let state = groups().get(&name).await.map_err(failed)?;
            let held = state.held.iter().map(|held| {
                Reply::Map(vec![
                    (Reply::text("key"), Reply::string(held.key.as_str())),
                    (Reply::text("parked"), Reply::Integer(held.is_parked.into())),
                ])
            });
            Ok(Reply::Map(vec![
                (Reply::text("name"), Reply::string(state.name.as_str())),
                (Reply::text("position"), Reply::Integer(i64::try_from(state.position.number()).unwrap_or(i64::MAX))),
                (Reply::text("members"), Reply::count(state.members.len())),
                (Reply::text("held"), Reply::Array(held.collect())),
            ]))
        }
        b"leave" => {
            let consumer = text(request, 3)?.to_owned();
            let member = door.groups.members().remove(&(name, consumer));
            let Some(member) = member else { return Ok(Reply::Integer(0)) };
            member.in_hand().clear();
            member.consumer.stop().await.map_err(failed)?;
            Ok(Reply::Integer(1))
        }
        _ => Err(Reply::error("ERR FACTUM.GROUP knows READ, ACK, NACK, PARK, REPLAY, SKIP, INFO and LEAVE")),
    }
}

fn member(door: &Door, request: &Request, name: String) -> Result<Arc<Member>, Reply> {
    let consumer = text(request, 3)?.to_owned();
    let member = door.groups.members().get(&(name, consumer)).cloned();
    member.ok_or(Reply::error("ERR this consumer has not joined the group; it joins with READ"))
}

/// DELAY in milliseconds, and REASON.
fn options(request: &Request, mut place: usize) -> Result<(Duration, String), Reply> {
    let (mut delay, mut reason) = (Duration::ZERO, "a client said so".to_owned());
    while place < request.len() {
        if is(&request[place], "delay") {
            delay = Duration::from_millis(number(request, place + 1)?);
        } else if is(&request[place], "reason") {
            reason = text(request, place + 1)?.to_owned();
        } else {
            return Err(SYNTAX);
        }
        place += 2;
    }
    Ok((delay, reason))
}

async fn read(door: &Door, request: &Request, name: String) -> Called {
    let consumer = text(request, 3)?.to_owned();
    let (mut count, mut block, mut item) = (1, None, QueryItem::default());
    let mut place = 4;
    while place < request.len() {
        if is(&request[place], "count") {
            count = number(request, place + 1)?.clamp(1, 1_000);
        } else if is(&request[place], "block") {
            block = Some(Duration::from_millis(number(request, place + 1)?));
        } else if !selects(&mut item, request, place)? {
            return Err(SYNTAX);
        }
        place += 2;
    }
    let known = door.groups.members().get(&(name.clone(), consumer.clone())).cloned();
    let member = match known {
        Some(member) => member,
        None => {
            let consumer_of = Group::new(Arc::clone(&door.store), name.clone()).query(query(item)).join().await.map_err(failed)?;
            let member = Arc::new(Member { consumer: consumer_of, in_hand: Mutex::default() });
            let mut members = door.groups.members();
            Arc::clone(members.entry((name, consumer)).or_insert(member))
        }
    };
    let mut given = Vec::new();
    // Joining and reading take a moment even where nobody wants to wait.
    let deadline = match block {
        Some(Duration::ZERO) => None,
        Some(block) => Instant::now().checked_add(block),
        None => Instant::now().checked_add(Duration::from_millis(50)),
    };
    while (given.len() as u64) < count {
        let next = if given.is_empty() {
            match deadline {
                None => member.consumer.next().await,
                Some(deadline) => timeout_at(deadline, member.consumer.next()).await.unwrap_or(Ok(None)),
            }
            .map_err(failed)?
        } else {
            member.consumer.next_ready()
        };
        let Some(delivery) = next else { break };
        let mut event = told(delivery.event());
        event.push((Reply::text("attempt"), Reply::Integer(delivery.attempt().into())));
        given.push(Reply::Map(event));
        let position = delivery.event().position.number();
        member.in_hand().insert(position, delivery);
    }
    Ok(if given.is_empty() { Reply::NullArray } else { Reply::Array(given) })
}
