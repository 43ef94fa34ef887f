//! Making files cold: asking the system to forget what it keeps of them in memory.
//!
//! The system forgets clean pages that no one has mapped. So files are synced first, and whoever mapped them must have let go: a store
//! is closed before, and the mappings of this process are looked through until none is left.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::Outcome;

/// Makes every file in the folder cold.
pub(crate) fn evict(folder: &Path) -> Outcome {
    wait_until_unmapped(folder)?;
    for path in files(folder)? {
        let file = File::open(&path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// All files in the folder and below.
pub(crate) fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// How many bytes this process has had read from disk.
pub(crate) fn bytes_read_from_disk() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let count = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(count.ok_or("/proc/self/io has no read_bytes")?.trim().parse()?)
}

fn wait_until_unmapped(folder: &Path) -> Outcome {
    let folder = folder.canonicalize()?;
    let name = folder.to_str().ok_or("the folder's name is not text")?;
    let give_up = Instant::now() + Duration::from_secs(5);
    while std::fs::read_to_string("/proc/self/maps")?.contains(name) {
        if Instant::now() > give_up {
            return Err(format!("{name} is still mapped although its store was closed; it can't be made cold").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
