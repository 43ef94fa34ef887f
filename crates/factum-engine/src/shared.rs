//! What the writer, the readers and the keeper of one open log have in common.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use crate::disk::Disk;
use crate::key::{Key, KeyMaker};
use crate::read::{Snapshot, View};
use crate::segment::Location;
use crate::terms::Terms;

/// Sizes; the defaults are right for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment gets no longer than this, unless a single frame is, in bytes. At most 2 GiB.
    pub segment_bytes_max: u64,
    /// The newest part of the index is written out when it takes so much memory, in bytes; or sooner, when it has many events.
    pub memtable_bytes_max: usize,
    /// Whether the log's file is filled with zeros ahead of the writer: syncing is quicker then, and twice as much is written.
    pub fill_ahead: bool,
    /// A complete segment is compacted in the background when more of its bytes are dead than this, in percent; never at 100.
    pub dead_percent_max: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes_max: 256 << 20, memtable_bytes_max: 32 << 20, fill_ahead: true, dead_percent_max: 50 }
    }
}

/// What the owner of the log knows of its payloads, and the engine does not.
pub trait Indexer: Send + Sync {
    /// The keys under which an entry is to be found; `None` if the payload makes no sense. The same payload always has the same keys.
    fn terms(&self, keys: &KeyMaker, payload: &[u8]) -> Option<Terms>;

    /// The key of the record of this name; `None` if the name makes no sense.
    fn record_key(&self, keys: &KeyMaker, name: &[u8]) -> Option<Key>;

    /// The sequence that a record hides the beginning of, and the first number that it does not hide; `None` for other records. It never
    /// hides less later. Salvaging leaves out a record that would hide something else than it did, because entries are numbered anew
    /// behind a loss.
    fn hides(&self, keys: &KeyMaker, name: &[u8], value: &[u8]) -> Option<(Key, u64)> {
        let _ = (keys, name, value);
        None
    }

    /// The key and the name of the record that would hide an entry with this payload.
    fn hidden_by(&self, keys: &KeyMaker, payload: &[u8]) -> Option<(Key, Vec<u8>)> {
        let _ = (keys, payload);
        None
    }

    /// What is kept of a hidden entry's payload when its segment is compacted: a payload that has the same keys. `None` if all is.
    fn husk(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let _ = payload;
        None
    }
}

/// Where the parts of a log are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) index: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), log: root.join("log"), index: root.join("index") }
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// What everyone sees.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) view: Arc<View>,
    /// The last durable position.
    pub(crate) last: u64,
    /// Where the last durable frame ends.
    pub(crate) end: Location,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) paths: Paths,
    pub(crate) store: [u8; 16],
    pub(crate) boot: Option<u32>,
    pub(crate) keys: KeyMaker,
    pub(crate) options: Options,
    pub(crate) indexer: Arc<dyn Indexer>,
    pub(crate) published: RwLock<Published>,
    /// Held by whoever writes anchors, so that no two write those of one segment.
    pub(crate) sealing: Mutex<()>,
    /// Set when the log is being closed: long work that can be done another time ends early.
    pub(crate) closing: AtomicBool,
}

impl Shared {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let published = self.published.read().expect("no holder of this lock panics");
        Snapshot { view: Arc::clone(&published.view), last: published.last, end: published.end }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.published.read().expect("no holder of this lock panics").view)
    }

    /// Replaces the view by what `change` makes of it.
    pub(crate) fn change_view<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut published = self.published.write().expect("no holder of this lock panics");
        let old = &published.view;
        let mut view = View { segments: old.segments.clone(), tables: old.tables.clone() };
        let result = change(&mut view);
        published.view = Arc::new(view);
        result
    }

    /// Lets readers see the log up to here.
    pub(crate) fn publish(&self, last: u64, end: Location) {
        let mut published = self.published.write().expect("no holder of this lock panics");
        published.last = last;
        published.end = end;
    }

    /// How large a segment's file may become.
    pub(crate) fn segment_capacity(&self) -> u64 {
        self.options.segment_bytes_max.max(crate::frame::FRAME_BYTES_MAX as u64) + (1 << 20)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("root", &self.paths.root).field("options", &self.options).finish_non_exhaustive()
    }
}
