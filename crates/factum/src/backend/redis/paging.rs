//! Lazy streams of pages: a page is asked for when the one before has been given out, so memory is bounded by a page.

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};

/// Something that is read page by page.
#[async_trait]
pub(super) trait Pager: Send + 'static {
    type Item: Send + 'static;

    /// The next page, of at most `items`, and whether it is the last. It may be empty before the end.
    async fn page(&mut self, items: usize) -> Result<Page<Self::Item>>;
}

pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// How large they are together, roughly.
    pub(super) bytes: usize,
    pub(super) ended: bool,
}

impl<T> Page<T> {
    pub(super) fn end() -> Self {
        Self { items: Vec::new(), bytes: 0, ended: true }
    }
}

/// A stream of a hundred comes in one round trip.
const FIRST_PAGE: usize = 128;
const LAST_PAGE: usize = 1_024;
/// Pages are made smaller where their items are large.
const PAGE_BYTES: usize = 8 << 20;

/// The items of all pages, one by one, at most `limit`.
pub(super) fn stream<P: Pager>(pager: P, limit: Option<u64>) -> BoxStream<'static, Result<P::Item>> {
    let begin = Reading { pager, size: FIRST_PAGE, left: limit.unwrap_or(u64::MAX), ended: false };
    stream::try_unfold(begin, |mut reading| async move {
        if reading.ended || reading.left == 0 {
            return Ok(None);
        }
        let items = reading.next().await?;
        Ok::<_, Error>(Some((stream::iter(items.into_iter().map(Ok)), reading)))
    })
    .try_flatten()
    .boxed()
}

struct Reading<P> {
    pager: P,
    size: usize,
    left: u64,
    ended: bool,
}

impl<P: Pager> Reading<P> {
    async fn next(&mut self) -> Result<Vec<P::Item>> {
        let size = self.size.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Page { items, bytes, ended } = self.pager.page(size).await?;
        let each = bytes / items.len().max(1) + 1;
        self.size = (self.size * 4).min(LAST_PAGE).min(PAGE_BYTES / each).max(1);
        self.left -= items.len() as u64;
        self.ended = ended;
        Ok(items)
    }
}
