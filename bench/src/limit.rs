//! What the machine itself can do: syncing, writing with syncs, and reading with checksums.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long a limit is measured, before a load and again after it: short, because disks that are lent by the hour slow down when much
/// is written.
const DURATION: Duration = Duration::from_millis(400);

/// A file full of zeros, synced, to be written over: what a store that fills its files ahead has.
#[derive(Debug)]
pub(crate) struct Prewritten {
    file: File,
    bytes: u64,
    at: u64,
}

impl Prewritten {
    pub(crate) fn new(folder: &Path) -> Outcome<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let zeros = vec![0; 1 << 20];
        let bytes = 256 << 20;
        for at in (0..bytes).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, bytes, at: 0 })
    }

    /// How often per second 512 bytes can be written and synced, one after the other.
    pub(crate) fn sync_rate(&mut self) -> Outcome<f64> {
        self.rate(512)
    }

    /// How many bytes per second can be written in pieces of 1 MiB, each synced.
    pub(crate) fn bandwidth(&mut self) -> Outcome<f64> {
        Ok(self.rate(1 << 20)? * f64::from(1 << 20))
    }

    fn rate(&mut self, piece_bytes: usize) -> Outcome<f64> {
        let piece = vec![0xa5; piece_bytes];
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < DURATION {
            if self.at + piece_bytes as u64 > self.bytes {
                self.at = 0;
            }
            self.file.write_all_at(&piece, self.at)?;
            self.file.sync_data()?;
            self.at += piece_bytes as u64;
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    }
}

/// Records of one size in a file, each with its checksum, for reading as fast as the machine can and one by one.
#[derive(Debug)]
pub(crate) struct Records {
    file: File,
    count: u64,
}

impl Records {
    /// What an event of 256 bytes takes with its names, in round numbers.
    const BYTES: usize = 320;

    pub(crate) fn new(folder: &Path, count: u64) -> Outcome<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let mut at = 0;
        for first in (0..count).step_by(1_000) {
            let mut piece = Vec::with_capacity(1_000 * Self::BYTES);
            for number in first..count.min(first + 1_000) {
                let mut body = [0; Self::BYTES - 4];
                body.chunks_mut(8).zip(number..).for_each(|(chunk, seed)| {
                    chunk.copy_from_slice(&crate::sample::scrambled(seed).to_le_bytes()[..chunk.len()]);
                });
                piece.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
                piece.extend_from_slice(&body);
            }
            file.write_all_at(&piece, at)?;
            at += piece.len() as u64;
        }
        file.sync_all()?;
        Ok(Self { file, count })
    }

    /// How many records per second are read out of the mapped file with their checksums compared, all in order.
    #[expect(unsafe_code, reason = "the raw limit is that of a mapping, and making one can't be safe")]
    pub(crate) fn mapped_rate(&self) -> Outcome<f64> {
        // SAFETY: the file is a temporary one without a name, so no one else can change it while it is mapped.
        let map = unsafe { memmap2::Mmap::map(&self.file) }?;
        let start = Instant::now();
        for record in map.chunks_exact(Self::BYTES) {
            let (sum, body) = record.split_at(4);
            if crc32c::crc32c(body).to_le_bytes() != sum {
                return Err("a record has changed on the way to the disk and back".into());
            }
        }
        Ok(self.count as f64 / start.elapsed().as_secs_f64())
    }

    /// Makes the file cold and reads these records one by one: how long it takes.
    pub(crate) fn cold_one_by_one(&self, numbers: impl Iterator<Item = u64>) -> Outcome<Duration> {
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        let mut record = [0; Self::BYTES];
        let start = Instant::now();
        for number in numbers {
            self.file.read_exact_at(&mut record, number * Self::BYTES as u64)?;
            std::hint::black_box(&record);
        }
        Ok(start.elapsed())
    }
}
