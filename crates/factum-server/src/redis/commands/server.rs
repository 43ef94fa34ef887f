//! The commands on the server that are short: TIME, WAIT, WAITAOF, MEMORY without a key, DEBUG.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::samples;
use super::table::Verb;
use crate::process;
use crate::redis::door::Door;
use crate::redis::resp::{Reply, Request, integer};

pub(super) fn time() -> Reply {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Reply::Array(vec![Reply::string(now.as_secs().to_string()), Reply::string(now.subsec_micros().to_string())])
}

/// What was answered is on disk, and there are no replicas to wait for.
pub(super) fn wait(request: &Request) -> Reply {
    if integer(&request[1]).is_none() {
        return Reply::error("ERR value is not an integer or out of range");
    }
    match integer(&request[2]) {
        None => Reply::error("ERR timeout is not an integer or out of range"),
        Some(..0) => Reply::error("ERR timeout is negative"),
        Some(0..) => Reply::Integer(0),
    }
}

/// What was answered is on this disk; there are no replicas whose disks could have it too.
pub(super) fn wait_for_disk(request: &Request) -> Reply {
    let Some(local) = integer(&request[1]) else { return Reply::error("ERR value is not an integer or out of range") };
    if !(0..=1).contains(&local) {
        return Reply::error("ERR value is out of range, value must between 0 and 1");
    }
    match integer(&request[2]) {
        None => return Reply::error("ERR value is not an integer or out of range"),
        Some(..0) => return Reply::error("ERR value is out of range, must be positive"),
        Some(0..) => {}
    }
    match integer(&request[3]) {
        None => Reply::error("ERR timeout is not an integer or out of range"),
        Some(..0) => Reply::error("ERR timeout is negative"),
        Some(0..) => Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]),
    }
}

/// MEMORY and its subcommands that concern no key.
pub(super) fn memory(verb: Verb) -> Reply {
    let bytes = |bytes: u64| Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX));
    match verb {
        Verb::MemoryPurge => Reply::OK,
        Verb::MemoryMallocStats => Reply::text("Stats not supported for the current allocator"),
        Verb::MemoryDoctor => {
            let megabytes = process::own_memory_bytes() as f64 / f64::from(1 << 20);
            let text = format!(
                "{megabytes:.1} MB are in use. What keys take is dropped and read again as needed, within the limit for the cache.\n"
            );
            Reply::Verbatim(text)
        }
        _ => Reply::Map(vec![
            (Reply::text("total.allocated"), bytes(process::own_memory_bytes())),
            (Reply::text("resident.bytes"), bytes(process::resident_bytes())),
        ]),
    }
}

/// DEBUG SLEEP: only this connection waits.
pub(super) async fn sleep(request: &Request) -> Reply {
    let seconds = request.get(2).and_then(|text| std::str::from_utf8(text).ok()?.parse::<f64>().ok()).unwrap_or_default();
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        tokio::time::sleep(time).await;
    }
    Reply::OK
}

/// What DEBUG does without data; `None` if it concerns data.
pub(super) fn debug(door: &Door, request: &Request) -> Option<Reply> {
    if !door.settings.allow_debug {
        return Some(Reply::error(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, \
             otherwise you need to set this option in the configuration file, and then restart the server.",
        ));
    }
    Some(match request[1].to_ascii_lowercase().as_slice() {
        // Keys expire at their time, and nothing is arranged otherwise.
        b"set-active-expire" | b"quicklist-packed-threshold" if request.len() == 3 => Reply::OK,
        b"change-repl-id" if request.len() == 2 => Reply::OK,
        b"protocol" if request.len() == 3 => samples::of_type(&request[2]),
        b"log" if request.len() == 3 => Reply::OK,
        b"error" if request.len() == 3 => Reply::ErrorBytes(request.bytes(2)),
        // These concern data, or take their time.
        b"object" if request.len() >= 3 => return None,
        b"sleep" if request.len() == 3 => return None,
        // All that is known is dropped, and read from the store again.
        b"reload" if request.len() > 2 => Reply::error("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."),
        b"reload" | b"loadaof" => return None,
        b"stringmatch-len" if request.len() == 4 => Reply::Integer(0),
        _ => {
            let text = [b"ERR unknown subcommand or wrong number of arguments for '", &request[1], b"'. Try DEBUG HELP."].concat();
            Reply::ErrorBytes(text.into())
        }
    })
}
