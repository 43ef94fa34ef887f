//! Under which conditions the figures came about; without them they say little.

use std::path::Path;

use factum::Capabilities;

use crate::Outcome;
use crate::sample::PAYLOAD_BYTES;
use crate::workbench::Workbench;

pub(crate) fn look(workbench: &Workbench) -> Outcome<Vec<(&'static str, String)>> {
    let store = workbench.open("look")?;
    let Capabilities { store: kind, durability, .. } = store.capabilities();
    workbench.runtime.block_on(store.close())?;
    let mut conditions = of_store(kind, durability);
    conditions.push(("file system", file_system(workbench.folder()).unwrap_or_else(|| "unknown".to_owned())));
    Ok(conditions)
}

/// The conditions under which a store is measured that says this of itself.
pub(crate) fn of_store(kind: &str, durability: &str) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let system = rustix::system::uname();
    vec![
        ("store", kind.to_owned()),
        ("durability", durability.to_owned()),
        ("events", format!("{PAYLOAD_BYTES} bytes of JSON each, no metadata, no tags, unless a row says otherwise")),
        ("machine", format!("{cores} cores of {}, load generator on the same; {} of memory", processor(), memory())),
        ("load", load()),
        ("system", format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy())),
        ("build", if cfg!(debug_assertions) { "not optimised: the figures mean nothing".to_owned() } else { "release".to_owned() }),
    ]
}

fn processor() -> String {
    value("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned())
}

fn memory() -> String {
    let kilobytes = value("/proc/meminfo", "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or_else(|| "an unknown amount".to_owned(), |kilobytes| format!("{:.0} GB", kilobytes * 1_024.0 / 1e9))
}

/// What else ran on the machine in the last minute.
fn load() -> String {
    let average = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    match average {
        None => "unknown".to_owned(),
        Some(average) if average < 0.7 => "nothing else is running".to_owned(),
        Some(average) => format!("{average} programs were running besides: trust no figure that is short"),
    }
}

/// The value of the first line `key: value`.
fn value(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.split_once(':').filter(|(found, _)| found.trim() == key))?;
    Some(line.1.trim().to_owned())
}

/// The kind of the file system with the longest mount point above the folder.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|fields| fields.len() > 2 && folder.starts_with(fields[1]));
    above.max_by_key(|fields| fields[1].len()).map(|fields| fields[2].to_owned())
}
