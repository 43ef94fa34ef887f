//! The program killed at random moments while many appends are under way: what it said was on disk is there afterwards.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::Value;

use crate::folder::{Folder, Ran};

const ROUNDS: u64 = 12;
const STREAMS: u64 = 37;
/// So many lines are written at once.
const AT_ONCE: u64 = 100;

/// A receipt: the stream, and the versions and positions of the first and the last event of lines that came one after another.
type Receipt = (String, [u64; 2], [u64; 2], [u64; 2]);

fn line(number: u64) -> String {
    format!("{{\"stream\":\"Order-{}\",\"type\":\"Noted\",\"data\":{{\"number\":{number}}}}}\n", number % STREAMS)
}

fn receipt(text: &str) -> Option<Receipt> {
    let said: Value = serde_json::from_str(text).ok()?;
    let number = |name: &str| said[name].as_u64();
    Some((
        said["stream"].as_str()?.to_owned(),
        [number("line")?, number("last_line")?],
        [number("version")?, number("last_version")?],
        [number("position")?, number("last_position")?],
    ))
}

/// Writes events until nobody reads them any more, and gives how many were handed over at least in part.
fn feed(mut input: ChildStdin, from: u64, stop: &AtomicBool) -> u64 {
    let mut next = from;
    loop {
        let lines: String = (next..next + AT_ONCE).map(line).collect();
        next += AT_ONCE;
        if stop.load(Ordering::Relaxed) || input.write_all(lines.as_bytes()).is_err() {
            return next;
        }
    }
}

#[cfg(unix)]
#[test]
fn what_was_acknowledged_is_there_after_the_program_was_killed() {
    let folder = Folder::new();
    let seed = u64::from(std::process::id());
    println!("moments depend on {seed}");
    let mut next = 1;
    // Of each event that was acknowledged: where it stands.
    let mut acknowledged: HashMap<u64, (String, u64)> = HashMap::new();
    for round in 1..=ROUNDS {
        let first = next;
        let mut child: Child = folder.start(folder.command(&["import", "-", "--receipts"]).stdin(Stdio::piped()));
        let (input, output) = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        let stop = Arc::new(AtomicBool::new(false));
        let feeder = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || feed(input, first, &stop)
        });
        let (sender, receipts) = mpsc::channel();
        let listener = std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                // The last line may be cut off.
                receipt(&text).into_iter().for_each(|receipt| sender.send(receipt).expect("the test listens"));
            }
        });
        let mut heard = vec![receipts.recv_timeout(Duration::from_secs(60)).expect("something is acknowledged")];
        std::thread::sleep(Duration::from_millis(seed.wrapping_mul(round).wrapping_mul(0x9e37_79b9) % 150));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        stop.store(true, Ordering::Relaxed);
        next = feeder.join().expect("it ends");
        listener.join().expect("it ends");
        heard.extend(receipts.try_iter());
        for (stream, [line, last_line], [version, last_version], _) in heard {
            assert_eq!(last_line - line, last_version - version, "a receipt of {stream} makes no sense");
            for (line, version) in (line..=last_line).zip(version..) {
                acknowledged.insert(first + line - 1, (stream.clone(), version));
            }
        }
        let mut found = HashMap::new();
        for event in folder.json(&["log"]) {
            let number = event["data"]["number"].as_u64().expect("each has a number");
            let stands = (event["stream"].as_str().expect("text").to_owned(), event["version"].as_u64().expect("a number"));
            assert_eq!(found.insert(number, stands), None, "event {number} is there twice after round {round}");
        }
        for (number, stands) in &acknowledged {
            assert_eq!(found.get(number), Some(stands), "event {number} was acknowledged and is not as it was after round {round}");
        }
        let last = found.keys().max().copied().unwrap_or(0);
        assert!(last < next, "event {last} was never sent");
    }
    println!("{} events were acknowledged in {ROUNDS} rounds", acknowledged.len());
    assert!(acknowledged.len() as u64 > ROUNDS * 100, "hardly anything was under way");
    folder.run(&["verify"]).succeeded();
}

#[test]
fn receipts_say_where_each_line_stands() {
    let folder = Folder::new();
    let lines = [line(1), line(STREAMS + 1), line(2), "\n".to_owned(), line(3 * STREAMS + 1)].concat();
    let said = |ran: &Ran| -> Vec<_> { ran.succeeded().out.lines().filter_map(receipt).collect() };
    let first = said(&folder.run_with(&["import", "-", "--receipts"], &lines));
    let expected = [
        ("Order-1".to_owned(), [1, 2], [1, 2], [1, 2]),
        ("Order-2".to_owned(), [3, 3], [1, 1], [3, 3]),
        ("Order-1".to_owned(), [5, 5], [3, 3], [4, 4]),
    ];
    assert_eq!(first, expected);
    let again = folder.run_with(&["import", "-", "--receipts"], &lines);
    assert_eq!(again.succeeded().out.matches("\"duplicate\":true").count(), 3);
    assert_eq!(said(&again), expected);
}

#[test]
fn what_has_come_is_recorded_while_the_input_is_quiet() {
    let folder = Folder::new();
    let mut child = folder.start(folder.command(&["import", "-", "--receipts"]).stdin(Stdio::piped()));
    let mut input = child.stdin.take().expect("it is piped");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for number in 1..=3 {
        input.write_all(line(number).as_bytes()).expect("it is read");
        let text = output.next().expect("a receipt comes before the next line").expect("text");
        assert_eq!(receipt(&text).expect("a receipt").1, [number, number]);
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}
