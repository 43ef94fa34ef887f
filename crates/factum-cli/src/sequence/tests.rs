//! What a sequence keeps, whatever is in the store already.

use factum::{EventType, ReadLog, RecordedEvent, SharedStore, Uuid};
use futures::TryStreamExt;

use super::*;

async fn memory() -> SharedStore {
    factum::connect("memory:").await.expect("memory needs nothing")
}

/// `a1 b1 a2`: events named so, of the streams `s-a` and `s-b`; the name makes the id and is the data.
fn proposals(names: &str) -> Vec<Proposal> {
    let named = |(index, name): (usize, &str)| Proposal {
        origin: index as u64 + 1,
        stream: StreamId::new(format!("s-{}", &name[..1])).expect("valid"),
        event: event(name),
    };
    names.split_whitespace().enumerate().map(named).collect()
}

fn event(name: &str) -> NewEvent {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    NewEvent::new(EventType::new("Named").expect("valid"), format!("\"{name}\"")).with_id(id)
}

/// What was recorded, what was there before, and what was refused.
async fn run(store: &SharedStore, on_conflict: OnConflict, proposals: Vec<Proposal>) -> Result<(u64, u64, Vec<u64>), Error> {
    let mut sequence = Sequence::new(&**store, on_conflict).await?;
    for proposal in proposals {
        sequence.push(proposal).await?;
        if sequence.is_stopped() {
            break;
        }
    }
    sequence.finish().await?;
    Ok((sequence.recorded, sequence.duplicates, sequence.refused.iter().map(|refusal| refusal.origin).collect()))
}

async fn log(store: &SharedStore) -> String {
    let events: Vec<RecordedEvent> = store.read_log(ReadLog::default()).try_collect().await.expect("it can be read");
    let names: Vec<String> = events.iter().map(|event| event.json().expect("it is a text")).collect();
    names.join(" ")
}

#[tokio::test]
async fn the_log_has_the_order_in_which_events_were_pushed() -> Result<(), Error> {
    let store = memory().await;
    let names = "a1 b1 a2 a3 c1 b2 a4 c2 c3 b3";
    assert_eq!(run(&store, OnConflict::Stop, proposals(names)).await?, (10, 0, vec![]));
    assert_eq!(log(&store).await, names);
    Ok(())
}

#[tokio::test]
async fn the_same_events_again_are_duplicates() -> Result<(), Error> {
    let store = memory().await;
    let names = "a1 b1 a2 a3 c1 b2 a4 c2 c3 b3";
    run(&store, OnConflict::SortOutAll, proposals(names)).await?;
    assert_eq!(run(&store, OnConflict::SortOutAll, proposals(names)).await?, (0, 10, vec![]));
    assert_eq!(log(&store).await, names);
    Ok(())
}

#[tokio::test]
async fn it_goes_on_from_wherever_it_was_stopped() -> Result<(), Error> {
    let names = "a1 b1 a2 a3 c1 b2 a4 c2 c3 b3 a5 a6";
    for stopped in 0..=12u64 {
        let store = memory().await;
        let first = proposals(names).into_iter().take(usize::try_from(stopped).expect("small")).collect();
        run(&store, OnConflict::SortOutAll, first).await?;
        assert_eq!(run(&store, OnConflict::SortOutAll, proposals(names)).await?, (12 - stopped, stopped, vec![]), "{stopped}");
        assert_eq!(log(&store).await, names);
    }
    Ok(())
}

#[tokio::test]
async fn streams_that_have_other_events_go_on_after_them() -> Result<(), Error> {
    let store = memory().await;
    run(&store, OnConflict::SortOutAll, proposals("a0 b0 b9")).await?;
    assert_eq!(run(&store, OnConflict::SortOutAll, proposals("a1 b1 a2 c1 b2 a3")).await?, (6, 0, vec![]));
    let logged = log(&store).await;
    let of_stream = |stream: &str| logged.split(' ').filter(|name| name.starts_with(stream)).collect::<Vec<_>>().join(" ");
    assert_eq!([of_stream("a"), of_stream("b"), of_stream("c")], ["a0 a1 a2 a3", "b0 b9 b1 b2", "c1"]);
    Ok(())
}

#[tokio::test]
async fn whatever_part_is_there_already_each_stream_keeps_its_order() -> Result<(), Error> {
    let names: Vec<&str> = "a1 b1 a2 a3 c1 b2 a4 c2 c3 b3".split(' ').collect();
    // Every subset of ten events, as if someone had appended just those before.
    for subset in 0..1u32 << names.len() {
        let store = memory().await;
        let there = |index: usize| subset >> index & 1 == 1;
        for (_, proposal) in proposals(&names.join(" ")).into_iter().enumerate().filter(|(index, _)| there(*index)) {
            store.append(append_of(&[proposal])).await?;
        }
        let (recorded, duplicates, refused) = run(&store, OnConflict::SortOutAll, proposals(&names.join(" "))).await?;
        assert_eq!((recorded + duplicates, duplicates, refused), (10, u64::from(subset.count_ones()), vec![]), "{subset:010b}");
        let logged = log(&store).await;
        for stream in ["a", "b", "c"] {
            let of_stream = names.iter().enumerate().filter(|(_, name)| name.starts_with(stream));
            let (before, after): (Vec<_>, Vec<_>) = of_stream.partition(|(index, _)| there(*index));
            let expected: Vec<&str> = before.into_iter().chain(after).map(|(_, name)| *name).collect();
            let found: Vec<&str> = logged.split(' ').filter(|name| name.starts_with(stream)).collect();
            assert_eq!(found, expected, "{subset:010b}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_id_with_other_content_is_refused_and_the_rest_recorded() -> Result<(), Error> {
    let store = memory().await;
    let mut given = proposals("a1 b1 a2 b2 a3 c1");
    let reused = event("a1").id;
    given[2].event.id = reused;
    assert_eq!(run(&store, OnConflict::SortOutAll, given.clone()).await?, (5, 0, vec![3]));
    assert_eq!(log(&store).await.split(' ').filter(|name| name.starts_with('a')).collect::<Vec<_>>(), ["a1", "a3"]);

    let store = memory().await;
    let (_, _, refused) = run(&store, OnConflict::SortOutUntilRefused, given).await?;
    assert_eq!(refused, [3]);
    assert!(log(&store).await.starts_with("a1 b1"), "all before the refused one is recorded");
    Ok(())
}

#[tokio::test]
async fn a_repeated_event_is_recorded_once() -> Result<(), Error> {
    let store = memory().await;
    assert_eq!(run(&store, OnConflict::SortOutAll, proposals("a1 a1 b1 a1 a2 b1 a2 a2")).await?, (3, 5, vec![]));
    assert_eq!(log(&store).await, "a1 b1 a2");
    Ok(())
}

#[tokio::test]
async fn a_sequence_that_may_not_sort_out_stops_at_a_conflict() -> Result<(), Error> {
    let store = memory().await;
    run(&store, OnConflict::Stop, proposals("a0")).await?;
    let mut sequence = Sequence::new(&*store, OnConflict::Stop).await?;
    sequence.know(StreamId::new("s-a")?, StreamVersion::NONE);
    sequence.push(proposals("a1").remove(0)).await?;
    let error = sequence.finish().await.expect_err("the stream is not empty");
    assert!(error.is_conflict());
    Ok(())
}
