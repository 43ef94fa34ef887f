//! Building beside, asked for from outside: a projector that runs looks whether somebody wants a new version of its rows, and fills it beside the
//! one that readers see. Once readers see the new one, it goes on with that.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::Projection;
use super::projector::{ASK_INTERVAL, Projector};
use super::target::Target;
use crate::error::{Error, Result};
use crate::subscription::processor::STORE;

/// A version that is filled until it ends.
type Filling = BoxFuture<'static, Result<()>>;

/// What goes on beside the version that readers see.
enum Beside {
    Nothing,
    Building(u32, Filling),
    /// It failed, and is not tried again before this.
    Failed(Instant),
}

impl<P, T> Projector<P, T>
where
    T: Target,
    P: Projection<T::Rows>,
{
    /// Applies what there is and what comes, and what is asked for beside it.
    pub(super) async fn live(&self) -> Result<()> {
        if self.version.is_some() {
            return self.fill(true).await;
        }
        let mut main = filling(self.clone());
        let mut beside = Beside::Nothing;
        loop {
            let building = async {
                match &mut beside {
                    Beside::Building(_, filling) => filling.await,
                    Beside::Nothing | Beside::Failed(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = &mut main => match (ended, self.shown(&mut beside).await?) {
                    // It was replaced, by the one that is filled here.
                    (Err(Error::Fenced { .. } | Error::Invalid { .. }), Some(new)) => main = new,
                    (ended, _) => return ended,
                },
                ended = building => {
                    if let Err(error) = ended {
                        tracing::warn!(projection = self.projection.name(), %error, "a new version could not be built; trying again");
                    }
                    beside = Beside::Failed(Instant::now() + STORE.longest);
                }
                () = sleep(ASK_INTERVAL) => {
                    if let Err(error) = self.look(&mut main, &mut beside).await {
                        tracing::debug!(projection = self.projection.name(), %error, "whether a rebuild is asked for is not known now");
                    }
                }
            }
        }
    }

    /// Begins what is asked for, and goes on with what readers see now.
    async fn look(&self, main: &mut Filling, beside: &mut Beside) -> Result<()> {
        if let Some(new) = self.shown(beside).await? {
            *main = new;
        }
        let is_free = match beside {
            Beside::Nothing => true,
            Beside::Building(..) => false,
            Beside::Failed(until) => Instant::now() >= *until,
        };
        if is_free && let Some(version) = self.target.asked_for(self.projection.name()).await? {
            tracing::info!(projection = self.projection.name(), version, "building a new version, as somebody asked for");
            *beside = Beside::Building(version, filling(self.clone().version(version)));
        }
        Ok(())
    }

    /// What was built beside, if readers see it now.
    async fn shown(&self, beside: &mut Beside) -> Result<Option<Filling>> {
        let Beside::Building(version, _) = beside else { return Ok(None) };
        if self.target.live_version(self.projection.name()).await? != Some(*version) {
            return Ok(None);
        }
        match std::mem::replace(beside, Beside::Nothing) {
            Beside::Building(_, filling) => Ok(Some(filling)),
            Beside::Nothing | Beside::Failed(_) => Ok(None),
        }
    }
}

fn filling<P, T>(projector: Projector<P, T>) -> Filling
where
    T: Target,
    P: Projection<T::Rows>,
{
    async move { projector.fill(true).await }.boxed()
}
