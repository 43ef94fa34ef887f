//! A disk in memory, as small as can be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::STORE;
use crate::disk::{Access, Disk, DiskFile, Lock};

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<BTreeMap<PathBuf, MemoryFile>>>);

#[derive(Clone, Debug, Default)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.files().insert(path.to_owned(), MemoryFile(Arc::new(Mutex::new(bytes))));
    }

    pub(super) fn take(&self, path: &Path) -> Vec<u8> {
        self.files().remove(path).map(|file| std::mem::take(&mut *file.bytes())).unwrap_or_default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, MemoryFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, access: Access, _bytes_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files();
        if access == Access::Create {
            files.insert(path.to_owned(), MemoryFile::default());
        }
        let file = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(file.clone()))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = self.files();
        let inside = files.iter().filter(|(path, _)| path.parent() == Some(directory));
        Ok(inside.filter_map(|(path, file)| Some((path.file_name()?.to_str()?.to_owned(), file.bytes().len() as u64))).collect())
    }

    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path, _holder: &str) -> io::Result<Result<Lock, String>> {
        Ok(Ok(Box::new(())))
    }

    fn lock_out(&self, _path: &Path) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }

    fn now(&self) -> u64 {
        0
    }

    fn boot(&self) -> Option<u32> {
        None
    }

    fn random(&self) -> [u8; 16] {
        STORE
    }
}

impl DiskFile for MemoryFile {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        let end = offset.checked_add(bytes as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let held = self.bytes();
        let part = held.get(offset as usize..end as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Cow::Owned(part.to_vec()))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let held = self.bytes();
        let rest = held.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset as usize + bytes.len();
        let mut held = self.bytes();
        if held.len() < end {
            held.resize(end, 0);
        }
        held[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn begin_sync(&self, _offset: u64, _bytes: u64) {}

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.bytes().resize(bytes as usize, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn prefetch(&self, _offset: u64, _bytes: u64) {}
}
