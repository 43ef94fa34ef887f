//! A disk in memory that keeps apart what programs see and what a power failure leaves.
//!
//! A file's content is durable after its sync, a name after the sync of its directory, and nothing before. Every operation that changes
//! something is counted, so that a test can stop the world after any of them. Syncs can fail, and the disk can be full.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::chance::Chance;
use crate::disk::{Access, Disk, DiskFile, Lock};

/// What is written to a disk at once, or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk {
    pub(super) state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) files: Vec<Content>,
    /// Which file has which name, for programs and after a power failure.
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    /// What was done to names and is not durable, in order.
    pub(super) name_changes: Vec<NameChange>,
    pub(super) directories: BTreeSet<PathBuf>,
    locks: BTreeMap<PathBuf, (String, Weak<()>)>,
    pub(super) chance: Chance,
    now: u64,
    boot: u32,
    operations: u64,
    syncs: u64,
    is_cut: bool,
    faults: Faults,
}

/// What is to go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// After so many operations nothing works any more, until [`SimulatedDisk::mend`].
    pub(crate) cut_after: Option<u64>,
    /// The sync with this number fails.
    pub(crate) failing_sync: Option<u64>,
    /// So many bytes fit on the disk.
    pub(crate) bytes_max: Option<u64>,
}

/// A file's bytes, whatever its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
    /// How many syncs of it failed: each handle is told once of each.
    failures: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate { bytes: u64 },
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

impl NameChange {
    pub(super) fn directory(&self) -> &Path {
        let (Self::Create { path, .. } | Self::Rename { from: path, .. } | Self::Remove { path }) = self;
        path.parent().expect("a file is in a directory")
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create { path, file } => {
                names.insert(path.clone(), *file);
            }
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

impl Change {
    /// Does the part of the change that lies in this range of bytes.
    pub(super) fn apply(&self, content: &mut Vec<u8>, (from, to): (u64, u64)) {
        match self {
            Self::Write { offset, bytes } => {
                let start = from.max(*offset);
                let end = to.min(offset + bytes.len() as u64);
                if start < end {
                    if content.len() < end as usize {
                        content.resize(end as usize, 0);
                    }
                    content[start as usize..end as usize].copy_from_slice(&bytes[(start - offset) as usize..(end - offset) as usize]);
                }
            }
            Self::Truncate { bytes } => content.resize(*bytes as usize, 0),
        }
    }
}

pub(super) const EVERYWHERE: (u64, u64) = (0, u64::MAX);

impl Content {
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, ..Self::default() }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen, EVERYWHERE);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable, EVERYWHERE);
        }
    }

    /// A part becomes durable, and the rest counts as written though it is not: a later sync does not try it again. That is what
    /// Linux does; file systems differ in whether programs still see the rest.
    fn fail_to_sync(&mut self, chance: &mut Chance) {
        self.durable = super::crash::survivors(self, super::crash::Kept::AfterFailedSync, chance);
        self.unsynced.clear();
        self.failures += 1;
        if chance.one_in(2) {
            self.seen.clone_from(&self.durable);
        }
    }
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(BTreeMap::new(), BTreeSet::new(), seed, 1_000_000)
    }

    /// A disk with these files, all durable.
    pub(super) fn of(files: BTreeMap<PathBuf, Vec<u8>>, directories: BTreeSet<PathBuf>, seed: u64, now: u64) -> Self {
        let names: BTreeMap<PathBuf, usize> = files.keys().cloned().zip(0..).collect();
        let state = State {
            files: files.into_values().map(Content::whole).collect(),
            durable_names: names.clone(),
            names,
            name_changes: Vec::new(),
            directories,
            locks: BTreeMap::new(),
            chance: Chance::new(seed),
            now,
            boot: seed as u32 | 1,
            operations: 0,
            syncs: 0,
            is_cut: false,
            faults: Faults::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed while it held this says so itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what goes wrong, counted from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        (state.operations, state.syncs, state.faults) = (0, 0, faults);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mend(&self) {
        self.set_faults(Faults::default());
        self.state().is_cut = false;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state().is_cut
    }

    /// Operations since the faults were set.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Syncs since the faults were set.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// What programs see, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes()
    }

    pub(super) fn now(&self) -> u64 {
        self.state().now
    }

    /// Removes a file at once and for good.
    pub(crate) fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
        state.name_changes.retain(|change| !matches!(change, NameChange::Create { path: created, .. } if created == path));
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].seen.len() as u64).sum()
    }

    fn check(&self) -> io::Result<()> {
        if self.is_cut { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn operate(&mut self) -> io::Result<()> {
        self.is_cut |= self.faults.cut_after.is_some_and(|count| self.operations >= count);
        self.check()?;
        self.operations += 1;
        Ok(())
    }

    /// Counts a sync; whether it is to fail.
    fn operate_sync(&mut self) -> io::Result<bool> {
        self.operate()?;
        self.syncs += 1;
        Ok(self.faults.failing_sync == Some(self.syncs))
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, access: Access, _bytes_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.check()?;
        let known = state.names.get(path).copied();
        let file = match (known, access) {
            (Some(file), Access::Read | Access::Write) => file,
            (None, Access::Read | Access::Write) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), Access::Create) => {
                state.operate()?;
                state.files[file].change(Change::Truncate { bytes: 0 });
                file
            }
            (None, Access::Create) => {
                if !path.parent().is_some_and(|directory| state.directories.contains(directory)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.operate()?;
                let file = state.files.len();
                state.files.push(Content::default());
                state.names.insert(path.to_owned(), file);
                state.name_changes.push(NameChange::Create { path: path.to_owned(), file });
                file
            }
        };
        let failures_told = AtomicU64::new(state.files[file].failures);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file, failures_told }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        state.check()?;
        if !state.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        let name = |path: &Path| path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        Ok(inside.map(|(path, file)| (name(path), state.files[*file].seen.len() as u64)).collect())
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check()?;
        if !state.directories.contains(directory) {
            state.operate()?;
            state.directories.extend(directory.ancestors().map(Path::to_owned));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Rename { from: from.to_owned(), to: to.to_owned() };
        change.apply(&mut state.names);
        state.name_changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Remove { path: path.to_owned() };
        change.apply(&mut state.names);
        state.name_changes.push(change);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let fails = state.operate_sync()?;
        let of_directory = state.name_changes.iter().filter(|change| change.directory() == directory).count();
        let mut left = if fails { state.chance.index(of_directory + 1) } else { of_directory };
        let mut kept = Vec::new();
        for change in std::mem::take(&mut state.name_changes) {
            if change.directory() == directory && left > 0 {
                change.apply(&mut state.durable_names);
                left -= 1;
            } else {
                kept.push(change);
            }
        }
        state.name_changes = kept;
        if fails { Err(sync_failure(&mut state.chance)) } else { Ok(()) }
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>> {
        let mut state = self.state();
        state.check()?;
        if let Some((holder, held)) = state.locks.get(path)
            && held.strong_count() > 0
        {
            return Ok(Err(holder.clone()));
        }
        let lock = Arc::new(());
        state.locks.insert(path.to_owned(), (holder.to_owned(), Arc::downgrade(&lock)));
        Ok(Ok(Box::new(lock)))
    }

    fn lock_out(&self, path: &Path) -> io::Result<Option<Lock>> {
        let state = self.state();
        state.check()?;
        let held = state.locks.get(path).is_some_and(|(_, held)| held.strong_count() > 0);
        Ok((!held).then(|| Box::new(()) as Lock))
    }

    fn now(&self) -> u64 {
        let mut state = self.state();
        // Clocks are set back at times.
        let step = state.chance.below(1_000);
        state.now = if state.chance.one_in(20) { state.now.saturating_sub(step) } else { state.now + step };
        state.now
    }

    fn boot(&self) -> Option<u32> {
        Some(self.state().boot)
    }

    fn random(&self) -> [u8; 16] {
        let mut state = self.state();
        let (low, high) = (state.chance.next(), state.chance.next());
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    }
}

/// An open file of a simulated disk.
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
    failures_told: AtomicU64,
}

impl DiskFile for SimulatedFile {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        let state = self.disk.state();
        state.check()?;
        let end = offset.checked_add(bytes as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let seen = &state.files[self.file].seen;
        let part = seen.get(offset as usize..end as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Cow::Owned(part.to_vec()))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        state.check()?;
        let seen = &state.files[self.file].seen;
        let rest = seen.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.disk.state();
        state.operate()?;
        let size = state.files[self.file].seen.len() as u64;
        let growth = (offset + bytes.len() as u64).saturating_sub(size);
        let room = state.faults.bytes_max.map_or(u64::MAX, |bytes_max| bytes_max.saturating_sub(state.bytes()));
        if growth <= room {
            state.files[self.file].change(Change::Write { offset, bytes: bytes.to_vec() });
            return Ok(());
        }
        // What fits may have been written, or less.
        let fits = (size + room).saturating_sub(offset).min(bytes.len() as u64);
        let written = if state.chance.one_in(2) { fits } else { state.chance.below(fits + 1) };
        if written > 0 {
            state.files[self.file].change(Change::Write { offset, bytes: bytes[..written as usize].to_vec() });
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn begin_sync(&self, _offset: u64, _bytes: u64) {}

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let fails = state.operate_sync()?;
        let content = &mut state.files[self.file];
        if fails {
            content.fail_to_sync(&mut state.chance);
        } else {
            content.sync();
        }
        if self.failures_told.swap(content.failures, Ordering::Relaxed) < content.failures {
            return Err(sync_failure(&mut state.chance));
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let state = &mut *self.disk.state();
        state.operate()?;
        state.files[self.file].change(Change::Truncate { bytes });
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check()?;
        Ok(state.files[self.file].seen.len() as u64)
    }

    fn prefetch(&self, _offset: u64, _bytes: u64) {}
}

/// Some file systems look for room only when they sync.
fn sync_failure(chance: &mut Chance) -> io::Error {
    if chance.one_in(3) { io::ErrorKind::StorageFull.into() } else { io::Error::other("it could not be synced") }
}

/// The sectors that a change touches.
pub(super) fn sectors(change: &Change) -> std::ops::Range<u64> {
    match change {
        Change::Write { offset, bytes } => offset / SECTOR_BYTES..(offset + bytes.len() as u64).div_ceil(SECTOR_BYTES),
        Change::Truncate { .. } => 0..0,
    }
}
