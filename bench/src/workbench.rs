//! Where measuring happens: a folder, a runtime, the files to compare with, and a store of a million events that several groups read.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use factum::SharedStore;
use factum::backend::Memory;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::child;
use crate::limit::{Prewritten, Records};
use crate::sample::{PAYLOAD_BYTES, Sample};
use crate::sqlite::Sqlite;

/// How many events are under way while a store is filled.
const EVENTS_UNDER_WAY: u64 = 2_048;

pub(crate) struct Workbench {
    pub(crate) arguments: Arguments,
    pub(crate) runtime: Runtime,
    folder: tempfile::TempDir,
    prewritten: Option<Prewritten>,
    million: Option<Million>,
    large: Option<Large>,
    records: Option<Rc<Records>>,
    sqlite: Option<Rc<Sqlite>>,
}

/// A store of a million events in 10,000 streams of 100.
#[derive(Clone)]
pub(crate) struct Million {
    pub(crate) url: String,
    /// Where it is on disk; `None` if it is not.
    pub(crate) folder: Option<PathBuf>,
    /// Open, unless it is on disk; then whoever measures opens and closes it.
    held: Option<SharedStore>,
    pub(crate) sample: Arc<Sample>,
}

impl Million {
    pub(crate) const EVENTS: u64 = 1_000_000;
    pub(crate) const STREAMS: u64 = 10_000;

    pub(crate) async fn open(&self) -> Outcome<SharedStore> {
        match &self.held {
            Some(store) => Ok(store.clone()),
            None => Ok(factum::connect(&self.url).await?),
        }
    }

    /// Closes what [`Million::open`] opened.
    pub(crate) async fn close(&self, store: SharedStore) -> Outcome {
        if self.held.is_none() {
            store.close().await?;
        }
        Ok(())
    }
}

/// A store of as many events and streams as the person asked for, with little data in each event.
#[derive(Clone, Debug)]
pub(crate) struct Large {
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
    /// The most memory of its own that the process had that filled it, in bytes.
    pub(crate) memory_while_filled: u64,
}

impl Large {
    pub(crate) const PAYLOAD_BYTES: usize = 32;
}

impl Workbench {
    pub(crate) fn new(arguments: Arguments) -> Outcome<Self> {
        let parent = match &arguments.dir {
            Some(dir) => dir.clone(),
            None => std::env::current_exe()?.parent().ok_or("this program is in no folder")?.to_owned(),
        };
        std::fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new().prefix("factum-bench-").tempdir_in(parent)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
        Ok(Self { arguments, runtime, folder, prewritten: None, million: None, large: None, records: None, sqlite: None })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a store of that name in the folder, and where it is on disk.
    pub(crate) fn url(&self, name: &str) -> (String, Option<PathBuf>) {
        if self.arguments.in_memory {
            return ("memory:".to_owned(), None);
        }
        let folder = self.folder.path().join(name);
        (format!("file:{}", folder.display()), Some(folder))
    }

    /// Opens a store of that name.
    pub(crate) fn open(&self, name: &str) -> Outcome<SharedStore> {
        Ok(self.runtime.block_on(factum::connect(&self.url(name).0))?)
    }

    pub(crate) fn prewritten(&mut self) -> Outcome<&mut Prewritten> {
        if self.prewritten.is_none() {
            self.prewritten = Some(Prewritten::new(self.folder.path())?);
        }
        Ok(self.prewritten.as_mut().expect("it has just been made"))
    }

    /// A million records to compare reading with.
    pub(crate) fn records(&mut self) -> Outcome<Rc<Records>> {
        if self.records.is_none() {
            self.records = Some(Rc::new(Records::new(self.folder.path(), Million::EVENTS)?));
        }
        Ok(self.records.clone().expect("it has just been made"))
    }

    /// The same million events in SQLite.
    pub(crate) fn sqlite(&mut self) -> Outcome<Rc<Sqlite>> {
        if self.sqlite.is_none() {
            let million = self.million()?;
            eprintln!("  filling SQLite with the same events");
            self.sqlite = Some(Rc::new(self.runtime.block_on(Sqlite::copy_of(&million, self.folder.path()))?));
        }
        Ok(self.sqlite.clone().expect("it has just been made"))
    }

    /// The store of a million events, each appended on its own.
    pub(crate) fn million(&mut self) -> Outcome<Million> {
        if self.million.is_none() {
            eprintln!("  filling a store with {} events", Million::EVENTS);
            let sample = Arc::new(Sample::new(Million::STREAMS, PAYLOAD_BYTES));
            let (url, folder) = self.url("million");
            let store: SharedStore = match &folder {
                Some(_) => self.runtime.block_on(factum::connect(&url))?,
                None => Arc::new(Memory::new()),
            };
            self.runtime.block_on(fill(&store, &sample, Million::EVENTS, 1))?;
            let held = folder.is_none().then(|| store.clone());
            if folder.is_some() {
                self.runtime.block_on(store.close())?;
            }
            self.million = Some(Million { url, folder, held, sample });
        }
        Ok(self.million.clone().expect("it has just been made"))
    }

    /// The large store, filled by a process of its own; `None` if stores are in memory.
    pub(crate) fn large(&mut self) -> Outcome<Option<Large>> {
        if self.large.is_none()
            && let (url, Some(folder)) = self.url("large")
        {
            let Arguments { scale, streams, .. } = self.arguments;
            eprintln!("  filling a store with {scale} events in {streams} streams");
            let start = Instant::now();
            let memory_while_filled = child::fill_and_weigh(&url, scale, streams, Large::PAYLOAD_BYTES)?;
            eprintln!("  filled in {:.0} s", start.elapsed().as_secs_f64());
            self.large = Some(Large { url, folder, memory_while_filled });
        }
        Ok(self.large.clone())
    }
}

/// Appends events 0 to `events - 1`, `batch` to an append.
pub(crate) async fn fill(store: &SharedStore, sample: &Sample, events: u64, batch: u64) -> Outcome {
    let appenders = usize::try_from(EVENTS_UNDER_WAY.div_ceil(batch))?;
    // Two appends to one stream must not be under way at once: a round over all streams ends before the next begins.
    for round in 0..events.div_ceil(sample.streams()) {
        let first = round * sample.streams();
        let last = events.min(first + sample.streams());
        let batches = (first..last).step_by(usize::try_from(batch)?);
        let append = |at: u64| store.append(sample.append(at, batch.min(last - at)));
        stream::iter(batches).map(append).buffer_unordered(appenders).try_for_each(|_| async { Ok(()) }).await?;
    }
    Ok(())
}
