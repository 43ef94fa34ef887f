//! The thread that reads and parses, while another appends.

use std::io::{self, Read};
use std::thread::JoinHandle;

use bytes::Bytes;
use factum::Limits;
use tokio::sync::mpsc;

use crate::import::line::{self, Line, Memory};
use crate::import::lines::{Block, Lines};
use crate::sequence::Proposal;

/// How many chunks wait for the appender; more would only take memory.
const CHUNKS_WAITING: usize = 4;

/// What one block of the input gave.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// Its lines, in order; empty lines are none.
    pub(crate) items: Vec<Item>,
    /// How many bytes of the input have been read up to here.
    pub(crate) consumed: u64,
    /// The first field of this chunk that is not read, and the line it is on.
    pub(crate) unknown: Option<(u64, String)>,
}

/// What a line gave.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event; its origin is the number of the line.
    Proposal(Proposal),
    /// Nothing that can be recorded.
    Rejected(Rejection),
}

/// A line that can't be recorded.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// The number of the line, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Reads an input on a thread of its own. Dropping it ends the thread at its next chunk.
pub(crate) struct Reader {
    chunks: mpsc::Receiver<io::Result<Chunk>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Begins to read `input` for a store with these limits.
    pub(crate) fn start(input: impl Read + Send + 'static, limits: Limits) -> io::Result<Self> {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let thread = std::thread::Builder::new().name("factum-parser".to_owned()).spawn(move || {
            let mut parser = Parser::new(input, limits);
            while let Some(chunk) = parser.next().transpose() {
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, thread: Some(thread) })
    }

    /// The next chunk, `None` at the end of the input.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Chunk>> {
        if let Some(chunk) = self.chunks.recv().await {
            return chunk.map(Some);
        }
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| io::Error::other("the reading thread failed"))?;
        }
        Ok(None)
    }
}

struct Parser<R> {
    lines: Lines<R>,
    memory: Memory,
    payload_bytes_max: u64,
    line_bytes_max: usize,
    /// The number of the last line.
    line: u64,
    /// How many lines the last block had.
    items_last: usize,
}

impl<R: Read> Parser<R> {
    fn new(input: R, limits: Limits) -> Self {
        // JSON may take six characters for one byte of a string; beyond that no line can be of use.
        let line_bytes_max = usize::try_from(limits.payload_bytes_max.saturating_mul(8)).unwrap_or(usize::MAX).saturating_add(1 << 16);
        let lines = Lines::new(input, line_bytes_max);
        Self { lines, memory: Memory::default(), payload_bytes_max: limits.payload_bytes_max, line_bytes_max, line: 0, items_last: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let Some(block) = self.lines.next()? else { return Ok(None) };
        let mut chunk = Chunk { consumed: self.lines.consumed(), ..Chunk::default() };
        match block {
            Block::TooLong => {
                self.line += 1;
                let reason = format!("it has more than {} bytes; keep large content elsewhere and refer to it", self.line_bytes_max);
                chunk.items.push(Item::Rejected(Rejection { line: self.line, reason }));
            }
            Block::Lines(block) => self.parse(&block, &mut chunk),
        }
        Ok(Some(chunk))
    }

    fn parse(&mut self, block: &Bytes, chunk: &mut Chunk) {
        // The lines of one file are of much the same length.
        chunk.items.reserve(self.items_last + self.items_last / 8);
        let mut begin = 0;
        while begin < block.len() {
            let end = memchr::memchr(b'\n', &block[begin..]).map_or(block.len(), |end| begin + end);
            let mut text = &block[begin..end];
            begin = end + 1;
            self.line += 1;
            if self.line == 1 {
                text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            }
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let item = match line::parse(text, block, self.payload_bytes_max, &mut self.memory) {
                Ok(Line { stream, event, unknown }) => {
                    if let Some(name) = unknown {
                        chunk.unknown.get_or_insert((self.line, name));
                    }
                    Item::Proposal(Proposal { origin: self.line, stream, event })
                }
                Err(reason) => Item::Rejected(Rejection { line: self.line, reason }),
            };
            chunk.items.push(item);
        }
        self.items_last = chunk.items.len();
    }
}
