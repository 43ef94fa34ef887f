//! The real disk, whose files are opened through something that a test watches or breaks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use factum_engine::disk::{Access, Disk, DiskFile, Lock, RealDisk};

/// What an opened file is put into.
pub(crate) trait Wrap: std::fmt::Debug + Send + Sync {
    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile>;
}

/// The real disk, but for its files.
#[derive(Debug)]
pub(crate) struct Opening<W>(pub(crate) W);

impl<W: Wrap> Disk for Opening<W> {
    fn open(&self, path: &Path, access: Access, bytes_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.0.wrap(path, RealDisk.open(path, access, bytes_max)?))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        RealDisk.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        RealDisk.create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        RealDisk.sync_directory(directory)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>> {
        RealDisk.lock(path, holder)
    }

    fn lock_out(&self, path: &Path) -> io::Result<Option<Lock>> {
        RealDisk.lock_out(path)
    }

    fn now(&self) -> u64 {
        RealDisk.now()
    }

    fn boot(&self) -> Option<u32> {
        RealDisk.boot()
    }

    fn random(&self) -> [u8; 16] {
        RealDisk.random()
    }
}
