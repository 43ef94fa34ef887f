//! The groups of a store, seen from outside: who is in them, how far they are, what holds them up, and what can be done about it.

use futures::future::try_join_all;
use jiff::Timestamp;

use super::record::{GroupRecords, LaneRecord, Order, lane_of};
use crate::error::{Error, Result};
use crate::subscription::parked::ParkedEvent;
use crate::subscription::registry::{self, Kind};
use crate::subscription::start::StartFrom;
use crate::{GlobalPosition, Query, SharedStore};

/// The groups of a store.
#[derive(Clone)]
pub struct Groups {
    store: SharedStore,
}

/// A group as its records say.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub query: Query,
    /// What its events are kept in order by.
    pub key: String,
    /// Over how many lanes its keys are spread.
    pub lanes: u16,
    /// Everything up to here is done, but for the keys that are held up. As it was last written down.
    pub position: GlobalPosition,
    /// Who is in it.
    pub members: Vec<MemberState>,
    /// The keys that an event holds up, parked ones first.
    pub held: Vec<HeldKey>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Its name: the number of its process, and something unique.
    pub name: String,
    /// How many lanes it has.
    pub lanes: usize,
    /// When it was last heard of, by its own clock.
    pub seen_at: Timestamp,
}

/// A key that an event holds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// The key.
    pub key: String,
    /// Whether it waits for somebody; else it is tried again by itself.
    pub is_parked: bool,
    /// The event.
    pub event: ParkedEvent,
    /// Whether somebody has asked for something, which its consumer will do.
    pub is_ordered: bool,
}

impl Groups {
    /// The groups of `store`.
    pub fn new(store: SharedStore) -> Self {
        Self { store }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<GroupState>> {
        let mut list = Vec::new();
        for name in registry::names(&self.store, Kind::Group).await? {
            if let Some(state) = self.find(&name).await? {
                list.push(state);
            }
        }
        Ok(list)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none of that name, and what the store says.
    pub async fn get(&self, name: &str) -> Result<GroupState> {
        self.find(name).await?.ok_or_else(|| unknown(name))
    }

    async fn find(&self, name: &str) -> Result<Option<GroupState>> {
        let records = GroupRecords::new(&self.store, name)?;
        let Some((_, group)) = records.group.get().await? else { return Ok(None) };
        let lanes = try_join_all((0..group.lanes).map(|number| {
            let lane = records.lane(number);
            async move { Ok::<_, Error>(lane?.get().await?.unwrap_or_default().1) }
        }))
        .await?;
        let member = |(name, entry): (&String, &super::record::MemberEntry)| MemberState {
            name: name.clone(),
            lanes: lanes.iter().filter(|lane| lane.owner.as_ref() == Some(name)).count(),
            seen_at: entry.seen_at,
        };
        let mut held: Vec<HeldKey> = lanes.iter().flat_map(held).collect();
        held.sort_by_key(|held| (!held.is_parked, held.event.position));
        Ok(Some(GroupState {
            name: name.to_owned(),
            members: group.members.iter().map(member).collect(),
            position: lanes.iter().map(position).min().unwrap_or_default(),
            query: group.query,
            key: group.key,
            lanes: group.lanes,
            held,
        }))
    }

    /// Tries the event again that holds `key` up, and then goes on behind it, in order; `None` for all keys that are parked. How many keys
    /// that are. Running consumers do it within a quarter of their lease, others when they run.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such group, or nothing holds the key up; and what the store says.
    pub async fn replay(&self, name: &str, key: Option<&str>) -> Result<usize> {
        match key {
            Some(key) => self.order(name, key, &Order::Replay).await.map(|()| 1),
            None => self.replay_all(name).await,
        }
    }

    async fn replay_all(&self, name: &str) -> Result<usize> {
        let records = GroupRecords::new(&self.store, name)?;
        let Some((_, group)) = records.group.get().await? else { return Err(unknown(name)) };
        let mut count = 0;
        for number in 0..group.lanes {
            let ask = |lane: &mut LaneRecord| {
                let parked = lane.keys.iter_mut().filter(|cursor| cursor.parked);
                let asked = parked.map(|cursor| cursor.order = Some(Order::Replay)).count();
                (asked > 0).then_some(asked)
            };
            count += records.lane(number)?.update(ask).await?.unwrap_or_default();
        }
        Ok(count)
    }

    /// Gives the event up that holds `key` up; its key goes on behind it.
    ///
    /// # Errors
    /// As [`Groups::replay`].
    pub async fn skip(&self, name: &str, key: &str) -> Result<()> {
        self.order(name, key, &Order::Skip).await
    }

    /// Stops trying the event again that holds `key` up, until it is replayed or skipped.
    ///
    /// # Errors
    /// As [`Groups::replay`].
    pub async fn park(&self, name: &str, key: &str, reason: &str) -> Result<()> {
        self.order(name, key, &Order::Park(reason.to_owned())).await
    }

    async fn order(&self, name: &str, key: &str, order: &Order) -> Result<()> {
        let records = GroupRecords::new(&self.store, name)?;
        let Some((_, group)) = records.group.get().await? else { return Err(unknown(name)) };
        let ask = |lane: &mut LaneRecord| {
            let cursor = lane.keys.iter_mut().find(|cursor| cursor.key == key && cursor.event.is_some())?;
            cursor.order = Some(order.clone());
            Some(())
        };
        let asked = records.lane(lane_of(key, group.lanes))?.update(ask).await?;
        asked.ok_or_else(|| {
            Error::invalid(format!(
                "nothing holds key {key:?} up in group {name}; `factum groups show {name}` lists the keys that are held up"
            ))
        })
    }

    /// Begins again from somewhere else: what is in hand is not acknowledged any more, and what was parked is forgotten.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such group; and what the store says.
    pub async fn reset(&self, name: &str, from: StartFrom) -> Result<GlobalPosition> {
        let records = GroupRecords::new(&self.store, name)?;
        let Some((_, group)) = records.group.get().await? else { return Err(unknown(name)) };
        let read = from.resolve(&*self.store).await?;
        for number in 0..group.lanes {
            let begin = |lane: &mut LaneRecord| {
                *lane = LaneRecord { owner: None, token: lane.token + 1, read, keys: Vec::new() };
                Some(())
            };
            records.lane(number)?.update(begin).await?;
        }
        Ok(read)
    }
}

/// Up to where nothing is left of a lane, but for what is held up.
fn position(lane: &LaneRecord) -> GlobalPosition {
    lane.keys.iter().filter(|cursor| cursor.event.is_none()).map(|cursor| cursor.after).fold(lane.read, GlobalPosition::min)
}

fn held(lane: &LaneRecord) -> impl Iterator<Item = HeldKey> {
    lane.keys.iter().filter_map(|cursor| {
        let event = cursor.event.clone()?;
        Some(HeldKey { key: cursor.key.clone(), is_parked: cursor.parked, event, is_ordered: cursor.order.is_some() })
    })
}

fn unknown(name: &str) -> Error {
    Error::invalid(format!("there is no group {name:?}; `factum groups` lists those there are"))
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}
