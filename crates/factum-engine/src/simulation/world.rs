//! A simulated world: a disk, a program that writes to it, and a process that reads along. Everything happens on one thread, in an
//! order that the seed decides.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::chance::Chance;
use super::crash::Kept;
use super::disk::{Faults, SimulatedDisk};
use super::model::{Model, Plan};
use super::properties;
use super::words::{CUT, Words, record_key};
use crate::ahead::Ahead;
use crate::compaction::{Compacted, Compactor, Pace};
use crate::disk::{Disk, Lock};
use crate::error::Error;
use crate::follower::Follower;
use crate::keeper;
use crate::key::KeyMaker;
use crate::live::Live;
use crate::open::{self, Mode};
use crate::read::{Snapshot, Take};
use crate::shared::{Indexer, Options, Paths, Shared};
use crate::verify::verify;
use crate::writer::{Decision, Failure, Pending, Proposal, Writer};

pub(crate) const ROOT: &str = "/store";

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) disk: SimulatedDisk,
    pub(crate) chance: Chance,
    pub(crate) model: Arc<Mutex<Model>>,
    pub(crate) options: Options,
    program: Option<Program>,
    follower: Option<Follower>,
    /// The highest position that a reader was shown.
    shown: u64,
}

/// A program that has the log open.
#[derive(Debug)]
struct Program {
    shared: Arc<Shared>,
    writer: Writer,
    compactor: Compactor,
    _lock: Lock,
}

/// How opening ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Done,
    /// The power failed, a sync failed or the disk is full.
    Failed,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let options = Options {
            segment_bytes_max: 1_500 + chance.below(5_000),
            memtable_bytes_max: 500 + chance.index(6_000),
            fill_ahead: chance.one_in(2),
            dead_percent_max: [0, 20, 50, 100][chance.index(4)],
        };
        let disk = SimulatedDisk::new(chance.next());
        disk.create_directory(Path::new(ROOT)).expect("nothing goes wrong yet");
        Self { disk, chance, model: Arc::default(), options, program: None, follower: None, shown: 0 }
    }

    pub(crate) fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    pub(crate) fn model(&self) -> Model {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the log, and checks that it holds what it should.
    pub(crate) fn open(&mut self) -> Opening {
        let opened = self.begin();
        match opened {
            Ok(program) => self.program = Some(program),
            Err(error @ (Error::Corrupt { .. } | Error::Missing { .. } | Error::Locked { .. } | Error::FutureFormat { .. })) => {
                panic!("a crash made this of the log: {error}")
            }
            Err(_) => return Opening::Failed,
        }
        if self.disk.is_cut() {
            return Opening::Failed;
        }
        let found = properties::appends(&self.snapshot());
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let there = properties::agree(&mut model, &found);
        model.settle(there);
        assert!(model.last() >= self.shown, "a reader was shown position {}, and the log ends at {}", self.shown, model.last());
        drop(model);
        self.check_time_and_again();
        Opening::Done
    }

    fn begin(&self) -> Result<Program, Error> {
        let paths = Paths::new(Path::new(ROOT));
        let lock = self.disk.lock(&paths.lock(), "the simulation").map_err(Error::io("can't lock", &paths.lock()))?;
        let lock = lock.map_err(|holder| Error::Locked { path: paths.root.clone(), holder })?;
        let opened = open::open(&self.as_disk(), &paths.root, Mode::Write, true, self.options, Arc::new(Words))?;
        let live = Live::open(&self.disk, &paths.root)?;
        let writer = Writer::new(Arc::clone(&opened.shared), live, opened.time);
        let compactor = Compactor::new(Arc::clone(&opened.shared));
        Ok(Program { shared: opened.shared, writer, compactor, _lock: lock })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.program.as_ref().expect("it is open").shared.snapshot()
    }

    fn keys(&self) -> KeyMaker {
        self.program.as_ref().expect("it is open").shared.keys.clone()
    }

    /// Compares everything that can be read with the model.
    pub(crate) fn check(&mut self) {
        let (snapshot, keys, model) = (self.snapshot(), self.keys(), self.model().durable());
        self.shown = self.shown.max(snapshot.last());
        properties::reads_agree(&snapshot, &keys, &model, &mut self.chance);
    }

    /// Checks everything, now and then.
    fn check_time_and_again(&mut self) {
        if self.chance.one_in(3) {
            self.check();
        }
    }

    /// Makes some random appends and commits them as one batch.
    pub(crate) fn commit(&mut self) {
        if self.chance.one_in(30) {
            self.seal();
        }
        let count = 1 + if self.chance.one_in(3) { self.chance.below(6) } else { 0 };
        let mut proposals: VecDeque<Box<dyn Proposal>> = VecDeque::new();
        for _ in 0..count {
            let plan = (!self.chance.one_in(6)).then(|| self.plan());
            let id = self.model.lock().unwrap_or_else(PoisonError::into_inner).next_id();
            let looks = self.chance.next();
            proposals.push_back(Box::new(Appending {
                id,
                plan,
                looks,
                keys: self.keys(),
                model: Arc::clone(&self.model),
                disk: self.disk.clone(),
                ahead: Arc::clone(self.program.as_ref().expect("it is open").writer.ahead()),
            }));
        }
        self.program.as_mut().expect("it is open").writer.commit(&mut proposals);
    }

    fn plan(&mut self) -> Plan {
        let chance = &mut self.chance;
        let entries = match chance.below(8) {
            0 => 0,
            1 => 2 + chance.below(8),
            2 => 2,
            _ => 1,
        };
        let mut payloads = Vec::new();
        for _ in 0..entries {
            let stream = if chance.one_in(4) { chance.below(40) } else { chance.below(4) };
            let category = [b'a', b'b', b'c'][chance.index(3)] as char;
            let tags = ["", "x", "xy", "xx", "xyzxyz"][chance.index(5)];
            let filling = match chance.below(12) {
                0 => 500 + chance.index(1_500),
                1 | 2 => 100 + chance.index(300),
                _ => chance.index(40),
            };
            let mut payload = format!("{category}{stream} t{} {} {tags} ", chance.below(5), chance.below(1_000)).into_bytes();
            let filler = if chance.one_in(3) { 0 } else { chance.next() as u8 };
            payload.resize(payload.len() + filling, filler);
            payloads.push(payload);
        }
        let records = if entries == 0 { 1 + chance.below(3) } else { chance.below(3).saturating_sub(1) };
        let mut plan = Plan { payloads, records: Vec::new() };
        for _ in 0..records {
            if chance.one_in(4) {
                let stream = format!("{}{}", ["a", "b", "c"][chance.index(3)], chance.below(4));
                plan.records.push(([CUT, stream.as_bytes()].concat(), Some(vec![chance.next() as u8])));
                continue;
            }
            let name = ["one", "two", "three", "other one", "other two", ""][chance.index(6)].as_bytes().to_vec();
            let bytes = if chance.one_in(5) { 600 } else { chance.index(30) };
            plan.records.push((name, (!chance.one_in(4)).then(|| vec![chance.next() as u8; bytes])));
        }
        plan
    }

    /// Commits these appends as one batch.
    pub(crate) fn commit_plans(&mut self, plans: Vec<Plan>) {
        let mut proposals: VecDeque<Box<dyn Proposal>> = VecDeque::new();
        for plan in plans {
            let id = self.model.lock().unwrap_or_else(PoisonError::into_inner).next_id();
            let ahead = Arc::clone(self.program.as_ref().expect("it is open").writer.ahead());
            let (keys, model, disk) = (self.keys(), Arc::clone(&self.model), self.disk.clone());
            proposals.push_back(Box::new(Appending { id, plan: Some(plan), looks: 1, keys, model, disk, ahead }));
        }
        self.program.as_mut().expect("it is open").writer.commit(&mut proposals);
    }

    /// Does one piece of what the threads in the background do. Failing is no harm.
    pub(crate) fn keep(&mut self) {
        let program = self.program.as_ref().expect("it is open");
        let result = match self.chance.below(10) {
            0..3 => keeper::flush(&program.shared),
            3 | 4 => keeper::seal(&program.shared),
            5 => keeper::merge(&program.shared),
            6 => program.compactor.round(&mut Pace::quick(&program.shared.closing, &mut |_| {})).map(|()| true),
            7 => program.compactor.compact([0, 10, 40, 70][self.chance.index(4)], &mut |_, _| {}).map(|_| true),
            _ => Ok(program.writer.ahead().fill()),
        };
        if let Err(error @ Error::Corrupt { .. }) = result {
            panic!("nothing is damaged: {error}");
        }
    }

    /// Ends the segment that is being written.
    pub(crate) fn seal(&mut self) {
        self.program.as_mut().expect("it is open").writer.commit(&mut VecDeque::from([Box::new(Sealing) as Box<dyn Proposal>]));
    }

    /// Compacts what more of is dead than so much, in percent.
    pub(crate) fn compact(&self, dead_percent_max: u8) -> Result<Compacted, Error> {
        self.program.as_ref().expect("it is open").compactor.compact(dead_percent_max, &mut |_, _| {})
    }

    /// A process that reads along looks at the log, or comes, or goes.
    pub(crate) fn follow(&mut self) {
        if self.follower.is_none() || self.chance.one_in(10) {
            let options = Options { memtable_bytes_max: 300 + self.chance.index(3_000), ..self.options };
            self.follower = match Follower::open(self.as_disk(), Path::new(ROOT), options, Arc::new(Words)) {
                Ok(follower) => Some(follower),
                Err(error @ Error::Corrupt { .. }) => panic!("nothing is damaged: {error}"),
                Err(_) => None,
            };
        }
        let Some(follower) = &self.follower else { return };
        match follower.snapshot() {
            Ok(snapshot) => {
                let model = self.model();
                // What is not synced may be seen by nobody, wherever he looks.
                assert!(snapshot.last() <= model.last(), "position {} is shown, and {} is durable", snapshot.last(), model.last());
                self.shown = self.shown.max(snapshot.last());
                if self.chance.one_in(10) {
                    let shown = properties::up_to(&model, snapshot.last());
                    properties::entries_agree(&snapshot, &shown);
                    properties::reads_agree(&snapshot, &follower.keys(), &shown, &mut self.chance);
                }
            }
            Err(error @ Error::Corrupt { .. }) => panic!("nothing is damaged: {error}"),
            Err(_) => {}
        }
    }

    /// Some time in the program's life: until so much was done, or nothing works any more.
    pub(crate) fn live(&mut self, steps: u64) {
        let mut old: Option<(Snapshot, Model)> = None;
        for _ in 0..steps {
            if self.disk.is_cut() {
                return;
            }
            match self.chance.below(16) {
                0..8 => self.commit(),
                8..12 => self.keep(),
                12 | 13 => self.follow(),
                14 => {
                    if let Some((snapshot, model)) = old.take().filter(|_| !self.disk.is_cut()) {
                        let keys = self.keys();
                        properties::reads_agree(&snapshot, &keys, &model, &mut self.chance);
                    }
                }
                _ => old = Some((self.snapshot(), self.model().durable())),
            }
        }
    }

    /// The program ends as it should.
    pub(crate) fn stop(&mut self) {
        let Some(mut program) = self.program.take() else { return };
        program.writer.ahead().stop();
        program.writer.stop();
        program.compactor.keep_notes();
        while keeper::flush(&program.shared).is_ok_and(|more| more) || keeper::seal(&program.shared).is_ok_and(|more| more) {}
    }

    /// The program is killed; what it wrote is still there.
    pub(crate) fn kill(&mut self) {
        self.program = None;
        self.disk.mend();
    }

    /// The power fails, and comes back.
    pub(crate) fn fail_power(&mut self, kept: Kept) {
        (self.program, self.follower) = (None, None);
        let seed = self.chance.next();
        self.disk = self.disk.after_power_failure(kept, seed);
    }

    /// The same world at this moment, to try something else in. No program runs in it.
    pub(crate) fn after_power_failure(&self, kept: Kept, seed: u64) -> Self {
        Self {
            disk: self.disk.after_power_failure(kept, seed),
            chance: Chance::new(seed),
            model: Arc::new(Mutex::new(self.model())),
            options: self.options,
            program: None,
            follower: None,
            shown: self.shown,
        }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.disk.set_faults(faults);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.program.is_some()
    }

    /// Whether nothing is recorded any more.
    pub(crate) fn is_stuck(&mut self) -> bool {
        let before = self.model().acknowledged;
        for _ in 0..20 {
            self.commit();
        }
        self.model().acknowledged == before
    }

    /// The end of a history: the log opens, takes appends, is the same without its index, and nothing is wrong with it.
    pub(crate) fn end_checked(&mut self) {
        assert_eq!(self.open(), Opening::Done, "nothing goes wrong any more");
        self.check();
        assert!(!self.is_stuck(), "appending goes on");
        self.check();
        self.follow();
        self.compact(0).expect("nothing goes wrong any more");
        self.check();
        self.follow();
        self.stop();
        self.verify();
        for path in self.disk.paths() {
            if path.extension().is_none_or(|extension| extension != "seg") {
                self.disk.lose(&path);
            }
        }
        self.follower = None;
        self.follow();
        assert_eq!(self.open(), Opening::Done, "an index that is missing is made again");
        self.check();
        self.follow();
        self.stop();
        self.verify();
        let bytes = |name: &str| self.disk.paths().iter().filter(|path| path.to_string_lossy().ends_with(name)).count();
        assert_eq!(bytes(".new"), 0, "nothing is left over");
    }

    fn verify(&self) {
        let report = verify(&self.as_disk(), Path::new(ROOT), &indexer(), &mut |_, _| {}).expect("there is a log");
        assert_eq!(report.problems, []);
        assert_eq!(report.entries, self.model().last());
        assert!(report.frames <= self.model().acknowledged as u64);
    }
}

/// Asks for a new segment.
struct Sealing;

impl Proposal for Sealing {
    fn decide(&mut self, _log: &Pending<'_>) -> Decision {
        Decision::Seal
    }

    fn settle(self: Box<Self>, _outcome: Result<(), Failure>) {}
}

/// One append, or a request that is refused (no plan).
struct Appending {
    id: u64,
    plan: Option<Plan>,
    looks: u64,
    keys: KeyMaker,
    model: Arc<Mutex<Model>>,
    disk: SimulatedDisk,
    ahead: Arc<Ahead>,
}

impl Appending {
    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a proposal sees is the log with everything decided before.
    fn look(&self, log: &Pending<'_>, model: &Model) -> Result<(), Error> {
        assert_eq!(log.next_position(), model.next_position());
        let mut chance = Chance::new(self.looks);
        let stream = format!("{}{}", ["a", "b", "c"][chance.index(3)], chance.below(4));
        let key = self.keys.key(super::words::STREAM, stream.as_bytes());
        assert_eq!(log.count(key)?, model.count(stream.as_bytes()), "the number of entries in {stream}");
        let positions: Vec<u64> = model
            .entries()
            .filter(|(_, _, (_, payload))| Plan::stream(payload) == stream.as_bytes())
            .map(|(position, ..)| position)
            .collect();
        assert_eq!(log.positions(key, 0, u64::MAX, Take::Lowest, usize::MAX)?, positions);
        assert_eq!(log.positions(key, 0, u64::MAX, Take::Highest, 2)?, positions[positions.len().saturating_sub(2)..]);
        if let Some(last) = positions.last() {
            let expected = model.entries().find(|(position, ..)| position == last).expect("it is there").2;
            let cuts = model.cuts();
            let entry = log.entry(*last, |entry| (entry.number, cuts.of_interest(entry.number, entry.payload)))?;
            assert_eq!(entry, (expected.0, cuts.of_interest(expected.0, &expected.1)));
            let id = |payload: &[u8]| payload.split(|byte| *byte == b' ').nth(2).map(<[u8]>::to_vec);
            let last_id = id(&expected.1).expect("five words");
            let same_id =
                |position: &u64| model.entries().any(|(at, _, (_, payload))| at == *position && id(payload).as_ref() == Some(&last_id));
            let of_id = self.keys.short_key(super::words::ID, stream.as_bytes(), &last_id);
            let with_id: Vec<u64> = positions.iter().copied().filter(same_id).collect();
            assert_eq!(log.positions_within(key, of_id)?, with_id);
        }
        for name in [&b"one"[..], b"other two", b"", b"never"] {
            let found = log.record(record_key(&self.keys, name), name, |record| (record.version, record.value.map(<[u8]>::to_vec)))?;
            assert_eq!(found, model.record(name).map(|record| (record.version, record.value.clone())), "the record {name:?}");
        }
        Ok(())
    }
}

impl Proposal for Appending {
    fn decide(&mut self, log: &Pending<'_>) -> Decision {
        if self.disk.is_cut() {
            return Decision::Nothing;
        }
        let model = self.model();
        if let Err(error) = self.look(log, &model) {
            assert!(self.disk.is_cut(), "nothing is damaged: {error}");
        }
        let Some(plan) = &self.plan else { return Decision::Nothing };
        // Whoever fills ahead may do so at any time.
        if self.looks.is_multiple_of(8) {
            self.ahead.fill();
        }
        let (draft, append) = plan.draft(self.id, &self.keys, &model);
        drop(model);
        self.model().decided(append);
        Decision::Record(draft)
    }

    fn settle(self: Box<Self>, outcome: Result<(), Failure>) {
        // Who has no power answers no one.
        if self.disk.is_cut() || self.plan.is_none() {
            return;
        }
        match outcome {
            Ok(()) => self.model().acknowledge(self.id),
            Err(Failure::NotRecorded(_)) => self.model().forget(self.id),
            Err(Failure::Unknown(_)) => {}
        }
    }
}

/// The indexer of all simulated programs.
pub(crate) fn indexer() -> Arc<dyn Indexer> {
    Arc::new(Words)
}
