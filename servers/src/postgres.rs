//! A PostgreSQL server: a cluster of its own in a temporary folder, set up as it is installed.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Authority, free_port};

/// How long a server may take to start or stop on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running PostgreSQL server; dropping it stops it and deletes its files. Everybody is let in as `postgres`.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Child>,
}

impl PostgresServer {
    /// The folder of the programs: the one that `FACTUM_POSTGRES_PROGRAMS` names, or that of the newest version that this machine has.
    pub fn programs() -> Option<PathBuf> {
        let has_all = |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
        if let Some(named) = std::env::var_os("FACTUM_POSTGRES_PROGRAMS") {
            return Some(named.into());
        }
        let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
        let version = |folder: &PathBuf| {
            let version = folder.parent().and_then(Path::file_name).map(OsStr::to_string_lossy);
            version.and_then(|version| version.parse::<f64>().ok()).unwrap_or_default()
        };
        let newest = installed.filter(has_all).max_by(|one, other| version(one).total_cmp(&version(other)));
        let path = std::env::var_os("PATH").unwrap_or_default();
        newest.or_else(|| std::env::split_paths(&path).find(has_all))
    }

    /// Why none can be started here, and what to do about it; nothing if one can.
    pub fn missing() -> Option<&'static str> {
        Self::programs().is_none().then_some("PostgreSQL is not installed; `cargo xtask test` installs it")
    }

    /// Starts a server with an empty cluster.
    ///
    /// # Errors
    /// If there is no server on this machine, or it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with other settings, such as `fsync=off`.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with(settings: &[&str]) -> io::Result<Self> {
        let mut server = Self::new(settings)?;
        server.initialise()?;
        server.begin()?;
        Ok(server)
    }

    /// Starts a server that speaks TLS too, with a certificate of this authority.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with_tls(authority: &Authority) -> io::Result<Self> {
        let mut server = Self::new(&[])?;
        for (name, file) in [("server.crt", authority.server_certificate()), ("server.key", authority.server_key())] {
            let copy = server.folder.path().join(name);
            std::fs::copy(file, &copy)?;
            // The server takes only a key that nobody else can read.
            std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            if let Some((user, group)) = other_user() {
                std::os::unix::fs::chown(&copy, Some(user), Some(group))?;
            }
        }
        let file = |name: &str| server.folder.path().join(name).display().to_string();
        let (certificate, key) = (file("server.crt"), file("server.key"));
        server.settings = vec!["ssl=on".to_owned(), format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")];
        server.initialise()?;
        server.begin()?;
        Ok(server)
    }

    /// Starts a hot standby of this server, which follows it and only reads.
    ///
    /// # Errors
    /// If it can't be copied, or does not start.
    pub fn standby(&self) -> io::Result<Self> {
        let mut standby = Self::new(&[])?;
        let (data, port) = (standby.data(), self.port.to_string());
        let arguments = ["--host=127.0.0.1", "--username=postgres", "--write-recovery-conf", "--checkpoint=fast", "--port", &port, "-D"];
        standby.run("pg_basebackup", arguments.iter().map(OsStr::new).chain([data.as_os_str()]))?;
        standby.begin()?;
        Ok(standby)
    }

    /// Stops it for good, and starts a server with an empty cluster in its place, on the same port.
    ///
    /// # Errors
    /// If that does not start.
    pub fn replace(mut self) -> io::Result<Self> {
        self.stop();
        let mut other = Self::new(&[])?;
        other.port = self.port;
        other.initialise()?;
        other.restart()?;
        Ok(other)
    }

    fn initialise(&self) -> io::Result<()> {
        let data = self.data();
        let arguments = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"];
        self.run("initdb", arguments.iter().map(OsStr::new).chain([OsStr::new("-D"), data.as_os_str()]))?;
        Ok(())
    }

    fn new(settings: &[&str]) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "PostgreSQL is not installed");
        let programs = Self::programs().ok_or_else(missing)?;
        let folder = TempDir::new()?;
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Ok(Self { programs, folder, port: free_port()?, settings, process: None })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it for the first time; somebody else may take the port first.
    fn begin(&mut self) -> io::Result<()> {
        let mut outcome = self.restart();
        for _ in 0..4 {
            if outcome.is_ok() {
                break;
            }
            self.port = free_port()?;
            outcome = self.restart();
        }
        outcome
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of one of its databases.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements in a database, and gives what they print: a line a row, columns between `|`.
    ///
    /// # Errors
    /// If one of them fails.
    pub fn sql(&self, database: &str, statements: &str) -> io::Result<String> {
        let address = self.address(database);
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).args(address).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().expect("it was piped").write_all(statements.as_bytes())?;
        printed("psql", child.wait_with_output()?)
    }

    /// One of its databases as statements that make it anew.
    ///
    /// # Errors
    /// If it can't be dumped.
    pub fn dump(&self, database: &str) -> io::Result<String> {
        printed("pg_dump", self.command("pg_dump").args(self.address(database)).output()?)
    }

    fn address(&self, database: &str) -> [String; 7] {
        let port = self.port.to_string();
        ["-h", "127.0.0.1", "-U", "postgres", "-p", &port, database].map(str::to_owned)
    }

    /// Stops it in order, ending all connections, and starts it again on its port and files.
    ///
    /// # Errors
    /// If it does not answer in time; its last words are in the error.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let log = std::fs::File::create(self.folder.path().join("server.log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let own = [format!("port={}", self.port), "listen_addresses=127.0.0.1".to_owned(), "unix_socket_directories=".to_owned()];
        for setting in own.iter().chain(&self.settings) {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn()?);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            if self.sql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended || begun.elapsed() > PATIENCE {
                let words = std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
                return Err(io::Error::other(format!("PostgreSQL on port {} does not start: {words}", self.port)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it in order, ending all connections.
    pub fn stop(&mut self) {
        self.end("-INT");
    }

    /// Ends it at once, as a crash does: it recovers when it is started again.
    pub fn kill(&mut self) {
        self.end("-QUIT");
    }

    fn end(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        // It may have ended by itself.
        _ = Command::new("kill").args([signal, &process.id().to_string()]).stderr(Stdio::null()).status();
        let begun = Instant::now();
        while matches!(process.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                _ = process.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One of the programs, as the user who owns the cluster: the server does not run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        command
    }

    fn run<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> io::Result<String> {
        printed(program, self.command(program).args(arguments).output()?)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn printed(program: &str, output: Output) -> io::Result<String> {
    if !output.status.success() {
        return Err(io::Error::other(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The user and group to be instead of root; `None` if this process is not root's.
pub(crate) fn other_user() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    let users = is_root.then(|| std::fs::read_to_string("/etc/passwd").ok()).flatten()?;
    let of = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?.skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}
