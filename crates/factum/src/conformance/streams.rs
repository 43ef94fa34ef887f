//! Streams: what is known of one, and the list of them.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::conflict;
use super::sample::{category, event, events, stream, version};
use super::stage::Stage;
use crate::{Append, Category, ExpectedVersion, ListStreams, StreamId, StreamInfo};

pub(super) const CHECKS: &[Check] = &[
    check!(stream_says_its_version, "What is known of a stream is its version and that it is read from 1; of others nothing."),
    check!(streams_are_listed_in_order_of_first_events, "Streams come in the order of their first events, whatever is added later."),
    check!(streams_are_listed_by_category, "A category lists its own streams only, in the same order."),
    check!(streams_are_listed_up_to_a_limit, "A limit cuts the list, of all streams and of a category's."),
    check!(long_list_of_streams_is_whole, "Hundreds of streams are listed, each once."),
    check!(refused_append_makes_no_stream, "A stream whose first append was refused does not exist."),
    check!(streams_of_one_append_are_listed_in_its_order, "New streams of one append come in its order.", MultiStreamAppend),
    check!(emptied_stream_is_still_listed, "A stream that was truncated whole still exists, at its version.", Truncate),
];

/// The ids of the streams that are listed.
async fn listed(stage: &Stage, category: Option<Category>, limit: Option<u64>) -> Verdict<Vec<StreamId>> {
    let streams = stage.streams_with(ListStreams { category, limit }).await?;
    Ok(streams.into_iter().map(|info| info.stream).collect())
}

async fn stream_says_its_version(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    ensure_eq!(stage.store.stream(&order).await?, None, "what is known of a stream without events");
    let mut last = 0;
    for count in [1, 4, 2] {
        last += count;
        stage.record(&order, &events(count)).await?;
        stage.record(&stream("Order-2"), &events(1)).await?;
        let info = StreamInfo { stream: order.clone(), version: version(last), first_version: version(1) };
        ensure_eq!(stage.store.stream(&order).await?, Some(info.clone()), "what is known of the stream");
        ensure_eq!(stage.streams_with(ListStreams::default()).await?.first(), Some(&info), "the stream in the list");
    }
    ensure_eq!(stage.store.stream(&stream("Order")).await?, None, "what is known of a stream with a shorter id");
    Ok(())
}

const IDS: [&str; 8] = ["Order-9", "Kunde-ß", "Order-1", "settings", "Order", "order-1", "Orders-1", "Order-10"];

async fn streams_are_listed_in_order_of_first_events(stage: Stage) -> Verdict {
    for id in IDS {
        stage.record(&stream(id), &events(1)).await?;
        // Older streams go on; that does not move them.
        stage.record(&stream(IDS[0]), &events(2)).await?;
    }
    ensure_eq!(listed(&stage, None, None).await?, IDS.map(stream), "the streams");
    Ok(())
}

async fn streams_are_listed_by_category(stage: Stage) -> Verdict {
    for id in IDS {
        stage.record(&stream(id), &events(2)).await?;
    }
    for name in ["Order", "order", "Orders", "settings", "Kunde", "Order-1", "Nothing"] {
        let members: Vec<_> = IDS.map(stream).into_iter().filter(|id| id.category_str() == name).collect();
        ensure_eq!(listed(&stage, Some(category(name)), None).await?, members, "the streams of category {name}");
    }
    Ok(())
}

async fn streams_are_listed_up_to_a_limit(stage: Stage) -> Verdict {
    for id in IDS {
        stage.record(&stream(id), &events(1)).await?;
    }
    let all = IDS.map(stream);
    let orders: Vec<_> = all.iter().filter(|id| id.category_str() == "Order").cloned().collect();
    for limit in [0, 1, 3, 4, 8, 9, u64::MAX] {
        let count = usize::try_from(limit).unwrap_or(usize::MAX);
        ensure_eq!(listed(&stage, None, Some(limit)).await?, all[..count.min(8)], "the first {limit} streams");
        let some = listed(&stage, Some(category("Order")), Some(limit)).await?;
        ensure_eq!(some, orders[..count.min(orders.len())], "the first {limit} streams of a category");
    }
    Ok(())
}

async fn long_list_of_streams_is_whole(stage: Stage) -> Verdict {
    let ids: Vec<_> = (0..300).map(|number| stream(&format!("{}-{number}", ["Order", "Customer"][number % 2]))).collect();
    for id in &ids {
        stage.record(id, &[event("first")]).await?;
    }
    ensure_eq!(listed(&stage, None, None).await?, ids, "the streams");
    let orders: Vec<_> = ids.into_iter().step_by(2).collect();
    ensure_eq!(listed(&stage, Some(category("Order")), None).await?, orders, "the streams of a category");
    Ok(())
}

async fn refused_append_makes_no_stream(stage: Stage) -> Verdict {
    conflict(stage.append_to(&stream("Order-1"), ExpectedVersion::exact(1), &events(1)).await)?;
    ensure_eq!(stage.store.stream(&stream("Order-1")).await?, None, "what is known of the stream");
    ensure!(listed(&stage, None, None).await?.is_empty(), "a refused append made a stream that is listed");
    Ok(())
}

async fn streams_of_one_append_are_listed_in_its_order(stage: Stage) -> Verdict {
    stage.record(&stream("Order-5"), &events(1)).await?;
    let ids = ["Order-7", "Order-5", "Order-3", "Order-8"].map(stream);
    let append = ids.iter().fold(Append::default(), |append, id| append.and_to(id.clone(), ExpectedVersion::Any, events(2)));
    stage.append(append).await?;
    ensure_eq!(listed(&stage, None, None).await?, ["Order-5", "Order-7", "Order-3", "Order-8"].map(stream), "the streams");
    Ok(())
}

async fn emptied_stream_is_still_listed(stage: Stage) -> Verdict {
    for id in IDS {
        stage.record(&stream(id), &events(2)).await?;
    }
    let emptied = stream(IDS[0]);
    stage.store.truncate_before(&emptied, version(3)).await?;
    let streams = stage.streams_with(ListStreams::default()).await?;
    let info = StreamInfo { stream: emptied, version: version(2), first_version: version(3) };
    ensure_eq!(streams[0], info, "the emptied stream in the list");
    ensure_eq!(streams.len(), IDS.len(), "the number of streams");
    Ok(())
}
