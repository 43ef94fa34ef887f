//! A disk that is really full: the largest size a file may have stands for its end, in a process of its own because that holds for
//! a whole process.

mod support;

use std::fs;
use std::process::Command;

use factum_engine::{Error, Failure, Options};
use support::{append, follow, open, payloads};

const OPTIONS: Options = Options { segment_bytes_max: 1 << 20, memtable_bytes_max: 1 << 20, fill_ahead: true, dead_percent_max: 50 };

/// Runs this test's second half in a process whose files may have so many bytes, and which is not killed for wanting more.
fn limited(half: &str, bytes: u64) -> Option<(bool, String)> {
    let directory = tempfile::tempdir().expect("a directory");
    let program = std::env::current_exe().expect("it runs");
    let script = format!("trap '' XFSZ; ulimit -f {} && exec \"$0\" --ignored --exact {half} --nocapture", bytes / 512);
    let output = Command::new("sh").arg("-c").arg(script).arg(program).env("FACTUM_FULL_DISK", directory.path()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

#[test]
fn appends_to_a_full_disk_say_so_and_change_nothing() {
    match limited("fills_the_disk", 200 << 10) {
        Some((succeeded, text)) => assert!(succeeded && text.contains("1 passed"), "{text}"),
        None => eprintln!("skipped: there is no sh to set a limit with"),
    }
}

#[test]
#[ignore = "runs in a process of its own, with a limit on the size of files"]
fn fills_the_disk() {
    let Some(directory) = std::env::var_os("FACTUM_FULL_DISK") else { return };
    let directory = std::path::Path::new(&directory);
    let engine = open(directory, OPTIONS).expect("it opens");
    let mut recorded = Vec::new();
    let mut refused = 0;
    for index in 0..3_000 {
        let payload = format!("s t {index} {}", "x".repeat(index % 400));
        match append(&engine, &[&payload], &[]) {
            Ok(_) => recorded.push(payload),
            Err(Failure::NotRecorded(Error::Full { path })) => {
                assert!(path.starts_with(directory));
                refused += 1;
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }
    assert!(refused > 100 && recorded.len() > 100, "{refused} refused, {} recorded", recorded.len());
    assert_eq!(payloads(&engine.snapshot(), 0), recorded, "reading goes on");
    let follower = follow(directory).expect("it opens");
    assert_eq!(payloads(&follower.snapshot().expect("whole"), 0), recorded, "for others too");
    engine.close();
    drop(engine);
    let engine = open(directory, OPTIONS).expect("it opens");
    assert_eq!(payloads(&engine.snapshot(), 0), recorded, "nothing that was refused is there");
    assert!(fs::metadata(directory.join("log/0000000001.seg")).expect("it is there").len() <= 200 << 10);
}
