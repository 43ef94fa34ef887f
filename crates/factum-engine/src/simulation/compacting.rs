//! Compaction gives space back, and whatever happens to it, the log says the same.

use super::crash::Kept;
use super::disk::Faults;
use super::model::Plan;
use super::world::{Opening, World};

/// A world in whose log much is dead: values that were overwritten, and streams that were cut off.
fn with_much_dead(seed: u64) -> World {
    let mut world = World::new(seed);
    world.options.segment_bytes_max = 2_000;
    // Compacted only when it is asked for.
    world.options.dead_percent_max = 100;
    assert_eq!(world.open(), Opening::Done, "nothing goes wrong yet");
    for turn in 0..30u8 {
        let payload = format!("a{} t 1 x {}", turn % 3, "x".repeat(100)).into_bytes();
        let records = vec![(b"one".to_vec(), Some(vec![turn; 200])), (b"other two".to_vec(), Some(vec![turn; 40]))];
        world.commit_plans(vec![Plan { payloads: vec![payload], records: Vec::new() }, Plan { payloads: Vec::new(), records }]);
        if turn % 10 == 9 {
            let cut = |stream: &str| (format!("cut {stream}").into_bytes(), Some(vec![turn / 3]));
            world.commit_plans(vec![Plan { payloads: Vec::new(), records: vec![cut("a0"), cut("a1")] }]);
        }
    }
    world
}

#[test]
fn compaction_gives_space_back_and_loses_nothing() {
    for seed in 0..20 {
        let mut world = with_much_dead(seed);
        let compacted = world.compact(0).expect("nothing goes wrong");
        let (before, after) = (compacted.bytes_before, compacted.bytes_after);
        assert!(compacted.compacted > 3 && after < before / 2, "seed {seed}: {before} bytes became {after}");
        world.check();
        let again = world.compact(0).expect("nothing goes wrong");
        assert_eq!((again.compacted, again.bytes_after), (0, after), "seed {seed}: what is alive stays");
        world.stop();
        world.end_checked();
    }
}

#[test]
fn compaction_may_be_cut_after_any_operation() {
    for seed in 20..22 {
        for cut_after in 0.. {
            let mut world = with_much_dead(seed);
            world.set_faults(Faults { cut_after: Some(cut_after), ..Faults::default() });
            let compacted = world.compact(0);
            let is_cut = world.disk.is_cut();
            assert!(is_cut || compacted.is_ok());
            for kept in Kept::AFTER_POWER_FAILURE {
                eprintln!("seed {seed}, compaction cut after operation {cut_after}, and {kept:?} kept");
                world.after_power_failure(kept, cut_after).end_checked();
            }
            world.kill();
            world.end_checked();
            if !is_cut {
                assert!(cut_after > 30, "{cut_after} operations are not much of a compaction");
                break;
            }
        }
    }
}

#[test]
fn a_sync_of_compaction_may_fail() {
    for seed in 30..33 {
        for failing_sync in 1..30 {
            let mut world = with_much_dead(seed);
            world.set_faults(Faults { failing_sync: Some(failing_sync), ..Faults::default() });
            let _ = world.compact(0);
            // Nothing else is touched by that, and it is done the next time.
            assert!(!world.is_stuck(), "seed {seed}, sync {failing_sync}: appending goes on");
            world.compact(0).expect("nothing goes wrong any more");
            world.check();
            for kept in Kept::AFTER_POWER_FAILURE {
                world.after_power_failure(kept, failing_sync).end_checked();
            }
        }
    }
}

#[test]
fn compaction_on_a_full_disk_is_given_up_and_done_later() {
    for seed in 40..60 {
        for room in [0, 100, 500, 1_500] {
            let mut world = with_much_dead(seed);
            world.set_faults(Faults { bytes_max: Some(world.disk.bytes() + room), ..Faults::default() });
            let full = world.compact(0);
            world.check();
            world.disk.mend();
            assert!(!world.is_stuck(), "there is room again");
            let compacted = world.compact(0).expect("there is room again");
            assert!(full.is_ok() || compacted.compacted > 0, "seed {seed}, room {room}");
            world.stop();
            world.end_checked();
        }
    }
}
