//! The subscriptions of a store, seen from outside: which there are, how far they came, what they have put aside.

use super::Checkpoints;
use super::parked::{Keep, Parked, ParkedEvent};
use super::registry::{self, Kind};
use crate::error::{Error, Result};
use crate::{GlobalPosition, SharedStore};

/// The subscriptions of a store.
#[derive(Clone)]
pub struct Subscriptions {
    store: SharedStore,
}

/// How far a subscription came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Its name.
    pub name: String,
    /// The last position handled, as it was last written down.
    pub position: GlobalPosition,
    /// How often it was started.
    pub fence: u64,
    /// What it has put aside.
    pub parked: Vec<ParkedEvent>,
}

impl Subscriptions {
    /// The subscriptions of `store`.
    pub fn new(store: SharedStore) -> Self {
        Self { store }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<SubscriptionState>> {
        let mut list = Vec::new();
        for name in registry::names(&self.store, Kind::Subscription).await? {
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
    pub async fn get(&self, name: &str) -> Result<SubscriptionState> {
        self.find(name).await?.ok_or_else(|| unknown(name))
    }

    async fn find(&self, name: &str) -> Result<Option<SubscriptionState>> {
        let Some(checkpoint) = Checkpoints::new(self.store.clone()).get(name).await? else { return Ok(None) };
        let parked = Parked::new(&self.store, name)?.list().await?;
        Ok(Some(SubscriptionState { name: name.to_owned(), position: checkpoint.position, fence: checkpoint.fence.number(), parked }))
    }

    /// Asks for one parked event, or all, to be handled again; the running processor does it within moments. How many that are.
    ///
    /// A replayed event comes later than those that were recorded after it. Where that matters, use a group, which keeps the order.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such subscription or event, and what the store says.
    pub async fn replay(&self, name: &str, which: Option<GlobalPosition>) -> Result<usize> {
        self.get(name).await?;
        let asked = Parked::new(&self.store, name)?.ask_for_replay(which).await?;
        match which {
            Some(position) if asked == 0 => Err(not_parked(name, position)),
            _ => Ok(asked),
        }
    }

    /// Gives up a parked event.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such subscription or event, and what the store says.
    pub async fn skip(&self, name: &str, position: GlobalPosition) -> Result<()> {
        self.get(name).await?;
        match Parked::new(&self.store, name)?.change(position, |_| Keep::No).await? {
            true => Ok(()),
            false => Err(not_parked(name, position)),
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::invalid(format!("there is no subscription {name:?}; `factum subscriptions` lists those there are"))
}

fn not_parked(name: &str, position: GlobalPosition) -> Error {
    Error::invalid(format!("no event at position {position} is parked in {name}; `factum subscriptions show {name}` lists those that are"))
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriptions").finish_non_exhaustive()
    }
}
