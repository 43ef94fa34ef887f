//! A certificate authority of its own, for servers that speak TLS: made anew each time, by `openssl`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// An authority, and the certificate that it gave to the servers of this machine: `127.0.0.1` and `localhost`.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Makes both.
    ///
    /// # Errors
    /// If `openssl` is missing, or fails.
    pub fn new() -> io::Result<Self> {
        let authority = Self { folder: TempDir::new()? };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
        let own = ["-out", "ca.crt", "-subj", "/CN=an authority for tests", "-days", "2", "-addext", "keyUsage=keyCertSign"];
        authority.openssl(["req", "-x509"].iter().chain(&key).chain(&["ca.key"]).chain(&own))?;
        let asked = ["-out", "server.csr", "-subj", "/CN=localhost"];
        authority.openssl(["req"].iter().chain(&key).chain(&["server.key"]).chain(&asked))?;
        std::fs::write(authority.path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost")?;
        let signed = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt";
        authority.openssl(signed.split(' '))?;
        Ok(authority)
    }

    /// The authority's own certificate: who has it can tell a server that it vouches for.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The certificate that it gave to servers.
    pub fn server_certificate(&self) -> PathBuf {
        self.path("server.crt")
    }

    /// The key of that.
    pub fn server_key(&self) -> PathBuf {
        self.path("server.key")
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    fn openssl(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<()> {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("openssl failed: {}", String::from_utf8_lossy(&output.stderr))))
    }
}
