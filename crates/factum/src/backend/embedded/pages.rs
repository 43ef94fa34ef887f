//! Reading page by page: what makes lazy streams of reads that are synchronous.
//!
//! The first page is small, so that a reader who wants little costs little, and each page is larger than the one before. Large pages are
//! read on a thread for blocking work, one page ahead, so that a reader of the whole log neither blocks its runtime nor waits for the disk.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Something that is read page by page.
pub(super) trait Pager: Send + Unpin + 'static {
    type Item: Send + Unpin + 'static;

    /// The next page, of at most `items`.
    fn page(&mut self, items: usize) -> Result<Page<Self::Item>>;
}

/// What one step of reading found; it may be nothing before the end.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Whether there is nothing behind it.
    pub(super) ended: bool,
}

impl<T> Page<T> {
    pub(super) fn end() -> Self {
        Self { items: Vec::new(), ended: true }
    }
}

const FIRST_PAGE: usize = 128;
/// Pages of so many items are read ahead, on another thread.
const AHEAD_PAGE: usize = 512;
const LAST_PAGE: usize = 2_048;

/// The items of all pages, one by one.
pub(super) fn stream<P: Pager>(pager: P, limit: Option<u64>) -> BoxStream<'static, Result<P::Item>> {
    Box::pin(Pages { source: Source::Here(pager), items: Vec::new().into_iter(), size: FIRST_PAGE, left: limit.unwrap_or(u64::MAX) })
}

struct Pages<P: Pager> {
    source: Source<P>,
    items: std::vec::IntoIter<P::Item>,
    /// The size of the next page.
    size: usize,
    /// How many items may still be given out.
    left: u64,
}

enum Source<P: Pager> {
    Here(P),
    /// The next page is being read elsewhere.
    Elsewhere(JoinHandle<(P, Result<Page<P::Item>>)>),
    Ended,
}

impl<P: Pager> Pages<P> {
    /// How large the next page is: not larger than what is still wanted.
    fn next_size(&mut self) -> usize {
        let size = self.size.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.size = (self.size * 4).min(LAST_PAGE);
        size
    }

    /// Begins to read the next page while this one is given out, if it is large.
    fn read_ahead(&mut self) {
        let left_after = self.left.saturating_sub(self.items.len() as u64);
        if self.size < AHEAD_PAGE || left_after == 0 {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if let Source::Here(mut pager) = std::mem::replace(&mut self.source, Source::Ended) {
            let size = self.next_size().min(usize::try_from(left_after).unwrap_or(usize::MAX));
            self.source = Source::Elsewhere(runtime.spawn_blocking(move || {
                let page = pager.page(size);
                (pager, page)
            }));
        }
    }
}

impl<P: Pager> Stream for Pages<P> {
    type Item = Result<P::Item>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.left == 0 {
                return Poll::Ready(None);
            }
            if let Some(item) = this.items.next() {
                this.left -= 1;
                return Poll::Ready(Some(Ok(item)));
            }
            let page = match &mut this.source {
                Source::Ended => return Poll::Ready(None),
                Source::Here(_) => {
                    let size = this.next_size();
                    let Source::Here(pager) = &mut this.source else { unreachable!("it was just there") };
                    pager.page(size)
                }
                Source::Elsewhere(reading) => match ready!(Pin::new(reading).poll(context)) {
                    Ok((pager, page)) => {
                        this.source = Source::Here(pager);
                        page
                    }
                    // The runtime is shutting down.
                    Err(error) => Err(Error::Unavailable { reason: "reading was stopped".to_owned(), source: Some(error.into()) }),
                },
            };
            match page {
                Ok(page) => {
                    this.items = page.items.into_iter();
                    if page.ended { this.source = Source::Ended } else { this.read_ahead() }
                }
                Err(error) => {
                    this.source = Source::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
