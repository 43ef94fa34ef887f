//! Reading for a consumer process: one reader for all of its lanes, and one that fetches again what was not kept.

use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, TryStreamExt};

use super::lane::KEY_EVENTS_MAX;
use super::shared::{Found, Handle, Place, Shared};
use crate::error::Result;
use crate::subscription::processor::STORE;
use crate::{GlobalPosition, ReadLog, ReadStream, RecordedEvent, StreamId, StreamVersion, Subscription, SubscriptionOptions};

/// So many keys are read for at once.
const LOADS_AT_ONCE: usize = 8;

/// Reads for the lanes until it is given up.
pub(super) async fn read(shared: Handle) {
    let mut failures = 0;
    loop {
        match read_for_lanes(&shared, &mut failures).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() => {
                failures += 1;
                tracing::warn!(group = shared.name, %error, "reading failed; trying again");
                tokio::time::sleep(STORE.pause(failures)).await;
            }
            Err(error) => return shared.fail(error),
        }
    }
}

/// Reads until the lanes are others.
async fn read_for_lanes(shared: &Shared, failures: &mut u32) -> Result<()> {
    let (generation, after) = wait_for_lanes(shared).await;
    let options = SubscriptionOptions { after, query: shared.query.clone(), poll_interval: shared.poll_interval };
    let mut subscription = Subscription::new(shared.store.clone(), options);
    let mut chunk: Vec<Found> = Vec::new();
    loop {
        let Some(room) = wait_for_room(shared, generation).await else { return Ok(()) };
        let mut caught_up = false;
        match subscription.next_recorded().await? {
            Some(event) => chunk.push(shared.find(event)),
            None => caught_up = true,
        }
        while !caught_up && chunk.len() < room {
            match subscription.next_recorded().now_or_never().transpose()? {
                Some(Some(event)) => chunk.push(shared.find(event)),
                Some(None) => caught_up = true,
                None => break,
            }
        }
        *failures = 0;
        if !shared.distribute(generation, &mut chunk, subscription.position(), subscription.head()) {
            return Ok(());
        }
        if caught_up {
            // A wake-up is a hint, also where it is an error: the next read will say what is wrong.
            tokio::select! {
                _ = shared.store.wait_after(subscription.position()) => {}
                () = shared.room.notified() => {}
                () = tokio::time::sleep(shared.poll_interval) => {}
            }
        }
    }
}

/// Waits until there are lanes to read for, and says from where.
async fn wait_for_lanes(shared: &Shared) -> (u64, GlobalPosition) {
    loop {
        {
            let state = shared.state();
            if let Some(after) = state.lanes.values().map(|lane| lane.read).min() {
                return (state.generation, after);
            }
        }
        shared.room.notified().await;
    }
}

/// Waits until there is room, and says for how many events; `None` if the lanes are others now.
async fn wait_for_room(shared: &Shared, generation: u64) -> Option<usize> {
    loop {
        {
            let mut state = shared.state();
            if state.generation != generation || state.lanes.is_empty() {
                return None;
            }
            let room = shared.room(&state);
            if room > 0 {
                return Some(room);
            }
            state.wait_for_room();
        }
        shared.room.notified().await;
    }
}

/// Fetches what was not kept, for keys that come to it, until it is given up.
pub(super) async fn load(shared: Handle) {
    loop {
        let places: Vec<Place> = {
            let mut state = shared.state();
            let left = state.loads.len().saturating_sub(LOADS_AT_ONCE);
            state.loads.split_off(left)
        };
        if places.is_empty() {
            shared.load.notified().await;
            continue;
        }
        let failed = join_all(places.iter().map(|place| load_one(&shared, place))).await.into_iter().any(|loaded| !loaded);
        if failed {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn load_one(shared: &Shared, place: &Place) -> bool {
    let from = {
        let state = shared.state();
        let lane = state.lanes.get(&place.lane).filter(|lane| lane.token == place.token);
        lane.and_then(|lane| lane.keys.get(&place.key).map(|key| (key.after, key.next_version, lane.read)))
    };
    let Some((after, next_version, up_to)) = from else { return true };
    match fetch(shared, place, after, next_version, up_to).await {
        Ok((events, is_all)) => {
            shared.change(place, |lane| lane.loaded(&place.key, events, is_all));
            true
        }
        Err(error) if error.is_retryable() => {
            tracing::warn!(group = shared.name, key = %place.key, %error, "reading a key's events failed; trying again");
            shared.change(place, |lane| lane.not_loaded(&place.key));
            false
        }
        Err(error) => {
            shared.fail(error);
            false
        }
    }
}

/// The next events of a key behind `after`, and whether these are all up to `up_to`.
async fn fetch(
    shared: &Shared,
    place: &Place,
    after: GlobalPosition,
    next_version: Option<u64>,
    up_to: GlobalPosition,
) -> Result<(Vec<RecordedEvent>, bool)> {
    let mut source = match next_version {
        Some(version) => {
            let options = ReadStream { from: Some(StreamVersion::new(version)), ..ReadStream::default() };
            shared.store.read_stream(&StreamId::new(&place.key)?, options)
        }
        None => {
            let options = ReadLog { after, up_to: Some(up_to), query: shared.query.clone(), ..ReadLog::default() };
            shared.store.read_log(options)
        }
    };
    let mut events = Vec::new();
    while let Some(event) = source.try_next().await? {
        if event.position > up_to {
            return Ok((events, true));
        }
        if event.position <= after || !shared.query.matches_event(&event) || shared.key_of(&event) != place.key {
            continue;
        }
        if events.len() == KEY_EVENTS_MAX {
            return Ok((events, false));
        }
        events.push(event);
    }
    Ok((events, true))
}
