//! Reading page by page: what makes lazy streams of reads that are synchronous.
//!
//! The first page is small, so that a reader who wants little costs little, and each page is larger than the one before. Large pages are
//! read ahead on threads for blocking work, three at once where it is known where the next begins, so that a reader of the whole log
//! neither blocks its runtime nor waits for the disk.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Something that is read page by page.
pub(super) trait Pager: Send + Sized + Unpin + 'static {
    type Item: Send + Unpin + 'static;

    /// The next page, of at most `items`.
    fn page(&mut self, items: usize) -> Result<Page<Self::Item>>;

    /// Takes apart what is to be read into a beginning, of `items` at most, and the rest, which can be read at the same time. If only
    /// reading says where the one ends and the other begins, there is no rest.
    fn split(self, _items: usize) -> (Self, Option<Self>) {
        (self, None)
    }
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
/// So many pages are read ahead at once.
const LANES: usize = 3;

/// The items of all pages, one by one.
pub(super) fn stream<P: Pager>(pager: P, limit: Option<u64>) -> BoxStream<'static, Result<P::Item>> {
    let left = limit.unwrap_or(u64::MAX);
    Box::pin(Pages { rest: Some(pager), lanes: VecDeque::new(), items: Vec::new().into_iter(), size: FIRST_PAGE, left })
}

struct Pages<P: Pager> {
    /// What is not being read yet.
    rest: Option<P>,
    /// What is being read ahead, before the rest, the first first.
    lanes: VecDeque<Lane<P>>,
    items: std::vec::IntoIter<P::Item>,
    /// The size of the next page.
    size: usize,
    /// How many items may still be given out.
    left: u64,
}

/// A page that is being read on another thread.
struct Lane<P: Pager> {
    runtime: Handle,
    size: usize,
    reading: JoinHandle<(P, Result<Page<P::Item>>)>,
}

impl<P: Pager> Lane<P> {
    fn read(runtime: Handle, mut pager: P, size: usize) -> Self {
        let reading = runtime.spawn_blocking(move || {
            let page = pager.page(size);
            (pager, page)
        });
        Self { runtime, size, reading }
    }
}

impl<P: Pager> Pages<P> {
    /// How large the next page is: not larger than what is wanted besides what is here and under way.
    fn next_size(&mut self) -> usize {
        let under_way = self.items.len() + self.lanes.iter().map(|lane| lane.size).sum::<usize>();
        let wanted = self.left.saturating_sub(under_way as u64);
        let size = self.size.min(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.size = (self.size * 4).min(LAST_PAGE);
        size
    }

    /// Begins to read the next pages while this one is given out, if they are large.
    fn read_ahead(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        while self.size >= AHEAD_PAGE && self.lanes.len() < LANES {
            let Some(rest) = self.rest.take() else { return };
            let size = self.next_size();
            if size == 0 {
                self.rest = Some(rest);
                return;
            }
            let (beginning, rest) = rest.split(size);
            self.lanes.push_back(Lane::read(runtime.clone(), beginning, size));
            self.rest = rest;
        }
    }

    /// Gives up.
    fn end(&mut self) {
        self.rest = None;
        self.lanes.clear();
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
            let (pager, page, runtime) = if let Some(lane) = this.lanes.front_mut() {
                let read = ready!(Pin::new(&mut lane.reading).poll(context));
                let runtime = this.lanes.pop_front().map(|lane| lane.runtime);
                match read {
                    Ok((pager, page)) => (pager, page, runtime),
                    Err(error) => {
                        // The runtime is shutting down.
                        this.end();
                        let reason = "reading was stopped".to_owned();
                        return Poll::Ready(Some(Err(Error::Unavailable { reason, source: Some(error.into()) })));
                    }
                }
            } else {
                let Some(mut pager) = this.rest.take() else { return Poll::Ready(None) };
                let page = pager.page(this.next_size());
                (pager, page, None)
            };
            match page {
                Ok(page) => {
                    this.items = page.items.into_iter();
                    match runtime {
                        _ if page.ended => {}
                        // What was split off has more before the rest.
                        Some(runtime) if this.rest.is_some() || !this.lanes.is_empty() => {
                            let size = this.next_size().max(1);
                            this.lanes.push_front(Lane::read(runtime, pager, size));
                        }
                        _ => this.rest = Some(pager),
                    }
                    this.read_ahead();
                }
                Err(error) => {
                    this.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
