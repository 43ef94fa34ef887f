//! A process that reads along is held up between any two looks at the disk, and the writer goes on meanwhile.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::chance::Chance;
use super::disk::SimulatedDisk;
use super::model::Plan;
use super::properties;
use super::words::Words;
use super::world::{Opening, ROOT, World, indexer};
use crate::disk::{Access, Disk, DiskFile, Lock};
use crate::follower::Follower;
use crate::shared::Options;
use crate::verify::verify;

/// A disk, as a reader sees it for whom things happen between two looks.
#[derive(Clone, Debug)]
struct Interleaved {
    disk: SimulatedDisk,
    meanwhile: Arc<Mutex<Meanwhile>>,
}

#[derive(Debug)]
struct Meanwhile {
    world: World,
    looks: u64,
    /// After so many looks the world goes on.
    at: u64,
    steps: u64,
    /// And then this happens, and what is dead is compacted.
    then: fn(&mut World),
    /// From this look on all fail, unless it is 0.
    fails_at: u64,
}

impl Interleaved {
    fn look(&self) -> io::Result<()> {
        let mut meanwhile = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
        meanwhile.looks += 1;
        if meanwhile.looks == meanwhile.at {
            let steps = meanwhile.steps;
            meanwhile.world.live(steps);
            (meanwhile.then)(&mut meanwhile.world);
            meanwhile.world.compact(0).expect("nothing goes wrong");
        }
        if (1..=meanwhile.looks).contains(&meanwhile.fails_at) { Err(io::Error::other("it could not be read")) } else { Ok(()) }
    }

    fn world<T>(&self, ask: impl FnOnce(&mut World) -> T) -> T {
        ask(&mut self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).world)
    }
}

impl Disk for Interleaved {
    fn open(&self, path: &Path, access: Access, bytes_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.look()?;
        let file = self.disk.open(path, access, bytes_max)?;
        Ok(Arc::new(InterleavedFile { file, disk: self.clone() }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        self.look()?;
        self.disk.list(directory)
    }

    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn lock(&self, _path: &Path, _holder: &str) -> io::Result<Result<Lock, String>> {
        unreachable!("a reader changes nothing")
    }

    fn lock_out(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.look()?;
        self.disk.lock_out(path)
    }

    fn now(&self) -> u64 {
        Disk::now(&self.disk)
    }

    fn boot(&self) -> Option<u32> {
        self.disk.boot()
    }

    fn random(&self) -> [u8; 16] {
        self.disk.random()
    }
}

#[derive(Debug)]
struct InterleavedFile {
    file: Arc<dyn DiskFile>,
    disk: Interleaved,
}

impl DiskFile for InterleavedFile {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        self.disk.look()?;
        self.file.view(offset, bytes)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.look()?;
        self.file.read(offset, buffer)
    }

    fn write(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn begin_sync(&self, _offset: u64, _bytes: u64) {}

    fn sync(&self) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn truncate(&self, _bytes: u64) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn size(&self) -> io::Result<u64> {
        self.disk.look()?;
        self.file.size()
    }

    fn prefetch(&self, _offset: u64, _bytes: u64) {}
}

/// A world with some history, in which so many steps happen after so many looks.
fn interleaved(seed: u64, at: u64, steps: u64) -> Interleaved {
    let mut world = World::new(seed);
    assert_eq!(world.open(), Opening::Done, "nothing goes wrong");
    world.live(40);
    Interleaved {
        disk: world.disk.clone(),
        meanwhile: Arc::new(Mutex::new(Meanwhile { world, looks: 0, at, steps, then: |_| {}, fails_at: 0 })),
    }
}

/// What a reader is shown is the log up to somewhere, and no less than there was when it began to look.
fn shows_the_log(disk: &Interleaved, follower: &Follower, at_least: u64) {
    let snapshot = follower.snapshot().expect("nothing is damaged");
    assert!(snapshot.last() >= at_least, "{at_least} entries were durable, and {} are shown", snapshot.last());
    let model = properties::up_to(&disk.world(|world| world.model()), snapshot.last());
    properties::reads_agree(&snapshot, &follower.keys(), &model, &mut Chance::new(at_least));
}

/// A reader looked at the mark, and then at the index, which went further by then: what it took for the end of the log was none.
#[test]
fn a_log_can_be_opened_to_read_at_any_moment() {
    for seed in 0..12 {
        let mut at = 1;
        loop {
            let disk = interleaved(seed, at, 25);
            let before = disk.world(|world| world.model().last());
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let options = disk.world(|world| Options { memtable_bytes_max: 400, ..world.options });
            let follower = Follower::open(shared, Path::new(ROOT), options, Arc::new(Words));
            let follower = follower.unwrap_or_else(|error| panic!("seed {seed}, interrupted at look {at}: {error}"));
            let looks = disk.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).looks;
            shows_the_log(&disk, &follower, before);
            // And then it reads along, held up as well.
            disk.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).at = looks + at * 3;
            for _ in 0..3 {
                let before = disk.world(|world| world.model().last());
                shows_the_log(&disk, &follower, before);
                disk.world(|world| world.live(10));
            }
            if at > looks {
                break;
            }
            at += 1 + looks / 60;
        }
    }
}

#[test]
fn a_log_can_be_verified_at_any_moment() {
    for seed in 20..24 {
        for at in (1..2_000).step_by(97) {
            let disk = interleaved(seed, at, 25);
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let report = verify(&shared, Path::new(ROOT), &indexer(), &mut |_, _| {}).expect("there is a log");
            assert_eq!(report.problems, [], "seed {seed}, interrupted at look {at}");
        }
    }
}

/// A read that failed left a reader with half of what was new: it never got further.
#[test]
fn a_reader_goes_on_after_a_read_that_failed() {
    for seed in 30..34 {
        let disk = interleaved(seed, 0, 0);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let follower = Follower::open(shared, Path::new(ROOT), Options::default(), Arc::new(Words)).expect("nothing fails yet");
        let mut failed = 0;
        for look in 1..60 {
            let before = disk.world(|world| {
                world.live(12);
                world.model().last()
            });
            {
                let mut meanwhile = disk.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
                meanwhile.fails_at = meanwhile.looks + look;
            }
            failed += u64::from(follower.snapshot().is_err());
            disk.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).fails_at = 0;
            shows_the_log(&disk, &follower, before);
        }
        assert!(failed > 3, "{failed} reads failed");
    }
}

/// One record is written again and again, each time with an entry, and another one only once.
fn overwrite(world: &mut World) {
    for turn in 0..60 {
        write(world, if turn == 16 { "two" } else { "one" }, turn);
    }
}

fn write(world: &mut World, record: &str, turn: u8) {
    let payload = format!("a{} t {turn} x {}", turn % 3, "x".repeat(60)).into_bytes();
    world.commit_plans(vec![Plan { payloads: vec![payload], records: vec![(record.into(), Some(vec![turn; 60]))] }]);
}

/// What a reader had not taken in yet was compacted: a record that was superseded behind what it was about to show must not be missing.
#[test]
fn a_reader_goes_on_when_the_log_before_it_is_compacted() {
    for seed in 40..44 {
        let mut interrupted = 0;
        for at in 1..160 {
            let disk = interleaved(seed, 0, 0);
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let options = disk.world(|world| world.options);
            let follower = Follower::open(Arc::clone(&shared), Path::new(ROOT), options, Arc::new(Words)).expect("nothing fails");
            let before = disk.world(|world| {
                overwrite(world);
                world.model().last()
            });
            let looks = {
                let mut meanwhile = disk.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
                meanwhile.at = meanwhile.looks + at;
                meanwhile.then = |world| write(world, "two", 99);
                meanwhile.at
            };
            eprintln!("seed {seed}, interrupted at look {at}");
            shows_the_log(&disk, &follower, before);
            let late = Follower::open(shared, Path::new(ROOT), options, Arc::new(Words)).expect("nothing is damaged");
            shows_the_log(&disk, &late, before);
            interrupted += u64::from(disk.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).looks >= looks);
        }
        assert!(interrupted > 20, "{interrupted} times a reader was held up");
    }
}
