//! The engine: an open log with the threads that serve it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ahead::Ahead;
use crate::compaction::{Compacted, Compactor};
use crate::desk::{Desk, SharedDesk};
use crate::disk::{Disk, Lock};
use crate::error::{Error, Result};
use crate::keeper;
use crate::key::KeyMaker;
use crate::live::Live;
use crate::open::{self, Mode};
use crate::read::Snapshot;
use crate::shared::{Indexer, Options, Shared};
use crate::writer::{Decision, Failure, Pending, Proposal, Writer};

/// How long the writer looks for more before it sleeps: waking it takes longer than that.
const SPIN: Duration = Duration::from_micros(30);
/// So many full tables may wait to be written out before the writer waits for them.
const FROZEN_MAX: usize = 2;
/// How long opening waits for the lock: someone who only reads may hold it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(400);
/// How long background work that failed (the disk is full, say) rests before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// An open log that takes appends. One per directory, in all processes.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    desk: SharedDesk,
    chores: Arc<Chores>,
    compactor: Arc<Compactor>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: Lock,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
    /// Whether anything waits; so that the writer can look without taking the lock.
    filled: AtomicBool,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Box<dyn Proposal>>,
    /// Whether the writer sleeps, and must be woken.
    asleep: bool,
    closed: bool,
}

impl std::fmt::Debug for QueueState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueState").field("waiting", &self.waiting.len()).field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// Wakes the keepers, and lets the writer wait for them.
#[derive(Debug, Default)]
struct Chores {
    state: Mutex<ChoresState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ChoresState {
    /// Counts the writer's requests to look for work.
    round: u64,
    closed: bool,
    /// Why full tables can't be written out at present.
    failure: Option<Error>,
}

impl Engine {
    /// Opens the log in `directory`, or makes one there if `create`. `on_durable` is called with the last durable position whenever there
    /// is a new one, from the thread that wrote.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none and `create` is false, [`Error::Locked`] if someone else has it open to write,
    /// [`Error::Corrupt`] if it is damaged, and what the disk says.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        create: bool,
        options: Options,
        indexer: Arc<dyn Indexer>,
        on_durable: impl Fn(u64) + Send + 'static,
    ) -> Result<Self> {
        if create {
            open::check_free(&*disk, directory)?;
            open::create_durably(&*disk, directory)?;
        } else if !matches!(disk.list(&directory.join("log")), Ok(files) if !files.is_empty()) {
            return Err(Error::Missing { path: directory.to_owned() });
        }
        let lock = lock(&*disk, directory)?;
        let opened = open::open(&disk, directory, Mode::Write, create, options, indexer)?;
        let live = Live::open(&*disk, directory)?;
        let shared = opened.shared;
        let writer = Writer::new(Arc::clone(&shared), live, opened.time);
        let (queue, chores) = (Arc::<Queue>::default(), Arc::<Chores>::default());
        let ahead = Arc::clone(writer.ahead());
        let compactor = Arc::new(Compactor::new(Arc::clone(&shared)));
        let desk = SharedDesk::new(Desk::new(writer, &shared, &compactor, on_durable));
        let threads = vec![
            spawn("factum-writer", {
                let (queue, chores, shared) = (Arc::clone(&queue), Arc::clone(&chores), Arc::clone(&shared));
                let (desk, ahead) = (desk.clone(), Arc::clone(&ahead));
                move || write(&desk, &queue, &chores, ahead, &shared)
            }),
            spawn("factum-filler", move || {
                while ahead.wait() {
                    while ahead.fill() {}
                }
            }),
            spawn("factum-flusher", {
                let (chores, shared) = (Arc::clone(&chores), Arc::clone(&shared));
                move || keep(&chores, || Ok(chores.noted(keeper::flush(&shared))? || keeper::seal(&shared)?))
            }),
            spawn("factum-merger", {
                let (chores, shared) = (Arc::clone(&chores), Arc::clone(&shared));
                move || keep(&chores, || keeper::merge(&shared))
            }),
            spawn("factum-compact", {
                let compactor = Arc::clone(&compactor);
                move || compactor.run()
            }),
        ];
        Ok(Self { shared, queue, desk, chores, compactor, threads: Mutex::new(threads), _lock: lock })
    }

    /// Hands a proposal to the writer. It is settled from the writer's thread, or at once if the log is closed.
    pub fn propose(&self, proposal: Box<dyn Proposal>) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            drop(state);
            proposal.settle(Err(Failure::NotRecorded(Error::Closed)));
            return;
        }
        state.waiting.push_back(proposal);
        self.queue.filled.store(true, Ordering::Release);
        if state.asleep {
            self.queue.wake.notify_one();
        }
    }

    /// Hands a proposal to the writer, as [`Engine::propose`], for a caller who has nothing else to do until it is settled. If the writer
    /// sleeps and the disk is quick, it is carried out on the caller's thread, and settled when this returns: waking another thread, and
    /// being woken by it, takes a part of the time that the disk takes.
    pub fn propose_here(&self, proposal: Box<dyn Proposal>) {
        let visit = {
            let state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
            // Who sleeps has taken nothing, so nothing that was proposed before comes after this.
            if state.asleep && state.waiting.is_empty() && !state.closed { self.desk.visit() } else { None }
        };
        match visit {
            Some(visit) => {
                if visit.commit(proposal) {
                    self.chores.call(&self.shared);
                }
            }
            None => self.propose(proposal),
        }
    }

    /// The log as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Makes keys for this log.
    pub fn keys(&self) -> &KeyMaker {
        &self.shared.keys
    }

    /// Compacts every segment of which more is dead than so much, in percent, now: also the one being written, which ends with that.
    /// Others can read and append meanwhile. `progress` is told how many bytes were looked at, and how many there are.
    ///
    /// # Errors
    /// [`Error::Full`] if there is no room for the smaller files beside the larger ones, [`Error::Corrupt`] if something is damaged, and
    /// what the disk says. What was compacted until then stays so.
    pub fn compact(&self, dead_percent_max: u8, progress: &mut dyn FnMut(u64, u64)) -> Result<Compacted> {
        if self.compactor.is_worth_sealing(dead_percent_max)? {
            let (sealed, answer) = sync_channel(1);
            self.propose(Box::new(Sealing { sealed }));
            answer.recv().unwrap_or(Err(Error::Closed))?;
        }
        self.compactor.compact(dead_percent_max, progress)
    }

    /// Settles what is waiting, writes the index out, and ends the threads. Opening is quick then.
    pub fn close(&self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.closing.store(true, Ordering::Release);
        self.queue.wake.notify_all();
        self.compactor.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// Asks the writer to end the segment that it writes.
struct Sealing {
    sealed: SyncSender<Result<()>>,
}

impl Proposal for Sealing {
    fn decide(&mut self, _log: &Pending<'_>) -> Decision {
        Decision::Seal
    }

    fn settle(self: Box<Self>, outcome: Result<(), Failure>) {
        let outcome = outcome.map_err(|(Failure::NotRecorded(error) | Failure::Unknown(error))| error);
        // Whoever asked has gone if this fails.
        let _ = self.sealed.send(outcome);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("the system gives a thread")
}

fn lock(disk: &dyn Disk, directory: &Path) -> Result<Lock> {
    let path = directory.join("lock");
    let program = std::env::args().next().unwrap_or_default();
    let program = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let holder = format!("process {} ({program})", std::process::id());
    let begun = Instant::now();
    loop {
        match disk.lock(&path, &holder).map_err(Error::io("can't lock", &path))? {
            Ok(lock) => return Ok(lock),
            Err(_) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            Err(holder) => return Err(Error::Locked { path: directory.to_owned(), holder }),
        }
    }
}

/// The writer's thread.
fn write(desk: &SharedDesk, queue: &Queue, chores: &Chores, ahead: Arc<Ahead>, shared: &Shared) {
    let mut end = WriterEnd { desk, queue, chores, ahead, taken: VecDeque::new() };
    let proposals = &mut end.taken;
    loop {
        let closed = queue.take(proposals);
        if let Some(error) = chores.refusal(shared) {
            settle_all(proposals, &error);
        } else if !proposals.is_empty() {
            match desk.commit(proposals) {
                Some(true) => chores.call(shared),
                Some(false) => {}
                None => return,
            }
        }
        if closed && queue.is_empty() {
            break;
        }
    }
    if let Some(desk) = desk.remove() {
        desk.leave();
    }
}

/// When the writer's thread ends, the others do, and no one waits for it; also if it ends because of a bug.
struct WriterEnd<'w> {
    desk: &'w SharedDesk,
    queue: &'w Queue,
    chores: &'w Chores,
    ahead: Arc<Ahead>,
    /// What it has taken from the queue and not yet looked at.
    taken: VecDeque<Box<dyn Proposal>>,
}

impl Drop for WriterEnd<'_> {
    fn drop(&mut self) {
        self.ahead.stop();
        self.chores.close();
        drop(self.desk.remove());
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.taken.append(&mut state.waiting);
        drop(state);
        settle_all(&mut self.taken, &Error::Closed);
    }
}

fn settle_all(proposals: &mut VecDeque<Box<dyn Proposal>>, error: &Error) {
    for proposal in proposals.drain(..) {
        proposal.settle(Err(Failure::NotRecorded(error.again())));
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.is_empty()
    }

    /// Takes all that waits; sleeps if there is nothing. True if no more will come.
    fn take(&self, into: &mut VecDeque<Box<dyn Proposal>>) -> bool {
        let begun = Instant::now();
        while !self.filled.load(Ordering::Acquire) && begun.elapsed() < SPIN {
            std::hint::spin_loop();
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.waiting.is_empty() && !state.closed {
            state.asleep = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
        }
        self.filled.store(false, Ordering::Release);
        std::mem::swap(&mut state.waiting, into);
        state.closed
    }
}

impl Chores {
    /// Tells the keepers to look for work, and waits while too much of it is left and it gets less.
    fn call(&self, shared: &Shared) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.round += 1;
        self.changed.notify_all();
        while too_much_is_left(shared) && state.failure.is_none() && !shared.closing.load(Ordering::Acquire) {
            state = self.changed.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Why nothing can be recorded now: tables that can't be written out must not fill the memory.
    fn refusal(&self, shared: &Shared) -> Option<Error> {
        if !too_much_is_left(shared) {
            return None;
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.as_ref().map(Error::again)
    }

    /// Notes how writing out a table went.
    fn noted(&self, result: Result<bool>) -> Result<bool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure = result.as_ref().err().map(Error::again);
        result
    }

    fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_all();
    }
}

fn too_much_is_left(shared: &Shared) -> bool {
    shared.view().tables.frozen.len() > FROZEN_MAX
}

/// A keeper's thread: does `work` while there is any, and looks again when called.
fn keep(chores: &Chores, work: impl Fn() -> Result<bool>) {
    let mut seen = None;
    loop {
        let closed = {
            let mut state = chores.state.lock().unwrap_or_else(PoisonError::into_inner);
            while seen == Some(state.round) && !state.closed {
                state = chores.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            seen = Some(state.round);
            state.closed
        };
        loop {
            match work() {
                Ok(true) => chores.changed.notify_all(),
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "the index could not be written; it is tried again");
                    if closed {
                        return;
                    }
                    let state = chores.state.lock().unwrap_or_else(PoisonError::into_inner);
                    drop(chores.changed.wait_timeout(state, RETRY));
                    if chores.state.lock().unwrap_or_else(PoisonError::into_inner).closed {
                        return;
                    }
                }
            }
        }
        if closed {
            return;
        }
    }
}
