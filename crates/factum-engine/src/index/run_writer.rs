//! Writing a run: keys come in order with their values, and go to the file as they come. Memory does not grow with the run but for
//! the first key of each leaf.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{
    BLOCK_BYTES, BlockKind, INLINE_BYTES_MAX, INNER_ITEMS_MAX, Leaf, LeafBuilder, LeafEntry, PostingBuilder, Values, inner_block, kind_of,
};
use super::filter::{self, FILTER_BLOCK_BYTES};
use super::postings::put_varint;
use super::run::{RunHeader, SECTIONS_MAX};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::key::{Key, Kind};

const BUFFER_BYTES: usize = if cfg!(test) { 8 << 10 } else { 1 << 20 };

/// A run being written.
#[derive(Debug)]
pub(crate) struct RunWriter<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    temporary: PathBuf,
    file: Arc<dyn DiskFile>,
    header: RunHeader,
    /// Blocks not yet written to the file, and the number of the first of them.
    buffer: Vec<u8>,
    buffer_from: u32,
    next_block: u32,
    leaf: LeafBuilder,
    /// The first key of each block of the level being built, and its number.
    leaves: Vec<(Key, u32)>,
    keys: Vec<(Kind, u64)>,
    term: Option<Term>,
    /// Memory of the last term, for the next one.
    spare: Vec<u8>,
}

/// The key whose values are coming.
#[derive(Debug)]
struct Term {
    key: Key,
    base: u64,
    count: u64,
    last: u64,
    lowest: u64,
    inline: Vec<u8>,
    /// Once there are too many values to keep beside the key: the block being filled, and the first of its blocks.
    posting: Option<(PostingBuilder, u32)>,
}

impl<'d> RunWriter<'d> {
    /// Begins a run that will be at `path`; `header` says what it covers.
    pub(crate) fn new(disk: &'d dyn Disk, path: &Path, header: RunHeader) -> Result<Self> {
        let temporary = path.with_extension("new");
        let file = disk.open(&temporary, Access::Create, 0).map_err(Error::io("can't make", &temporary))?;
        Ok(Self {
            disk,
            path: path.to_owned(),
            temporary,
            file,
            header,
            buffer: Vec::new(),
            buffer_from: 1,
            next_block: 1,
            leaf: LeafBuilder::new(),
            leaves: Vec::new(),
            keys: Vec::new(),
            term: None,
            spare: Vec::new(),
        })
    }

    /// The key whose values come next. Keys come in order.
    pub(crate) fn begin(&mut self, key: Key, base: u64) -> Result<()> {
        self.finish_term()?;
        let last = self.header.origin(key.kind());
        let inline = std::mem::take(&mut self.spare);
        self.term = Some(Term { key, base, count: 0, last, lowest: 0, inline, posting: None });
        Ok(())
    }

    /// A key that has one value, as most have. Keys come in order.
    pub(crate) fn single(&mut self, key: Key, base: u64, value: u64) -> Result<()> {
        self.finish_term()?;
        let mut inline = std::mem::take(&mut self.spare);
        put_varint(&mut inline, value - self.header.origin(key.kind()));
        self.put_entry(&LeafEntry { key, base, count: 1, values: Values::Inline(&inline) })?;
        inline.clear();
        self.spare = inline;
        Ok(())
    }

    /// A value of the key. Values rise.
    pub(crate) fn value(&mut self, value: u64) -> Result<()> {
        let term = self.term.as_mut().expect("a key was begun");
        if term.count == 0 {
            term.lowest = value;
        }
        let (index, before) = (term.count, term.last);
        (term.count, term.last) = (index + 1, value);
        if let Some((builder, _)) = &mut term.posting {
            if builder.add(value) {
                return Ok(());
            }
            let full = std::mem::replace(builder, PostingBuilder::new(index, value));
            return self.put_block(|number| full.seal(number));
        }
        put_varint(&mut term.inline, value - before);
        if term.inline.len() > INLINE_BYTES_MAX { self.spill() } else { Ok(()) }
    }

    /// Moves the values of the key so far to blocks of their own.
    fn spill(&mut self) -> Result<()> {
        let mut term = self.term.take().expect("a key was begun");
        let first_block = self.next_block;
        let mut builder = PostingBuilder::new(0, term.lowest);
        let mut rest = &term.inline[..];
        let mut values = Vec::new();
        let count = usize::try_from(term.count).expect("they are in memory");
        let origin = self.header.origin(term.key.kind());
        super::postings::take_rising(&mut rest, origin, count, &mut values).expect("as just written");
        for (index, value) in values.into_iter().enumerate().skip(1) {
            if !builder.add(value) {
                self.put_block(|number| builder.seal(number))?;
                builder = PostingBuilder::new(index as u64, value);
            }
        }
        term.posting = Some((builder, first_block));
        term.inline = Vec::new();
        self.term = Some(term);
        Ok(())
    }

    fn finish_term(&mut self) -> Result<()> {
        let Some(term) = self.term.take() else { return Ok(()) };
        assert!(term.count > 0, "a key in a run has values");
        let values = if let Some((builder, first_block)) = term.posting {
            self.put_block(|number| builder.seal(number))?;
            Values::Blocks { first_block, blocks: self.next_block - first_block, lowest: term.lowest, highest: term.last }
        } else {
            Values::Inline(&term.inline)
        };
        self.put_entry(&LeafEntry { key: term.key, base: term.base, count: term.count, values })?;
        self.spare = term.inline;
        self.spare.clear();
        Ok(())
    }

    fn put_entry(&mut self, entry: &LeafEntry<'_>) -> Result<()> {
        if !self.leaf.add(entry) {
            self.finish_leaf()?;
            assert!(self.leaf.add(entry), "an entry fits in an empty leaf");
        }
        match self.keys.last_mut() {
            Some((kind, keys)) if *kind == entry.key.kind() => *keys += 1,
            _ => self.keys.push((entry.key.kind(), 1)),
        }
        Ok(())
    }

    fn finish_leaf(&mut self) -> Result<()> {
        let leaf = std::mem::replace(&mut self.leaf, LeafBuilder::new());
        if let Some(first_key) = leaf.first_key {
            self.leaves.push((first_key, self.next_block));
            self.put_block(|number| leaf.seal(number))?;
        }
        Ok(())
    }

    fn put_block(&mut self, seal: impl FnOnce(u32) -> Vec<u8>) -> Result<()> {
        let block = seal(self.next_block);
        self.buffer.extend_from_slice(&block);
        self.next_block += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let at = u64::from(self.buffer_from) * BLOCK_BYTES as u64;
        self.file.write(at, &self.buffer).map_err(Error::io("can't write", &self.temporary))?;
        self.buffer.clear();
        self.buffer_from = self.next_block;
        Ok(())
    }

    /// Completes the run: it is there whole and durable when this returns.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        self.finish_term()?;
        self.finish_leaf()?;
        self.header.inner_from = self.next_block;
        self.put_tree()?;
        self.flush()?;
        assert!(self.keys.len() <= SECTIONS_MAX, "there are few kinds of keys");
        self.header.sections = filter::lay_out(&self.keys);
        self.header.filter_at = u64::from(self.next_block) * BLOCK_BYTES as u64;
        self.header.bytes = self.put_filter()?;
        let (file, temporary) = (&self.file, &self.temporary);
        file.write(0, &self.header.to_block()).map_err(Error::io("can't write", temporary))?;
        file.sync().map_err(Error::io("can't sync", temporary))?;
        self.disk.rename(temporary, &self.path).map_err(Error::io("can't rename", temporary))?;
        let directory = self.path.parent().expect("a file is in a directory");
        self.disk.sync_directory(directory).map_err(Error::io("can't sync", directory))?;
        Ok(self.path)
    }

    /// Writes the levels above the leaves, up to a single block.
    fn put_tree(&mut self) -> Result<()> {
        let mut level = std::mem::take(&mut self.leaves);
        if level.is_empty() {
            // A run without keys still has a block to search in.
            self.header.root = self.next_block;
            return self.put_block(|number| LeafBuilder::new().seal(number));
        }
        while level.len() > 1 {
            let mut above = Vec::new();
            for items in level.chunks(INNER_ITEMS_MAX) {
                above.push((items[0].0, self.next_block));
                self.put_block(|number| inner_block(items, number))?;
            }
            level = above;
            self.header.levels += 1;
        }
        self.header.root = level[0].1;
        Ok(())
    }

    /// Writes the filter by reading the keys once more, and returns the file's size.
    fn put_filter(&mut self) -> Result<u64> {
        let blocks: u64 = self.header.sections.iter().map(|section| section.blocks).sum();
        let end = self.header.filter_at + blocks * FILTER_BLOCK_BYTES as u64;
        let mut out =
            FilterWriter { file: &*self.file, at: self.header.filter_at, buffer: Vec::new(), number: 0, block: [0; FILTER_BLOCK_BYTES] };
        let mut sections = self.header.sections.iter();
        let Some(mut section) = sections.next() else { return Ok(end) };
        let mut chunk = vec![0; 64 * BLOCK_BYTES];
        let mut number = 1;
        while number < self.header.inner_from {
            let blocks = (self.header.inner_from - number).min(64) as usize;
            let bytes = &mut chunk[..blocks * BLOCK_BYTES];
            let read = self.file.read(u64::from(number) * BLOCK_BYTES as u64, bytes);
            let read = read.and_then(|read| if read == bytes.len() { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) });
            read.map_err(Error::io("can't read", &self.temporary))?;
            for block in bytes.chunks(BLOCK_BYTES).filter(|block| kind_of(block) == Some(BlockKind::Leaf)) {
                for entry in Leaf::iterate(block).expect("as just written") {
                    let key = entry.expect("as just written").key;
                    if section.kind != key.kind() {
                        section = sections.next().filter(|section| section.kind == key.kind()).expect("each kind has a section, in order");
                    }
                    out.set(section.block_of(key), key).map_err(Error::io("can't write", &self.temporary))?;
                }
            }
            number += u32::try_from(blocks).expect("at most 64");
        }
        out.finish(blocks).map_err(Error::io("can't write", &self.temporary))?;
        Ok(end)
    }
}

/// Fills a filter's blocks one after another.
struct FilterWriter<'f> {
    file: &'f dyn DiskFile,
    at: u64,
    buffer: Vec<u8>,
    number: u64,
    block: [u8; FILTER_BLOCK_BYTES],
}

impl FilterWriter<'_> {
    fn set(&mut self, block: u64, key: Key) -> std::io::Result<()> {
        self.advance_to(block)?;
        filter::set(&mut self.block, key);
        Ok(())
    }

    fn advance_to(&mut self, number: u64) -> std::io::Result<()> {
        assert!(number >= self.number, "keys come in order");
        while self.number < number {
            filter::seal(&mut self.block, self.number);
            self.buffer.extend_from_slice(&self.block);
            self.block = [0; FILTER_BLOCK_BYTES];
            self.number += 1;
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self, blocks: u64) -> std::io::Result<()> {
        self.advance_to(blocks)?;
        self.flush()
    }
}
