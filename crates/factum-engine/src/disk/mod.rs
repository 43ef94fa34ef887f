//! The disk, the clock and chance, as the engine sees them: traits, so that a simulation can stand in for the real ones.

mod real;

use std::borrow::Cow;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A file that is made empty, or made at all, to read and write.
    Create,
}

/// A lock, held until it is dropped.
pub type Lock = Box<dyn Debug + Send + Sync>;

/// Files and directories.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file. `bytes_max` is how large it may become while it is open; a hint for mapping it.
    fn open(&self, path: &Path, access: Access, bytes_max: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// The names and sizes of the files in a directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Makes a directory and its parents, unless they are there.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Renames a file, replacing one that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes earlier creations, renames and removals in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// How many bytes more fit on the disk that a directory is on; `None` if that is not known.
    fn room(&self, directory: &Path) -> Option<u64> {
        let _ = directory;
        None
    }

    /// Takes the lock that a file stands for, and writes `holder` into it. `Err` in the inner result is who holds it.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>>;

    /// Keeps others from taking that lock, unless someone has it: then `None`.
    fn lock_out(&self, path: &Path) -> io::Result<Option<Lock>>;

    /// Microseconds since the beginning of 1970.
    fn now(&self) -> u64;

    /// A number that the machine has from one start to the next; `None` if that is not known. What a program wrote before the machine was
    /// started is on the disk or lost; what it wrote since may still be in memory.
    fn boot(&self) -> Option<u32>;

    /// Unpredictable bytes.
    fn random(&self) -> [u8; 16];
}

/// An open file. Its methods may be called concurrently, but nobody writes where somebody reads.
pub trait DiskFile: Send + Sync + Debug {
    /// The bytes at `offset`, without copying them where that can be. Only for bytes that no one changes any more.
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>>;

    /// Fills `buffer` from `offset` on, and returns how many bytes there were.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, growing the file where needed.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Begins to bring written bytes to the disk, without waiting; a hint.
    fn begin_sync(&self, offset: u64, bytes: u64);

    /// Makes all that was written, and the size, durable. After a failure it is not known what is.
    fn sync(&self) -> io::Result<()>;

    /// Makes the file this long.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// The file's size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Begins to bring bytes into memory, without waiting; a hint.
    fn prefetch(&self, offset: u64, bytes: u64);
}
