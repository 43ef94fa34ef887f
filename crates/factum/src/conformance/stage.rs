//! Where a check plays: one store, opened for it alone, and what checks do with it again and again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use uuid::Uuid;

use super::check::{Failure, Verdict, ensure_eq};
use super::subject::Subject;
use crate::{
    Append, EventStream, ExpectedVersion, GlobalPosition, ListStreams, NewEvent, ReadLog, ReadStream, Receipt, RecordedEvent, Result,
    SharedStore, StreamId, StreamInfo, Subscription, SubscriptionOptions,
};

/// One store, opened for one check.
pub(super) struct Stage {
    pub(super) store: SharedStore,
    pub(super) place: String,
    subject: Arc<dyn Subject>,
    patience: Duration,
}

/// All that can be seen of a store's events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) log: Vec<RecordedEvent>,
    pub(super) streams: Vec<StreamInfo>,
    pub(super) head: GlobalPosition,
}

impl Stage {
    /// Opens an empty store.
    pub(super) async fn set(subject: Arc<dyn Subject>, patience: Duration) -> Result<Self> {
        let place = format!("c{}", Uuid::now_v7().simple());
        let store = subject.open(&place).await?;
        Ok(Self { store, place, subject, patience })
    }

    /// Closes the store and opens it again.
    pub(super) async fn reopen(self) -> Verdict<Self> {
        let Self { store, place, subject, patience } = self;
        store.close().await?;
        drop(store);
        let store = subject.open(&place).await?;
        Ok(Self { store, place, subject, patience })
    }

    pub(super) async fn append(&self, append: Append) -> Result<Receipt> {
        self.store.append(append).await
    }

    pub(super) async fn append_to(&self, stream: &StreamId, expected: ExpectedVersion, events: &[NewEvent]) -> Result<Receipt> {
        self.store.append(Append::to(stream.clone(), events.to_vec()).expecting(expected)).await
    }

    /// Appends to one stream, whatever its version.
    pub(super) async fn record(&self, stream: &StreamId, events: &[NewEvent]) -> Result<Receipt> {
        self.append_to(stream, ExpectedVersion::Any, events).await
    }

    pub(super) async fn log(&self) -> Verdict<Vec<RecordedEvent>> {
        self.log_with(ReadLog::default()).await
    }

    pub(super) async fn log_with(&self, options: ReadLog) -> Verdict<Vec<RecordedEvent>> {
        self.all_of(self.store.read_log(options)).await
    }

    pub(super) async fn stream(&self, stream: &StreamId) -> Verdict<Vec<RecordedEvent>> {
        self.stream_with(stream, ReadStream::default()).await
    }

    pub(super) async fn stream_with(&self, stream: &StreamId, options: ReadStream) -> Verdict<Vec<RecordedEvent>> {
        self.all_of(self.store.read_stream(stream, options)).await
    }

    pub(super) async fn streams_with(&self, options: ListStreams) -> Verdict<Vec<StreamInfo>> {
        let streams = self.store.streams(options).try_collect();
        Ok(self.within("a list of streams that ends", streams).await??)
    }

    /// Reads to the end.
    async fn all_of(&self, events: EventStream) -> Verdict<Vec<RecordedEvent>> {
        Ok(self.within("a read that ends", events.try_collect()).await??)
    }

    pub(super) async fn picture(&self) -> Verdict<Picture> {
        let streams = self.streams_with(ListStreams::default()).await?;
        Ok(Picture { log: self.log().await?, streams, head: self.store.head().await? })
    }

    /// Fails unless everything is as it was in the picture.
    #[track_caller]
    pub(super) fn unchanged_since(&self, before: &Picture) -> impl Future<Output = Verdict> {
        let caller = std::panic::Location::caller();
        async move {
            let now = self.picture().await?;
            ensure_eq!(now, *before, "what changed nothing changed the store (line {} of the check)", caller.line());
            Ok(())
        }
    }

    pub(super) fn subscribe(&self, options: SubscriptionOptions) -> Subscription {
        Subscription::new(self.store.clone(), options)
    }

    /// Waits for what must happen.
    #[track_caller]
    pub(super) fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> impl Future<Output = Verdict<T>> {
        let missed = Failure::new(format!("waited {:?} in vain for {what}", self.patience));
        let patience = self.patience;
        async move { tokio::time::timeout(patience, future).await.map_err(|_elapsed| missed) }
    }

    /// Runs tasks at the same time, and gives what they found in their order.
    pub(super) async fn all<T: Send + 'static>(
        &self,
        tasks: impl IntoIterator<Item = impl Future<Output = Verdict<T>> + Send + 'static>,
    ) -> Verdict<Vec<T>> {
        let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        let mut found = Vec::with_capacity(tasks.len());
        for task in tasks {
            found.push(self.within("a task to end", task).await???);
        }
        Ok(found)
    }
}
