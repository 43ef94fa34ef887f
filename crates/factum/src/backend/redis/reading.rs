//! Reading: pages of a stream, of the log, and of the list of streams.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::appending::{Numbers, add_query};
use super::entries::{self, Pointer};
use super::error::{corrupt, unreadable};
use super::library::Call;
use super::link::Repeat;
use super::paging::{Page, Pager};
use super::partition::Partition;
use crate::error::Result;
use crate::{Category, Direction, GlobalPosition, ReadLog, ReadStream, RecordedEvent, StreamId, StreamInfo, StreamVersion};

/// How many entries of the log a filtered read looks at in one call, which the server does nothing else meanwhile.
const LOOKED_MAX: usize = 1_000;

/// XRANGE or XREVRANGE over whole numbers, both ends included.
fn range(key: &str, from: u64, to: u64, direction: Direction, count: usize) -> Cmd {
    let mut cmd;
    match direction {
        Direction::Forward => {
            cmd = redis::cmd("XRANGE");
            cmd.arg(key).arg(format!("{from}-0")).arg(format!("{to}-0"));
        }
        Direction::Backward => {
            cmd = redis::cmd("XREVRANGE");
            cmd.arg(key).arg(format!("{to}-0")).arg(format!("{from}-0"));
        }
    }
    cmd.arg("COUNT").arg(count);
    cmd
}

/// The next page of a range of numbers that is read in a direction, after `last`: what is left of it.
fn rest(from: &mut u64, to: &mut u64, last: u64, direction: Direction) -> bool {
    match direction {
        Direction::Forward => *from = last.saturating_add(1),
        Direction::Backward => *to = last.saturating_sub(1),
    }
    *from > *to || (direction == Direction::Forward && last == u64::MAX) || (direction == Direction::Backward && last == 0)
}

/// Reads a stream.
pub(super) struct StreamPager {
    partition: Arc<Partition>,
    stream: StreamId,
    from: u64,
    to: u64,
    direction: Direction,
}

impl StreamPager {
    pub(super) fn new(partition: Arc<Partition>, stream: StreamId, options: ReadStream) -> Self {
        let ReadStream { from, to, direction, limit: _ } = options;
        let (from, to) = (from.unwrap_or_default().get(), to.map_or(u64::MAX, StreamVersion::get));
        Self { partition, stream, from, to, direction }
    }
}

#[async_trait]
impl Pager for StreamPager {
    type Item = RecordedEvent;

    async fn page(&mut self, items: usize) -> Result<Page<RecordedEvent>> {
        self.partition.check_open()?;
        if self.from > self.to {
            return Ok(Page::end());
        }
        let key = self.partition.keys().stream(self.stream.as_str());
        let cmd = range(&key, self.from, self.to, self.direction, items);
        let found = entries::entries(self.partition.reading().command(cmd, Repeat::Harmless).await?)?;
        let mut page = Page { items: Vec::with_capacity(found.len()), bytes: 0, ended: found.len() < items };
        for (version, fields) in found {
            let event = entries::event(&self.stream, version, fields)?;
            page.bytes += size_of(&event);
            page.items.push(event);
        }
        if let Some(last) = page.items.last() {
            page.ended |= rest(&mut self.from, &mut self.to, last.version.get(), self.direction);
        }
        Ok(page)
    }
}

fn size_of(event: &RecordedEvent) -> usize {
    event.data.len() + event.metadata.len() + 256
}

/// Reads the log: pointers first, then the events they point to.
pub(super) struct LogPager {
    partition: Arc<Partition>,
    read: ReadLog,
    from: u64,
    /// The last position to look at; `None` before the first look.
    to: Option<u64>,
    /// Pointers that were found and not yet followed.
    found: VecDeque<Pointer>,
    ended: bool,
}

impl LogPager {
    pub(super) fn new(partition: Arc<Partition>, read: ReadLog) -> Self {
        let ended = read.after.number() == u64::MAX;
        let from = read.after.number().saturating_add(1);
        Self { partition, read, from, to: None, found: VecDeque::new(), ended }
    }

    /// Looks for more pointers.
    async fn look(&mut self, items: usize) -> Result<()> {
        let mut to = match self.to {
            Some(to) => to,
            // Without a filter the end of the log shows itself.
            None if self.read.query.is_all() && !self.partition.confirms() => self.read.up_to.map_or(u64::MAX, GlobalPosition::number),
            None => {
                let head = self.partition.head().await?.number();
                self.read.up_to.map_or(head, |up_to| up_to.number().min(head))
            }
        };
        if self.from > to {
            self.ended = true;
        } else if self.read.query.is_all() {
            let cmd = range(self.partition.keys().log(), self.from, to, self.read.direction, items);
            let found = entries::entries(self.partition.reading().command(cmd, Repeat::Harmless).await?)?;
            self.ended = found.len() < items;
            for (position, fields) in found {
                self.found.push_back(entries::pointer(position, &fields)?);
            }
            if let Some(last) = self.found.back() {
                self.ended |= rest(&mut self.from, &mut to, last.position.number(), self.read.direction);
            }
        } else {
            let reached = self.scan(to, items).await?;
            self.ended = rest(&mut self.from, &mut to, reached, self.read.direction);
        }
        self.to = Some(to);
        Ok(())
    }

    /// Has the server look for what matches, up to `to`. Gives how far it came.
    async fn scan(&mut self, to: u64, items: usize) -> Result<u64> {
        let mut request = self.partition.library().call(Call::Scan, self.partition.keys().log());
        let direction = if self.read.direction == Direction::Forward { "forward" } else { "backward" };
        request.arg(self.from - 1).arg(to).arg(direction).arg(LOOKED_MAX).arg(items);
        add_query(&mut request, &self.read.query);
        let answer = Numbers::of(self.partition.reading().command(request.into_cmd(), Repeat::Harmless).await?)?;
        for at in (1..answer.len()).step_by(3) {
            self.found.push_back(Pointer {
                position: GlobalPosition::from_number(answer.at(at)?),
                stream: StreamId::new(answer.text(at + 1)).map_err(|_| unreadable("a stream"))?,
                version: StreamVersion::new(answer.at(at + 2)?),
            });
        }
        answer.at(0)
    }

    /// The events that pointers point to, truncated ones left out. Neighbours in one stream are read together.
    async fn follow(&self, pointers: &[Pointer]) -> Result<Page<RecordedEvent>> {
        let runs: Vec<&[Pointer]> = pointers.chunk_by(|one, next| follows(one, next, self.read.direction)).collect();
        let command = |run: &&[Pointer]| {
            let (one, other) = (run[0].version.get(), run[run.len() - 1].version.get());
            let key = self.partition.keys().stream(run[0].stream.as_str());
            range(&key, one.min(other), one.max(other), self.read.direction, run.len())
        };
        let answers = self.partition.reading().commands(runs.iter().map(command).collect(), Repeat::Harmless).await;
        let mut page = Page { items: Vec::with_capacity(pointers.len()), bytes: 0, ended: false };
        for (run, answer) in runs.into_iter().zip(answers) {
            let mut pointed = run.iter();
            for (version, fields) in entries::entries(answer?)? {
                let event = entries::event(&run[0].stream, version, fields)?;
                if pointed.find(|pointer| pointer.version == event.version).is_none_or(|pointer| pointer.position != event.position) {
                    let (stream, position) = (&event.stream, event.position);
                    return Err(corrupt(format!(
                        "stream {stream} says that its version {version} is at position {position}, the log does not"
                    )));
                }
                page.bytes += size_of(&event);
                page.items.push(event);
            }
        }
        Ok(page)
    }
}

fn follows(one: &Pointer, next: &Pointer, direction: Direction) -> bool {
    let adjacent = match direction {
        Direction::Forward => next.version == one.version.plus(1),
        Direction::Backward => one.version == next.version.plus(1),
    };
    adjacent && one.stream == next.stream
}

#[async_trait]
impl Pager for LogPager {
    type Item = RecordedEvent;

    async fn page(&mut self, items: usize) -> Result<Page<RecordedEvent>> {
        self.partition.check_open()?;
        if self.found.is_empty() && !self.ended {
            self.look(items).await?;
        }
        let count = items.min(self.found.len());
        let pointers: Vec<Pointer> = self.found.drain(..count).collect();
        let mut page = if pointers.is_empty() { Page::end() } else { self.follow(&pointers).await? };
        page.ended = self.ended && self.found.is_empty();
        Ok(page)
    }
}

/// A stream in the list, and where its first event is, by which lists of several partitions are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) info: StreamInfo,
    pub(super) begun: GlobalPosition,
}

/// Lists streams.
pub(super) struct InfoPager {
    partition: Arc<Partition>,
    key: String,
    next: usize,
}

impl InfoPager {
    pub(super) fn new(partition: Arc<Partition>, category: Option<&Category>) -> Self {
        let key = partition.keys().streams(category.map(Category::as_str));
        Self { partition, key, next: 0 }
    }
}

#[async_trait]
impl Pager for InfoPager {
    type Item = Listed;

    async fn page(&mut self, items: usize) -> Result<Page<Listed>> {
        self.partition.check_open()?;
        let mut cmd = redis::cmd("LRANGE");
        cmd.arg(&self.key).arg(self.next).arg(self.next + items - 1);
        let Value::Array(names) = self.partition.reading().command(cmd, Repeat::Harmless).await? else {
            return Err(unreadable("a list of streams"));
        };
        self.next += names.len();
        let mut streams = Vec::with_capacity(names.len());
        for name in &names {
            let Value::BulkString(name) = name else { return Err(unreadable("the name of a stream")) };
            let name = std::str::from_utf8(name).map_err(|_| unreadable("the name of a stream"))?;
            streams.push(StreamId::new(name).map_err(|_| unreadable("the name of a stream"))?);
        }
        let found = self.partition.infos(&streams).await?;
        let ended = names.len() < items;
        let missing = || corrupt(format!("a stream in {} has no version", self.key));
        let listed = found.into_iter().map(|listed| listed.ok_or_else(missing)).collect::<Result<Vec<_>>>()?;
        Ok(Page { bytes: listed.len() * 64, items: listed, ended })
    }
}
