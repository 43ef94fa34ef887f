//! Reading what a failing disk still gives: sectors that can't be read count as zeros, and are remembered.
//!
//! Only for looking at a log that is damaged anyway. Zeros are no frame, so whoever walks such a file meets damage there and goes on
//! behind it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::DiskFile;

/// What is given up at once, in bytes: the smallest part that a disk, or the system's memory of it, reads by itself.
const BLOCK_BYTES: u64 = 4 << 10;

/// A file of which not everything can be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    file: Arc<dyn DiskFile>,
    /// The blocks that could not be read, by where they begin, and why.
    blocks: Mutex<BTreeMap<u64, String>>,
}

impl Unreadable {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, blocks: Mutex::default() }
    }

    /// What could not be read until now: where each stretch begins, how many bytes it has, and why.
    pub(crate) fn stretches(&self) -> Vec<(u64, u64, String)> {
        let mut stretches: Vec<(u64, u64, String)> = Vec::new();
        for (at, why) in self.blocks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match stretches.last_mut() {
                Some((from, bytes, _)) if *from + *bytes == *at => *bytes += BLOCK_BYTES,
                _ => stretches.push((*at, BLOCK_BYTES, why.clone())),
            }
        }
        stretches
    }

    /// Reads as much of one block as is asked for.
    fn read_block(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let error = match self.file.read(offset, buffer) {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        let left = self.file.size()?.saturating_sub(offset);
        let bytes = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        buffer[..bytes].fill(0);
        let block = offset - offset % BLOCK_BYTES;
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).insert(block, error.to_string());
        Ok(bytes)
    }
}

impl DiskFile for Unreadable {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        self.file.view(offset, bytes)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Ok(read) = self.file.read(offset, buffer) {
            return Ok(read);
        }
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let in_block = usize::try_from(BLOCK_BYTES - at % BLOCK_BYTES).unwrap_or(usize::MAX);
            let end = buffer.len().min(done.saturating_add(in_block));
            let read = self.read_block(at, &mut buffer[done..end])?;
            done += read;
            if done < end {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn begin_sync(&self, offset: u64, bytes: u64) {
        self.file.begin_sync(offset, bytes);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn prefetch(&self, offset: u64, bytes: u64) {
        self.file.prefetch(offset, bytes);
    }
}
