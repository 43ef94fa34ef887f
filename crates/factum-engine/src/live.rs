//! The live mark: how far the log is durable, kept in a small file after each sync.
//!
//! It tells a process that reads along what it may show, and it tells recovery what must be there: an end of the log before
//! the mark is lost data, not a torn tail. It is not synced itself, so after a power failure it may be older than the log, never
//! newer. It can be deleted; then recovery goes by the frames alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::frame::{u32_at, u64_at};
use crate::segment::Location;

const MAGIC: [u8; 8] = *b"FACTUMLV";
const BYTES: usize = 48;

/// What the live mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of which store.
    pub(crate) store: [u8; 16],
    /// Where the last durable frame ends.
    pub(crate) end: Location,
    /// The last durable position.
    pub(crate) last: u64,
    /// The start of the machine in which it was set. Until the next one it is not older than the log.
    pub(crate) boot: Option<u32>,
}

/// The live mark's file.
#[derive(Debug)]
pub(crate) struct Live {
    file: Arc<dyn DiskFile>,
}

pub(crate) fn live_path(directory: &Path) -> PathBuf {
    directory.join("live")
}

impl Live {
    /// Opens the file to write, making it if it is missing.
    pub(crate) fn open(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        let path = live_path(directory);
        let file = match disk.open(&path, Access::Write, 0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => disk.open(&path, Access::Create, 0),
            opened => opened,
        };
        Ok(Self { file: file.map_err(Error::io("can't open", &path))? })
    }

    /// Sets the mark. A failure only makes it older, so it is left at that.
    pub(crate) fn set(&self, mark: Mark) {
        let mut bytes = [0; BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&mark.boot.unwrap_or(0).to_le_bytes());
        bytes[16..32].copy_from_slice(&mark.store);
        bytes[32..40].copy_from_slice(&mark.end.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&mark.last.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        if let Err(error) = self.file.write(0, &bytes) {
            tracing::debug!(%error, "the live mark could not be set");
        }
    }

    /// Makes the mark durable, on a clean stop.
    pub(crate) fn sync(&self) {
        if let Err(error) = self.file.sync() {
            tracing::debug!(%error, "the live mark could not be synced");
        }
    }
}

/// Reads the mark; `None` if it is not there or not whole.
pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Option<Mark> {
    let file = disk.open(&live_path(directory), Access::Read, 0).ok()?;
    read_from(&*file)
}

pub(crate) fn read_from(file: &dyn DiskFile) -> Option<Mark> {
    // The writer may be writing it just now: then look again.
    for _ in 0..3 {
        let mut bytes = [0; BYTES];
        if file.read(0, &mut bytes).ok()? < BYTES {
            return None;
        }
        let checksum = u32_at(&bytes, 8)?;
        bytes[8..12].fill(0);
        if bytes[0..8] == MAGIC && checksum == crc32c::crc32c(&bytes) {
            let store = bytes[16..32].try_into().expect("sixteen bytes");
            let boot = u32_at(&bytes, 12).filter(|boot| *boot != 0);
            return Some(Mark { store, end: Location(u64_at(&bytes, 32)?), last: u64_at(&bytes, 40)?, boot });
        }
    }
    None
}
