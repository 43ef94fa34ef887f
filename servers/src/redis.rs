//! A Redis server, or one that speaks like it: in a temporary folder, its log synced before each answer unless asked otherwise.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Authority, free_port};

/// How long a server may take to start on a machine that has much else to do.
const START_MAX: Duration = Duration::from_secs(30);

/// A running `redis-server`; dropping it stops it and deletes its files.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    process: Option<Child>,
}

impl RedisServer {
    /// The program, if this machine has it: the one that `FACTUM_REDIS_SERVER` names, or the first on the path.
    pub fn program() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("FACTUM_REDIS_SERVER") {
            return Some(named.into());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs = ["redis-server", "valkey-server"];
        std::env::split_paths(&path).flat_map(|folder| programs.map(|name| folder.join(name))).find(|program| program.is_file())
    }

    /// Why none can be started here, and what to do about it; nothing if one can.
    pub fn missing() -> Option<&'static str> {
        Self::program().is_none().then_some("redis-server is not installed; `cargo xtask test` installs it")
    }

    /// Starts a server that syncs its log before each answer.
    ///
    /// # Errors
    /// If there is no server on this machine, or it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with other settings besides, by their names in `redis.conf`.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> io::Result<Self> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in [("appendonly", "yes"), ("appendfsync", "always"), ("save", "")].iter().chain(settings) {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let mut failure = None;
        // Somebody else may take the port first.
        for _ in 0..5 {
            let mut server = Self { folder: TempDir::new()?, port: free_port()?, settings: all.clone(), process: None };
            match server.restart() {
                Ok(()) => return Ok(server),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::Error::other("no port is free")))
    }

    /// Starts a server that speaks TLS too, on the port that is given back, with a certificate of this authority.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_with_tls(authority: &Authority) -> io::Result<(Self, u16)> {
        Self::start_with_tls_and(authority, &[])
    }

    /// The same with other settings besides.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_with_tls_and(authority: &Authority, settings: &[(&str, &str)]) -> io::Result<(Self, u16)> {
        let file = |path: PathBuf| path.display().to_string();
        let (own, key, authority) = (file(authority.server_certificate()), file(authority.server_key()), file(authority.certificate()));
        let port = free_port()?;
        let tls = [("tls-cert-file", own.as_str()), ("tls-key-file", &key), ("tls-ca-cert-file", &authority), ("tls-auth-clients", "no")];
        let at = port.to_string();
        let all: Vec<_> = tls.into_iter().chain([("tls-port", at.as_str())]).chain(settings.iter().copied()).collect();
        Ok((Self::start_with(&all)?, port))
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            _ = process.kill();
            _ = process.wait();
        }
    }

    /// Starts it again, on its port and files.
    ///
    /// # Errors
    /// If it does not answer in time; its last words are in the error.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        let program = Self::program().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "redis-server is not installed"))?;
        let log = std::fs::File::create(self.folder.path().join("server.log"))?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--daemonize", "no"]);
        command.arg("--dir").arg(self.folder.path());
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn()?);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            if self.ask(&["PING"]).is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH")) {
                return Ok(());
            }
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended || begun.elapsed() > START_MAX {
                let words = std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
                return Err(io::Error::other(format!("redis-server on port {} does not start: {words}", self.port)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it from doing anything, without ending it; its connections stay.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
        }
    }

    /// Sends one command and gives the raw answer.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn ask(&self, words: &[&str]) -> io::Result<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        connection.write_all(request.as_bytes())?;
        let mut answer = vec![0; 1 << 16];
        let count = connection.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.resume();
        self.kill();
    }
}
