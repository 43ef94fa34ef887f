//! Rows in memory: a value of yours that is replaced by its successor, whole, together with the position.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::target::{Build, Claim, Target, fenced, moved};
use super::{Projection, Projector};
use crate::error::Result;
use crate::subscription::ParkedEvent;
use crate::{GlobalPosition, SharedStore};

/// A read model in memory, gone with the process. Readers see it as it was after a batch, never in the middle of one.
#[derive(Debug, Default)]
pub struct MemoryTarget<S>(Arc<Mutex<Kept<S>>>);

#[derive(Debug, Default)]
struct Kept<S> {
    state: Arc<S>,
    position: GlobalPosition,
    fence: u64,
    parked: Vec<ParkedEvent>,
}

/// A state that is being changed, and what becomes of it.
#[derive(Debug)]
pub struct Draft<S> {
    state: S,
    fence: u64,
    position: GlobalPosition,
    parked: Vec<ParkedEvent>,
}

impl<S> Clone for MemoryTarget<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Clone + Default + Send + Sync + 'static> MemoryTarget<S> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state as it is now.
    pub fn state(&self) -> Arc<S> {
        self.kept(|kept| kept.state.clone())
    }

    fn kept<R>(&self, look: impl FnOnce(&mut Kept<S>) -> R) -> R {
        look(&mut self.0.lock().expect("no holder of this lock panics"))
    }

    fn draft(&self) -> Draft<S> {
        self.kept(|kept| Draft { state: (*kept.state).clone(), fence: kept.fence, position: kept.position, parked: kept.parked.clone() })
    }
}

impl<S> std::ops::Deref for Draft<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> std::ops::DerefMut for Draft<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.state
    }
}

#[async_trait]
impl<S: Clone + Default + Send + Sync + 'static> Target for MemoryTarget<S> {
    type Rows = Draft<S>;

    async fn live_version(&self, _name: &str) -> Result<Option<u32>> {
        Ok(Some(1))
    }

    async fn claim(&self, _build: &Build) -> Result<(Draft<S>, Claim)> {
        let mut draft = self.draft();
        draft.fence += 1;
        let claim = Claim { fence: draft.fence, position: draft.position, is_new: draft.fence == 1 };
        Ok((draft, claim))
    }

    async fn keep(&self, rows: Draft<S>) -> Result<()> {
        self.kept(|kept| {
            // Whoever claims is later than all before, and whoever writes is checked once more, now that nobody can come between.
            if rows.fence < kept.fence {
                let build = Build { name: "a projection in memory".to_owned(), version: 1, tables: Vec::new() };
                return Err(fenced(&build, rows.fence, kept.fence));
            }
            *kept = Kept { state: Arc::new(rows.state), position: rows.position, fence: rows.fence, parked: rows.parked };
            Ok(())
        })
    }

    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> Result<Option<Draft<S>>> {
        let draft = self.draft();
        match (draft.fence == claim.fence, draft.position) {
            (false, _) => Err(fenced(build, claim.fence, draft.fence)),
            (true, position) if position == claim.position => Ok(Some(Draft { position: to, ..draft })),
            (true, position) if position == to => Ok(None),
            (true, position) => Err(moved(build, &claim, position)),
        }
    }

    async fn park(&self, _build: &Build, rows: &mut Draft<S>, event: &ParkedEvent) -> Result<()> {
        rows.parked.push(event.clone());
        Ok(())
    }

    async fn parked(&self, _build: &Build) -> Result<Vec<ParkedEvent>> {
        Ok(self.kept(|kept| kept.parked.clone()))
    }

    async fn unpark(&self, _build: &Build, rows: &mut Draft<S>, position: GlobalPosition) -> Result<()> {
        rows.parked.retain(|parked| parked.position != position);
        Ok(())
    }

    async fn ask_for_replay(&self, _build: &Build, position: Option<GlobalPosition>, wanted: bool) -> Result<usize> {
        Ok(self.kept(|kept| {
            let asked = kept.parked.iter_mut().filter(|parked| position.is_none_or(|position| parked.position == position));
            asked.map(|parked| parked.replay = wanted).count()
        }))
    }

    async fn position(&self, _name: &str) -> Result<GlobalPosition> {
        Ok(self.kept(|kept| kept.position))
    }
}

/// The read model as it is now, made on the spot: for one that is small, or seldom asked for.
///
/// # Errors
/// What the projection says of an event, and what the store says.
pub async fn fold_now<S, P>(store: &SharedStore, projection: P) -> Result<Arc<S>>
where
    S: Clone + Default + Send + Sync + 'static,
    P: Projection<Draft<S>>,
{
    let target = MemoryTarget::new();
    Projector::new(store.clone(), target.clone(), projection).unlisted().run_to_end().await?;
    Ok(target.state())
}
