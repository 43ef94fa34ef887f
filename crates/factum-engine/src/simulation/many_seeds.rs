//! Thousands of short histories, each different. `FACTUM_SEEDS=N` runs N of them, `FACTUM_SEED=N` only the one with that seed.

use super::crash::Kept;
use super::disk::Faults;
use super::world::{Opening, World};

const SEEDS: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Runs one history after another, and says which seed failed.
fn each_seed(test: &str, seeds: u64, history: impl Fn(u64)) {
    let range = match number("FACTUM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FACTUM_SEEDS").unwrap_or(seeds),
    };
    for seed in range {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history(seed)));
        if let Err(panic) = result {
            eprintln!("this was seed {seed}; to run only that: FACTUM_SEED={seed} cargo test -p factum-engine --lib {test}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Lives of a program, each of which ends in some way.
fn lives(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..1 + world.chance.below(5) {
        let cut_after = world.chance.below(150);
        let faults = match world.chance.below(6) {
            0 => Faults::default(),
            1 => Faults { failing_sync: Some(1 + world.chance.below(30)), ..Faults::default() },
            2 => Faults { bytes_max: Some(world.disk.bytes() + world.chance.below(6_000)), ..Faults::default() },
            _ => Faults { cut_after: Some(cut_after), ..Faults::default() },
        };
        world.set_faults(faults);
        let opened = world.open();
        if opened == Opening::Done {
            let steps = 5 + world.chance.below(60);
            world.live(steps);
        }
        end(&mut world, faults);
    }
    world.disk.mend();
    world.end_checked();
}

/// A life ends: stopped, killed, or without power.
fn end(world: &mut World, faults: Faults) {
    let cut = world.disk.is_cut();
    if !cut && world.is_open() {
        if faults.bytes_max.is_some() && world.chance.one_in(2) {
            // There is room again: everything works as before, without opening the log anew.
            world.disk.mend();
            assert!(!world.is_stuck(), "there is room again");
            world.check();
        }
        if world.chance.one_in(2) {
            world.stop();
        }
    }
    match world.chance.below(4) {
        0 => world.kill(),
        _ => {
            let kept = [Kept::Nothing, Kept::Everything, Kept::Random, Kept::Random, Kept::Last][world.chance.index(5)];
            world.fail_power(kept);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_whatever_happens() {
    each_seed("what_was_acknowledged_survives_whatever_happens", SEEDS, lives);
}
