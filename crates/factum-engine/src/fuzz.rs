//! What fuzzers drive: bytes from anywhere go through everything that reads a file, and end in data or in a refusal.

mod memory;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use self::memory::Memory;
use crate::disk::{Access, Disk};
use crate::follower::Follower;
use crate::frame::{Draft, Frame, Header, Place, entry_alone};
use crate::index::block::{self, Leaf};
use crate::index::merge;
use crate::index::run::{Run, RunHeader};
use crate::index::run_writer::RunWriter;
use crate::key::{Key, KeyMaker, Kind};
use crate::read::Take;
use crate::segment::{Anchors, Compaction, FIRST_FRAME, Location, Scan, Segment, SegmentHeader, segment_path, sidecar_path};
use crate::shared::{Indexer, Options};
use crate::terms::Terms;
use crate::verify::verify;

const STORE: [u8; 16] = [7; 16];
const SEED: u32 = 0x5eed;

/// Bytes as a frame, and as what stands in a segment; and a frame made of them, which is read as it was written.
pub fn frame(bytes: &[u8]) {
    decode(bytes, SEED);
    // Most fuzzed bytes have no matching checksum. Past that check there is more to get wrong.
    let mut sealed = bytes.to_vec();
    if seal(&mut sealed) {
        decode(&sealed, SEED);
    }
    scan(bytes);
    scan(&sealed);
    round_trip(bytes);
}

/// Bytes as an index file and as anchors; and an index file with some of its bytes replaced by these.
pub fn index(bytes: &[u8]) {
    for number in 0..2 {
        let _ = block::is_whole(bytes, number);
    }
    if let Some(leaf) = Leaf::new(bytes) {
        let _ = leaf.find(Key::from_bytes([1; 16]));
        let _ = Leaf::iterate(bytes).map(|entries| entries.map_while(|entry| entry).count());
    }
    let _ = block::inner_find(bytes, Key::from_bytes([1; 16]));
    let _ = block::posting_values(bytes, &mut Vec::new());
    look_up(bytes.to_vec());
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    let mut mutated = SAMPLE.get_or_init(sample_run).clone();
    if let Some((at, rest)) = bytes.split_first_chunk::<4>() {
        let at = u32::from_le_bytes(*at) as usize % mutated.len();
        let end = (at + rest.len()).min(mutated.len());
        mutated[at..end].copy_from_slice(&rest[..end - at]);
        look_up(mutated.clone());
        reseal_run(&mut mutated);
        look_up(mutated);
    }
    anchors(bytes);
}

fn decode(bytes: &[u8], seed: u32) {
    let Some(header) = Header::read(bytes) else { return };
    for index in 0..header.entries.min(64) {
        let _ = entry_alone(bytes, &header, index, seed);
    }
    if let Ok(frame) = Frame::check(Cow::Borrowed(bytes), seed) {
        let _ = frame.check_bodies();
        for index in 0..frame.header.entries {
            let _ = frame.entry(index);
        }
        for index in 0..frame.header.records {
            let _ = frame.record(index);
        }
    }
}

/// Corrects a frame's length and the checksum of its header and table; false if there is no room for them.
fn seal(bytes: &mut Vec<u8>) -> bool {
    bytes.truncate(bytes.len() / 8 * 8);
    let Some(length) = bytes.first_chunk_mut::<4>() else { return false };
    *length = 0u32.to_le_bytes();
    let bytes_now = u32::try_from(bytes.len()).unwrap_or(0);
    bytes[0..4].copy_from_slice(&bytes_now.to_le_bytes());
    let Some(header) = Header::read(bytes) else { return false };
    let checksum = crate::frame::head_checksum(SEED, &bytes[..header.bodies_at()]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    true
}

/// The same bytes as the frames of a compacted segment, in front of an empty one.
fn compacted(segment: &Segment, bytes: &[u8]) {
    let (directory, end) = (Path::new("/compacted/log"), Compaction::FIRST_FRAME + bytes.len() as u64);
    let compaction = Compaction { decided_at: Location::new(2, FIRST_FRAME), written_end: 1 << 20, end };
    let next = SegmentHeader { number: 2, first_position: 2, previous_end: 1 << 20, ..segment.header };
    let disk = Memory::default();
    disk.put(&segment_path(directory, 1), [&segment.compacted_headers(SEED, compaction), bytes].concat());
    disk.put(&segment_path(directory, 2), next.to_bytes().to_vec());
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let segment = Segment::open(&shared, &segment_path(directory, 1), Access::Read, 0).expect("the headers are whole");
    for written in [0, 64, 1_000, 1 << 20] {
        let _ = segment.frame_written_at(written);
    }
    let indexer: Arc<dyn Indexer> = Arc::new(Opaque);
    let root = Path::new("/compacted");
    let _ = verify(&shared, root, &indexer, &mut |_, _| {});
    let _ = Follower::open(shared, root, Options::default(), indexer).and_then(|follower| follower.snapshot());
}

fn scan(bytes: &[u8]) {
    let header = SegmentHeader { store: STORE, number: 1, seed: SEED, first_position: 1, previous_end: 0 };
    let directory = Path::new("/store/log");
    let disk = Memory::default();
    disk.put(&segment_path(directory, 1), [&header.to_bytes(), bytes].concat());
    // The same bytes as a whole file: most have a damaged header.
    disk.put(Path::new("/damaged/log/0000000001.seg"), bytes.to_vec());
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let indexer: Arc<dyn Indexer> = Arc::new(Opaque);
    let segment = Segment::open(&shared, &segment_path(directory, 1), Access::Read, 0).expect("the header is whole");
    compacted(&segment, bytes);
    let mut scan = Scan::new(&segment, FIRST_FRAME);
    while let Ok(Some(_)) = scan.next_whole(FIRST_FRAME + bytes.len() as u64) {}
    let _ = Scan::new(&segment, scan.offset()).tail("fuzzed");
    let _ = Scan::new(&segment, FIRST_FRAME).find_next();
    for root in ["/store", "/damaged"] {
        let _ = verify(&shared, Path::new(root), &indexer, &mut |_, _| {});
        if let Ok(follower) = Follower::open(Arc::clone(&shared), Path::new(root), Options::default(), Arc::clone(&indexer)) {
            let snapshot = follower.snapshot().expect("it was just opened");
            let mut read = 0;
            let whole = snapshot.forward(0, u64::MAX, |_| {
                read += 1;
                ControlFlow::Continue(())
            });
            whole.expect("opening checked everything");
            assert_eq!(read, snapshot.last());
            let mut read = 0;
            let whole = snapshot.backward(0, u64::MAX, |_| {
                read += 1;
                ControlFlow::Continue(())
            });
            whole.expect("opening checked everything");
            assert_eq!(read, snapshot.last());
        }
    }
}

/// Cuts the bytes into payloads and records, writes a frame of them, and reads it again.
fn round_trip(bytes: &[u8]) {
    let keys = KeyMaker::new(STORE);
    let mut draft = Draft::default();
    let mut rest = bytes;
    let (mut payloads, mut records) = (Vec::new(), Vec::new());
    while let Some((length, after)) = rest.split_first() {
        let (part, after) = after.split_at(usize::from(length / 2).min(after.len()));
        rest = after;
        if length % 2 == 0 { payloads.push(part) } else { records.push(part) }
    }
    for payload in &payloads {
        draft.entry(&Opaque.terms(&keys, payload).expect("all payloads have keys"), |body| body.extend_from_slice(payload));
    }
    for (record, version) in records.iter().zip(1..) {
        let (name, value) = record.split_at(record.len() / 2);
        draft.record(keys.key(Kind(0x80), name), name, version, (version % 2 == 0).then_some(value));
    }
    if draft.is_empty() {
        return;
    }
    let number = |index: usize| payloads[..=index].iter().filter(|payload| payload.first() == payloads[index].first()).count() as u64;
    let numbers: Vec<u64> = (0..payloads.len()).map(number).collect();
    let place = Place { seed: SEED, position: 1, time: 4, behind: 0 };
    let mut written = Vec::new();
    draft.write_frame(&place, &numbers, &mut written);
    let frame = Frame::check(Cow::Borrowed(&written), SEED).expect("as it was written");
    frame.check_bodies().expect("as it was written");
    assert_eq!((frame.header.entries, frame.header.records), (payloads.len(), records.len()));
    for (index, payload) in payloads.iter().enumerate() {
        let entry = frame.entry(index).expect("as it was written");
        assert_eq!((entry.position, entry.time, entry.number, entry.payload), (1 + index as u64, 4, numbers[index], *payload));
        let alone = entry_alone(&written, &frame.header, index, SEED).expect("as it was written");
        assert_eq!((alone.number, alone.payload), (entry.number, entry.payload));
    }
    for (index, record) in records.iter().enumerate() {
        let (name, value) = record.split_at(record.len() / 2);
        let found = frame.record(index).expect("as it was written");
        let version = index as u64 + 1;
        assert_eq!((found.name, found.version, found.value), (name, version, version.is_multiple_of(2).then_some(value)));
    }
    // The frame in a segment, and something behind it.
    scan(&[&written, bytes].concat());
}

/// A run with short and long lists, records, and two levels of blocks.
fn sample_run() -> Vec<u8> {
    let disk = Memory::default();
    let path = merge::run_path(Path::new("/index"), Location::new(1, 64), Location::new(1, 1 << 20));
    let header = RunHeader {
        store: STORE,
        from: Location::new(1, 64),
        to: Location::new(1, 1 << 20),
        after: 0,
        last: 4_000,
        last_time: 9,
        root: 0,
        levels: 0,
        inner_from: 0,
        filter_at: 0,
        bytes: 0,
        sections: Vec::new(),
    };
    let mut writer = RunWriter::new(&disk, &path, header).expect("memory does not fail");
    let mut add = |key: Key, base: u64, values: &mut dyn Iterator<Item = u64>| {
        writer.begin(key, base).expect("memory does not fail");
        values.for_each(|value| writer.value(value).expect("memory does not fail"));
    };
    for key in sample_keys(Kind(1), 300) {
        add(key, 5, &mut (1..4));
    }
    for key in sample_keys(Kind(2), 1) {
        add(key, 0, &mut (1..=1_700));
    }
    for key in sample_keys(Kind(0x80), 20) {
        add(key, 0, &mut std::iter::once(Location::new(1, 640).0));
    }
    writer.finish().expect("memory does not fail");
    disk.take(&path)
}

fn sample_keys(kind: Kind, count: u32) -> Vec<Key> {
    let keys = KeyMaker::new(STORE);
    let mut sorted: Vec<Key> = (0..count).map(|number| keys.key(kind, &number.to_le_bytes())).collect();
    sorted.sort_unstable();
    sorted
}

/// Corrects the checksums of a run's header and blocks.
fn reseal_run(bytes: &mut [u8]) {
    for (number, block) in (0..).zip(bytes.chunks_exact_mut(block::BLOCK_BYTES)) {
        if number == 0 {
            block[12..16].fill(0);
            let checksum = crc32c::crc32c(block);
            block[12..16].copy_from_slice(&checksum.to_le_bytes());
        } else {
            let checksum = crc32c::crc32c_append(number, &block[4..]);
            block[0..4].copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

fn look_up(bytes: Vec<u8>) {
    let disk = Memory::default();
    let path = Path::new("/index/fuzzed.run");
    disk.put(path, bytes);
    let Ok(run) = Run::open(&disk, path) else { return };
    let wanted = sample_keys(Kind(1), 3).into_iter().chain(sample_keys(Kind(2), 2)).chain(sample_keys(Kind(0x80), 2));
    for key in wanted.chain([Key::from_bytes([1; 16]), Key::from_bytes([0xff; 16])]) {
        let _ = run.find(key);
        for take in [Take::Lowest, Take::Highest] {
            let _ = run.values(key, 3, 3_000, take == Take::Lowest, 20);
            let _ = run.values(key, 0, u64::MAX, take == Take::Lowest, usize::MAX);
        }
        let _ = run.values_from_index(key, 2, 3);
        let _ = run.values_from_index(key, u64::MAX, usize::MAX);
    }
    let _ = run.check();
}

fn anchors(bytes: &[u8]) {
    let header = SegmentHeader { store: STORE, number: 1, seed: SEED, first_position: 1, previous_end: 0 };
    let disk = Memory::default();
    let path = Path::new("/store/log/0000000001.seg");
    disk.put(path, header.to_bytes().to_vec());
    disk.put(&sidecar_path(path), bytes.to_vec());
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let segment = Segment::open(&disk, path, Access::Read, 0).expect("the header is whole");
    let anchors = Anchors::new(sidecar_path(path));
    let _ = anchors.checkpoint(&segment);
    let _ = anchors.open_sidecar(&segment);
    let _ = anchors.before(&segment, 5);
}

/// Finds keys in anything.
struct Opaque;

impl Indexer for Opaque {
    fn terms(&self, keys: &KeyMaker, payload: &[u8]) -> Option<Terms> {
        let key = |kind: u8| keys.key(Kind(kind), &payload[..payload.len().min(1)]);
        Some(Terms {
            sequence: key(1),
            first_of_sequence: [key(2); 2],
            labels: Default::default(),
            first_of_label: [(key(3), key(4)), (key(5), key(6))],
        })
    }

    fn record_key(&self, keys: &KeyMaker, name: &[u8]) -> Option<Key> {
        Some(keys.key(Kind(0x80), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fuzzers_start_from_is_whole() {
        let run = sample_run();
        let mut resealed = run.clone();
        reseal_run(&mut resealed);
        assert_eq!(resealed[..block::BLOCK_BYTES], run[..block::BLOCK_BYTES]);
        look_up(run);
        for bytes in [&[][..], &[0; 64], &[0xff; 300], b"any bytes will do, some more than others"] {
            frame(bytes);
            index(bytes);
        }
    }
}
