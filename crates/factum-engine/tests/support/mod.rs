//! A caller of the engine, as small as can be: a payload is a stream's name, a type's name and some text, with spaces between.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use factum_engine::disk::RealDisk;
use factum_engine::{
    Decision, Draft, Engine, Error, Failure, Follower, Indexer, Key, KeyMaker, Kind, Options, Pending, Proposal, Snapshot, Terms,
};

pub(crate) const STREAM: Kind = Kind(1);
pub(crate) const TYPE: Kind = Kind(2);
pub(crate) const ALL_STREAMS: Kind = Kind(3);
pub(crate) const ALL_TYPES: Kind = Kind(4);
pub(crate) const RECORD: Kind = Kind(0x80);

pub(crate) struct Words;

impl Indexer for Words {
    fn terms(&self, keys: &KeyMaker, payload: &[u8]) -> Option<Terms> {
        let mut words = payload.splitn(3, |byte| *byte == b' ');
        let (stream, event_type) = (words.next()?, words.next()?);
        let all = keys.key(ALL_STREAMS, b"");
        Some(Terms {
            sequence: keys.key(STREAM, stream),
            first_of_sequence: [all, keys.key(ALL_STREAMS, b"again")],
            labels: Default::default(),
            first_of_label: [(keys.key(TYPE, event_type), keys.key(ALL_TYPES, b"")), (keys.key(TYPE, b"any"), keys.key(ALL_TYPES, b"any"))],
        })
    }

    fn record_key(&self, keys: &KeyMaker, name: &[u8]) -> Option<Key> {
        Some(keys.key(RECORD, name))
    }
}

pub(crate) fn open(directory: &Path, options: Options) -> Result<Engine, Error> {
    Engine::open(Arc::new(RealDisk), directory, true, options, Arc::new(Words), |_| {})
}

pub(crate) fn follow(directory: &Path) -> Result<Follower, Error> {
    Follower::open(Arc::new(RealDisk), directory, Options::default(), Arc::new(Words))
}

/// Appends entries (and writes to records) and waits until they are durable. Returns the first position.
pub(crate) fn append(engine: &Engine, payloads: &[&str], records: &[(&str, Option<&str>)]) -> Result<u64, Failure> {
    append_by(engine, Engine::propose, payloads, records)
}

/// As [`append`], proposed in this way.
pub(crate) fn append_by(
    engine: &Engine,
    propose: fn(&Engine, Box<dyn Proposal>),
    payloads: &[&str],
    records: &[(&str, Option<&str>)],
) -> Result<u64, Failure> {
    let mut draft = Draft::default();
    for payload in payloads {
        let terms = Words.terms(engine.keys(), payload.as_bytes()).expect("three words");
        draft.entry(&terms, |body| body.extend_from_slice(payload.as_bytes()));
    }
    for (name, value) in records {
        draft.record(engine.keys().key(RECORD, name.as_bytes()), name.as_bytes(), 1, value.map(str::as_bytes));
    }
    let (answer, answered) = sync_channel(1);
    propose(engine, Box::new(Plain { draft: Some(draft), position: Mutex::new(0), answer }));
    answered.recv().expect("every proposal is settled")
}

struct Plain {
    draft: Option<Draft>,
    position: Mutex<u64>,
    answer: SyncSender<Result<u64, Failure>>,
}

impl Proposal for Plain {
    fn decide(&mut self, log: &Pending<'_>) -> Decision {
        *self.position.lock().expect("not poisoned") = log.next_position();
        Decision::Record(self.draft.take().expect("decided once"))
    }

    fn settle(self: Box<Self>, outcome: Result<(), Failure>) {
        let position = *self.position.lock().expect("not poisoned");
        self.answer.send(outcome.map(|()| position)).expect("someone waits");
    }
}

/// All payloads after a position, in order.
pub(crate) fn payloads(snapshot: &Snapshot, after: u64) -> Vec<String> {
    let mut all = Vec::new();
    snapshot
        .forward(after, u64::MAX, |entry| {
            all.push(String::from_utf8(entry.payload.to_vec()).expect("text"));
            std::ops::ControlFlow::Continue(())
        })
        .expect("the log is whole");
    all
}
