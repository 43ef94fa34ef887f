//! One history, stopped after each of its operations, with everything that a power failure may leave; and recovery from that,
//! stopped after each of its own.

use super::crash::Kept;
use super::disk::Faults;
use super::world::{Opening, World};

/// The history: the same for each seed, up to where it is stopped.
fn history(seed: u64, cut_after: Option<u64>) -> World {
    let mut world = World::new(seed);
    world.set_faults(Faults { cut_after, ..Faults::default() });
    if world.open() == Opening::Done {
        world.live(45);
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
                world.live(45);
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
