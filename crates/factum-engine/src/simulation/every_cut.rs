//! One history, stopped after each of its operations, with everything that a power failure may leave; and recovery from that,
//! stopped after each of its own.

use std::path::Path;

use super::crash::Kept;
use super::disk::Faults;
use super::model::Plan;
use super::world::{Opening, ROOT, World};
use crate::disk::{Access, Disk};
use crate::segment::FIRST_FRAME;

/// The history: the same for each seed, up to where it is stopped.
fn history(seed: u64, cut_after: Option<u64>) -> World {
    let mut world = World::new(seed);
    world.set_faults(Faults { cut_after, ..Faults::default() });
    if world.open() == Opening::Done {
        world.live(60);
    }
    world
}

/// The history goes on from a moment at which the power failed.
fn go_on(mut world: World) {
    assert_eq!(world.open(), Opening::Done, "nothing goes wrong any more");
    world.live(6);
    world.fail_power(Kept::Random);
    assert_eq!(world.open(), Opening::Done, "nothing goes wrong any more");
    world.check();
}

#[test]
fn power_may_fail_after_any_operation() {
    for seed in 0..3 {
        let operations = history(seed, None).disk.operations();
        assert!(operations > 100, "{operations} operations are not much of a history");
        for cut_after in 0..operations {
            let mut world = history(seed, Some(cut_after));
            for kept in Kept::AFTER_POWER_FAILURE {
                eprintln!("history {seed} cut after operation {cut_after}, and {kept:?} kept");
                go_on(world.after_power_failure(kept, cut_after));
            }
            eprintln!("history {seed} killed after operation {cut_after}");
            world.kill();
            go_on(world);
        }
    }
}

#[test]
fn recovery_may_be_cut_after_any_operation() {
    for seed in 10..13 {
        let operations = history(seed, None).disk.operations();
        for cut_after in (0..operations).rev().step_by(7) {
            let world = history(seed, Some(cut_after));
            for kept in [Kept::Random, Kept::Last] {
                for recovery_cut_after in 0.. {
                    eprintln!("history {seed} cut after operation {cut_after}, {kept:?} kept, recovery after {recovery_cut_after}");
                    let mut world = world.after_power_failure(kept, cut_after);
                    world.set_faults(Faults { cut_after: Some(recovery_cut_after), ..Faults::default() });
                    let opened = world.open();
                    world.fail_power(if recovery_cut_after % 2 == 0 { Kept::Random } else { Kept::Nothing });
                    assert_eq!(world.open(), Opening::Done, "nothing goes wrong any more");
                    world.check();
                    if opened == Opening::Done {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn any_sync_may_fail() {
    for seed in 20..24 {
        let syncs = history(seed, None).disk.syncs();
        for failing_sync in 1..=syncs {
            eprintln!("history {seed} with sync {failing_sync} failing");
            let mut world = World::new(seed);
            world.set_faults(Faults { failing_sync: Some(failing_sync), ..Faults::default() });
            if world.open() == Opening::Done {
                world.live(60);
            }
            for kept in Kept::AFTER_POWER_FAILURE {
                go_on(world.after_power_failure(kept, failing_sync));
            }
            // The machine runs on, and so does what it believes to have written.
            world.kill();
            assert_eq!(world.open(), Opening::Done, "nothing goes wrong any more");
            world.live(10);
            world.fail_power(Kept::Nothing);
            go_on(world);
        }
    }
}

/// Of a batch of two appends only the second was whole after a crash. Had it been left there, it would have come back to life behind
/// the next append of the first one's size, under the position that it was once to have.
#[test]
fn what_recovery_gave_up_stays_away() {
    let plan = |name: &str| Plan { payloads: vec![format!("{name} t 1 x {}", "x".repeat(600)).into_bytes()], records: Vec::new() };
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.options.segment_bytes_max = 100_000;
        assert_eq!(world.open(), Opening::Done, "nothing goes wrong any more");
        world.set_faults(Faults { cut_after: Some(2), ..Faults::default() });
        world.commit_plans(vec![plan("a1"), plan("a2")]);
        assert!(world.disk.is_cut(), "before the sync");
        world.kill();
        world.fail_power(Kept::Everything);
        let segment = world.disk.open(&Path::new(ROOT).join("log/0000000001.seg"), Access::Write, 0).expect("it is there");
        segment.write(FIRST_FRAME + 200, &[0; 20]).expect("nothing goes wrong any more");
        segment.sync().expect("nothing goes wrong any more");
        assert_eq!(world.open(), Opening::Done, "a torn batch is no damage");
        assert_eq!(world.model().last(), 0);
        world.commit_plans(vec![plan("b1")]);
        assert_eq!(world.model().last(), 1);
        world.fail_power(Kept::Everything);
        world.end_checked();
    }
}
