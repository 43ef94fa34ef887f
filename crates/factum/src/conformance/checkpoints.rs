//! Checkpoints: kept in records, moved only by their present owner, and never back.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{fenced, invalid};
use super::stage::Stage;
use crate::{Checkpoint, Checkpoints, Error, GlobalPosition};

pub(super) const CHECKS: &[Check] = &[
    check!(checkpoint_begins_at_the_start, "A checkpoint that no one took is not there; taken first, it is at the start."),
    check!(checkpoint_is_where_its_owner_moved_it, "The owner moves it on, and may say the same position twice."),
    check!(checkpoint_is_kept_when_taken_over, "Who takes a checkpoint over goes on where it was, with a higher fence."),
    check!(checkpoint_can_not_be_moved_by_an_old_owner, "Whoever was replaced is Fenced, and the checkpoint stays."),
    check!(checkpoint_can_not_be_moved_back, "Moving it back is Invalid, and it stays."),
    check!(checkpoint_must_be_taken_before_it_is_moved, "Moving one that no one took is Invalid."),
    check!(checkpoints_are_independent, "Each name has its own position and its own fence."),
    check!(racing_owners_get_different_fences, "However many take a checkpoint at once, each fence is given once."),
    check!(late_move_of_an_old_owner_does_not_undo_a_take_over, "An old owner's move that is under way at a take-over does no harm."),
];

const fn at(number: u64) -> GlobalPosition {
    GlobalPosition::from_number(number)
}

async fn checkpoint_begins_at_the_start(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    ensure_eq!(checkpoints.get("orders").await?, None, "a checkpoint that no one took");
    let taken = checkpoints.take("orders").await?;
    ensure_eq!(taken.position, GlobalPosition::START, "the position it begins at");
    ensure_eq!(checkpoints.get("orders").await?, Some(taken), "the checkpoint");
    Ok(())
}

async fn checkpoint_is_where_its_owner_moved_it(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let fence = checkpoints.take("orders").await?.fence;
    for position in [1, 2, 2, 10, u64::MAX].map(at) {
        checkpoints.advance("orders", fence, position).await?;
        ensure_eq!(checkpoints.get("orders").await?, Some(Checkpoint { position, fence }), "the checkpoint");
    }
    Ok(())
}

async fn checkpoint_is_kept_when_taken_over(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let mut last = checkpoints.take("orders").await?;
    for position in [5, 9, 12].map(at) {
        checkpoints.advance("orders", last.fence, position).await?;
        let taken = checkpoints.take("orders").await?;
        ensure_eq!(taken.position, position, "the position it was taken over at");
        ensure!(taken.fence > last.fence, "the fence {:?} is not above {:?}", taken.fence, last.fence);
        last = taken;
    }
    Ok(())
}

async fn checkpoint_can_not_be_moved_by_an_old_owner(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let first = checkpoints.take("orders").await?;
    checkpoints.advance("orders", first.fence, at(5)).await?;
    let second = checkpoints.take("orders").await?;
    for position in [4, 5, 6, 100].map(at) {
        fenced(checkpoints.advance("orders", first.fence, position).await)?;
        ensure_eq!(checkpoints.get("orders").await?, Some(second), "the checkpoint");
    }
    checkpoints.advance("orders", second.fence, at(7)).await?;
    fenced(checkpoints.advance("orders", first.fence, at(8)).await)
}

async fn checkpoint_can_not_be_moved_back(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let fence = checkpoints.take("orders").await?.fence;
    checkpoints.advance("orders", fence, at(5)).await?;
    for position in [4, 0].map(at) {
        invalid(checkpoints.advance("orders", fence, position).await)?;
    }
    ensure_eq!(checkpoints.get("orders").await?.map(|held| held.position), Some(at(5)), "the position");
    Ok(())
}

async fn checkpoint_must_be_taken_before_it_is_moved(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let fence = checkpoints.take("others").await?.fence;
    invalid(checkpoints.advance("orders", fence, at(1)).await)?;
    ensure_eq!(checkpoints.get("orders").await?, None, "the checkpoint that no one took");
    Ok(())
}

async fn checkpoints_are_independent(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let names = ["orders", "orders/1", "Orders", "order"];
    for (number, name) in (1..).zip(names) {
        let fence = checkpoints.take(name).await?.fence;
        checkpoints.advance(name, fence, at(number)).await?;
    }
    for (number, name) in (1..).zip(names) {
        ensure_eq!(checkpoints.get(name).await?.map(|held| held.position), Some(at(number)), "the position of {name}");
    }
    Ok(())
}

async fn racing_owners_get_different_fences(stage: Stage) -> Verdict {
    let owners = (0..6).map(|_| {
        let checkpoints = Checkpoints::new(stage.store.clone());
        async move { Ok(checkpoints.take("orders").await?.fence) }
    });
    let mut fences = stage.all(owners).await?;
    fences.sort();
    let highest = fences[fences.len() - 1];
    let count = fences.len();
    fences.dedup();
    ensure_eq!(fences.len(), count, "the number of different fences");
    let held = Checkpoints::new(stage.store.clone()).get("orders").await?;
    ensure_eq!(held.map(|held| held.fence), Some(highest), "the fence of the checkpoint");
    Ok(())
}

async fn late_move_of_an_old_owner_does_not_undo_a_take_over(stage: Stage) -> Verdict {
    let checkpoints = Checkpoints::new(stage.store.clone());
    let mut owner = checkpoints.take("orders").await?;
    for round in 1..=20 {
        let (old, fence) = (checkpoints.clone(), owner.fence);
        let moving = tokio::spawn(async move {
            for step in 0..5 {
                match old.advance("orders", fence, at(round * 10 + step)).await {
                    Ok(()) => tokio::task::yield_now().await,
                    Err(Error::Fenced { .. }) => break,
                    Err(other) => return Err(other.into()),
                }
            }
            Verdict::Ok(())
        });
        tokio::task::yield_now().await;
        owner = checkpoints.take("orders").await?;
        stage.within("the old owner to stop", moving).await???;
        ensure_eq!(checkpoints.get("orders").await?, Some(owner), "the checkpoint after it was taken over");
    }
    Ok(())
}
