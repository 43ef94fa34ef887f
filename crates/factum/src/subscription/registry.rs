//! Which readers a store has: stores can't list records, so each kind of reader keeps the names of its kind in one.

use std::collections::BTreeSet;

use super::json_record::JsonRecord;
use crate::SharedStore;
use crate::error::Result;

/// A kind of reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Subscription,
    Group,
    Projection,
}

impl Kind {
    const fn record(self) -> &'static str {
        match self {
            Self::Subscription => "registry/subscriptions",
            Self::Group => "registry/groups",
            Self::Projection => "registry/projections",
        }
    }
}

/// Notes the name of a reader, if it is not yet.
pub(crate) async fn register(store: &SharedStore, kind: Kind, name: &str) -> Result<()> {
    let note = |names: &mut BTreeSet<String>| names.insert(name.to_owned()).then_some(());
    JsonRecord::new(store, kind.record())?.update(note).await.map(drop)
}

/// The names of all readers of a kind.
pub(crate) async fn names(store: &SharedStore, kind: Kind) -> Result<BTreeSet<String>> {
    Ok(JsonRecord::new(store, kind.record())?.get().await?.map(|(_, names)| names).unwrap_or_default())
}
