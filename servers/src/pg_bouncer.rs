//! PgBouncer, a pooler in front of a PostgreSQL server: its clients share the server's sessions.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::other_user;
use crate::{PostgresServer, free_port};

/// How long it may take to start on a machine that has much else to do.
const START_MAX: Duration = Duration::from_secs(30);

/// A running `pgbouncer`; dropping it stops it and deletes its files.
#[derive(Debug)]
pub struct PgBouncer {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl PgBouncer {
    /// The program, if this machine has it.
    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
    }

    /// Why none can be started here, and what to do about it; nothing if one can.
    pub fn missing() -> Option<&'static str> {
        Self::program().is_none().then_some("pgbouncer is not installed; `cargo xtask test` installs it")
    }

    /// Starts one in front of a server, whose sessions are given to clients for a `session`, a `transaction` or a `statement`.
    ///
    /// # Errors
    /// If it is not on this machine, or does not start.
    pub fn start(server: &PostgresServer, mode: &str) -> io::Result<Self> {
        let program = Self::program().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "pgbouncer is not installed"))?;
        let folder = TempDir::new()?;
        let port = free_port()?;
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\n",
            server.port()
        );
        std::fs::write(&settings, text)?;
        let log = std::fs::File::create(folder.path().join("pgbouncer.log"))?;
        let mut command = Command::new(program);
        // It does not run as root.
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
            command.uid(user).gid(group);
        }
        let process = command.arg(&settings).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut pooler = Self { folder, port, process };
        pooler.wait_until_it_listens()?;
        Ok(pooler)
    }

    fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = !matches!(self.process.try_wait(), Ok(None));
            if ended || begun.elapsed() > START_MAX {
                let words = std::fs::read_to_string(self.folder.path().join("pgbouncer.log")).unwrap_or_default();
                return Err(io::Error::other(format!("pgbouncer on port {} does not start: {words}", self.port)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
