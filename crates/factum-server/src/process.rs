//! What the system says of this process: memory, processor time, open files, and who it is.

/// The bytes in memory that are this process's own, files that it maps aside; 0 where the system does not say.
pub(crate) fn own_memory_bytes() -> u64 {
    status("RssAnon:")
}

/// The bytes in memory, with the files that it maps; 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    status("VmRSS:")
}

fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default();
    kib * 1024
}

/// The seconds that it has computed: its own, and the system's for it.
pub(crate) fn cpu_seconds() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before the closing parenthesis may have blanks in it. Clock ticks are hundredths wherever Linux runs today.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut times = rest.split_whitespace().skip(11).map(|ticks| ticks.parse().unwrap_or(0.0) / 100.0);
    (times.next().unwrap_or_default(), times.next().unwrap_or_default())
}

/// Lets this process open so many files, as far as the system allows, and says how many it may open then.
pub(crate) fn raise_open_files_to(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let raised = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised.max(current),
        Err(_) => current,
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What processes share whose numbers can be compared: the machine since it was started, and the space of numbers in it. Empty where the
/// system does not say.
pub(crate) fn surroundings() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    match (boot, std::fs::read_link("/proc/self/ns/pid")) {
        (Ok(boot), Ok(space)) => format!("{} {}", boot.trim(), space.display()),
        _ => String::new(),
    }
}

/// Whether there is a process with this number, in the same surroundings.
pub(crate) fn is_there(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    process.is_some_and(|process| rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH))
}
