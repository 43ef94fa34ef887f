//! The operating system's disk, clock and chance. The engine's only `unsafe` is here: mapping files, two hints, and the
//! room on a disk, which have no safe form in the standard library.
#![allow(unsafe_code, reason = "memory maps and three system calls; each block says why it is sound")]

use std::borrow::Cow;
#[cfg(target_os = "linux")]
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::{Access, Disk, DiskFile, Lock};

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access, bytes_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = match access {
            Access::Read => File::open(path)?,
            Access::Write => OpenOptions::new().read(true).write(true).open(path)?,
            Access::Create => OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?,
        };
        let bytes = file.metadata()?.len();
        let map = map(&file, bytes.max(bytes_max));
        Ok(Arc::new(RealFile { file, map, bytes: AtomicU64::new(bytes) }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // A writer renamed or removed it just as we looked; that says nothing of the others.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn room(&self, directory: &Path) -> Option<u64> {
        let path = CString::new(directory.as_os_str().as_bytes()).ok()?;
        let mut room = MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: the path is a text that ends with a zero, and the structure is one that the call may fill. All of its fields are numbers, so
        // it has a value even where the call does not fill it.
        let room = unsafe { (libc::statvfs(path.as_ptr(), room.as_mut_ptr()) == 0).then(|| room.assume_init()) }?;
        room.f_bavail.checked_mul(room.f_frsize)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // The text is for people. The lock holds without it, as on a full disk.
                let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
                Ok(Ok(Box::new(file)))
            }
            // Whoever wrote its name into the file has it alone; those who only keep writers out share it.
            Err(TryLockError::WouldBlock) if file.try_lock_shared().is_ok() => {
                Ok(Err("a process that is reading or verifying it (wait until it is done)".to_owned()))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                let holder = holder.trim();
                Ok(Err(if holder.is_empty() { "another process".to_owned() } else { holder.to_owned() }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_out(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = match File::open(path) {
            // Where there is no lock no one holds it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Box::new(()))),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn now(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
    }

    fn boot(&self) -> Option<u32> {
        fs::read("/proc/sys/kernel/random/boot_id").ok().map(|id| crc32c::crc32c(id.trim_ascii()))
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        bytes
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// The file and the room it may grow into; `None` where it can't be mapped, and then every read is a call.
    map: Option<MmapRaw>,
    /// The file's size as last seen. Nothing beyond it may be touched in the map.
    bytes: AtomicU64,
}

/// Maps a file with `bytes` of address space, which may be beyond its end.
fn map(file: &File, bytes: u64) -> Option<MmapRaw> {
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)?;
    let map = MmapOptions::new().len(bytes).map_raw_read_only(file).ok()?;
    // Readers say what they will need; guessing from faults would read what no one asked for.
    let _ = map.advise(Advice::Random);
    Some(map)
}

impl RealFile {
    fn holds(&self, end: u64) -> io::Result<bool> {
        // Another process may have made the file longer.
        Ok(end <= self.bytes.load(Ordering::Acquire) || end <= self.size()?)
    }
}

impl DiskFile for RealFile {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        let end = offset.checked_add(bytes as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        if !self.holds(end)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(map) = &self.map
            && end <= map.len() as u64
        {
            let start = usize::try_from(offset).expect("an offset within the map");
            // SAFETY: the range lies within the mapping and within the file, as checked. The bytes are those of frames or
            // blocks that are complete, which no one changes while the file is open (the trait asks that of callers, and only the
            // holder of the store's lock writes at all), so the slice stays as it is for as long as `self` lives.
            return Ok(Cow::Borrowed(unsafe { std::slice::from_raw_parts(map.as_ptr().add(start), bytes) }));
        }
        let mut buffer = vec![0; bytes];
        self.file.read_exact_at(&mut buffer, offset)?;
        Ok(Cow::Owned(buffer))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.bytes.fetch_max(offset + bytes.len() as u64, Ordering::AcqRel);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn begin_sync(&self, offset: u64, bytes: u64) {
        let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else { return };
        // SAFETY: a system call on an open file that takes no pointer. Its result does not matter, it is a hint.
        let _ = unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
    }

    #[cfg(not(target_os = "linux"))]
    fn begin_sync(&self, _offset: u64, _bytes: u64) {}

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.bytes.fetch_min(bytes, Ordering::AcqRel);
        self.file.set_len(bytes)?;
        self.bytes.store(bytes, Ordering::Release);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let bytes = self.file.metadata()?.len();
        self.bytes.store(bytes, Ordering::Release);
        Ok(bytes)
    }

    #[cfg(target_os = "linux")]
    fn prefetch(&self, offset: u64, bytes: u64) {
        let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else { return };
        // SAFETY: a system call on an open file that takes no pointer. Its result does not matter, it is a hint.
        let _ = unsafe { libc::posix_fadvise(self.file.as_raw_fd(), offset, bytes, libc::POSIX_FADV_WILLNEED) };
    }

    #[cfg(not(target_os = "linux"))]
    fn prefetch(&self, _offset: u64, _bytes: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_come_and_go_hide_no_others() {
        let directory = tempfile::tempdir().expect("a folder");
        let (stays, new) = (directory.path().join("stays"), directory.path().join("new"));
        fs::write(&stays, "").expect("written");
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                for _ in 0..2_000 {
                    fs::write(&new, "").and_then(|()| fs::rename(&new, &stays)).expect("replaced");
                }
            });
            while !replacing.is_finished() {
                let files = RealDisk.list(directory.path()).expect("listed");
                assert!(files.iter().any(|(name, _)| name == "stays"), "{files:?}");
            }
        });
    }
}
