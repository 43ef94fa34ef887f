//! The two servers that are compared: how each is started, killed, weighed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use factum_servers::RedisServer;
use tempfile::TempDir;

use crate::Outcome;

/// A server that speaks the protocol of Redis.
pub(super) enum Peer {
    Factum { folder: TempDir, process: Child, port: u16 },
    Redis(RedisServer),
}

impl Peer {
    pub(super) fn factum(dir: Option<&Path>) -> Outcome<Self> {
        // Beside the program, which is not in memory as a folder for temporary files may be.
        let beside = program()?.parent().ok_or("a program lies in a folder")?.to_owned();
        let folder = TempDir::new_in(dir.unwrap_or(&beside))?;
        let (process, port) = launch(folder.path())?;
        Ok(Self::Factum { folder, process, port })
    }

    pub(super) fn redis(appendfsync: &str) -> Outcome<Self> {
        Ok(Self::Redis(RedisServer::start_with(&[("appendfsync", appendfsync)])?))
    }

    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Factum { port, .. } => *port,
            Self::Redis(server) => server.port(),
        }
    }

    pub(super) fn kill(&mut self) {
        match self {
            Self::Factum { process, .. } => {
                _ = process.kill();
                _ = process.wait();
            }
            Self::Redis(server) => server.kill(),
        }
    }

    /// Starts it again after it was killed; it answers when this returns.
    pub(super) fn restart(&mut self) -> Outcome {
        match self {
            Self::Factum { folder, process, port } => (*process, *port) = launch(folder.path())?,
            Self::Redis(server) => server.restart()?,
        }
        Ok(())
    }

    /// Its memory, files that it maps aside.
    pub(super) fn own_memory_bytes(&self) -> Outcome<u64> {
        let process = match self {
            Self::Factum { process, .. } => process.id().to_string(),
            Self::Redis(server) => {
                let info = server.ask(&["INFO", "server"])?;
                info.lines().find_map(|line| line.strip_prefix("process_id:")).ok_or("INFO has no process_id")?.trim().to_owned()
            }
        };
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("the status has no RssAnon")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }

    /// What its files take.
    pub(super) fn disk_bytes(&self) -> Outcome<u64> {
        match self {
            Self::Factum { folder, .. } => taken(folder.path()),
            Self::Redis(server) => taken(server.folder()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Self::Factum { .. } = self {
            self.kill();
        }
    }
}

/// The binary that was built with the benchmarks.
fn program() -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("factum"))
}

fn launch(folder: &Path) -> Outcome<(Child, u16)> {
    let mut command = Command::new(program()?);
    command.args(["serve", "--json", "--redis", "127.0.0.1:0", "--http", "none", "--store"]);
    command.arg(format!("file:{}", folder.join("store").display()));
    let mut process = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(process.stdout.take().ok_or("it is piped")?).read_line(&mut line)?;
    let said: serde_json::Value = serde_json::from_str(&line)?;
    let address: SocketAddr = said["redis"].as_str().ok_or("it does not say where it listens")?.parse()?;
    Ok((process, address.port()))
}

fn taken(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { taken(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
