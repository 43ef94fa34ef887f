//! What the tests need besides Rust, and how it is installed where it is missing: always said aloud.

use std::path::Path;
use std::process::Command;

use crate::run::{self, Outcome};

/// A program that the tests start, the Debian package that has it, and what it is for.
struct Need {
    command: &'static str,
    package: &'static str,
    purpose: &'static str,
    /// A service that the package starts for the whole machine, which nobody asked for.
    service: Option<&'static str>,
}

const NEEDS: &[Need] = &[
    Need { command: "cc", package: "gcc", purpose: "compiles the SQLite that the benchmarks compare with", service: None },
    Need { command: "c++", package: "g++", purpose: "compiles the fuzzer", service: None },
    Need {
        command: "pg_ctlcluster",
        package: "postgresql",
        purpose: "brings the PostgreSQL that the store in it is tested with",
        service: Some("postgresql"),
    },
    Need {
        command: "pgbouncer",
        package: "pgbouncer",
        purpose: "stands before PostgreSQL in tests of poolers",
        service: Some("pgbouncer"),
    },
    Need {
        command: "redis-server",
        package: "redis-server",
        purpose: "is what the store on Redis is tested with",
        service: Some("redis-server"),
    },
    Need {
        command: "openssl",
        package: "openssl",
        purpose: "makes the certificates that encrypted connections are tested with",
        service: None,
    },
    Need { command: "redis-cli", package: "redis-tools", purpose: "is a client of the Redis door, as is redis-benchmark", service: None },
    Need { command: "node", package: "nodejs", purpose: "runs ioredis, a client of the Redis door", service: None },
    Need { command: "npm", package: "npm", purpose: "brings ioredis", service: None },
    Need { command: "python3", package: "python3-venv", purpose: "runs redis-py, a client of the Redis door", service: None },
];

/// The versions of the clients that the Redis door is tested with.
const REDIS_PY: &str = "redis==8.1.0";
const IOREDIS: &str = "ioredis@6.0.0";
/// Go, and go-redis in the version that Debian packages, with where that is put.
const GO: [&str; 2] = ["golang-go", "golang-gopkg-redis.v5-dev"];
const GO_REDIS: &str = "/usr/share/gocode/src/gopkg.in/redis.v5";

/// Installs what is missing.
pub(crate) fn install() -> Outcome {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !is_installed(need.command)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Need { command, package, purpose, .. } in &missing {
        println!("{command} is missing, which {purpose}: installing the package {package}");
    }
    if !is_installed("apt-get") {
        let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
        return Err(format!("this system has no apt-get; install {} in its own way", packages.join(" and ")));
    }
    run::run(as_administrator("apt-get").args(["update", "--quiet"]))?;
    run::run(as_administrator("apt-get").args(["install", "--yes", "--quiet"]).args(missing.iter().map(|need| need.package)))?;
    missing.iter().filter_map(|need| need.service).try_for_each(stop)
}

/// Installs the clients of other languages beside what is built, where nobody else meets them. The tests look for them there.
pub(crate) fn install_clients() -> Outcome {
    let folder = run::target_dir()?.join("clients");
    let python = folder.join("python");
    if !is_complete(&python, REDIS_PY) {
        println!("installing {REDIS_PY} in {}", python.display());
        // The system's own, whose package brings what makes such folders.
        let program = ["/usr/bin/python3", "python3"].into_iter().find(|program| makes_folders(program));
        let program = match program {
            Some(program) => program,
            None => {
                run::run(as_administrator("apt-get").args(["update", "--quiet"]))?;
                run::run(as_administrator("apt-get").args(["install", "--yes", "--quiet", "python3-venv"]))?;
                "/usr/bin/python3"
            }
        };
        run::run(Command::new(program).args(["-m", "venv", "--clear"]).arg(&python))?;
        run::run(Command::new(python.join("bin/python")).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            REDIS_PY,
        ]))?;
        complete(&python, REDIS_PY)?;
    }
    let node = folder.join("node");
    if !is_complete(&node, IOREDIS) {
        println!("installing {IOREDIS} in {}", node.display());
        std::fs::create_dir_all(&node).map_err(|error| format!("{} can't be made: {error}", node.display()))?;
        run::run(Command::new("npm").current_dir(&node).args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            ".",
            IOREDIS,
        ]))?;
        complete(&node, IOREDIS)?;
    }
    if !is_installed("go") || !Path::new(GO_REDIS).is_dir() {
        println!("installing go-redis, a client of the Redis door, and Go: the packages {}", GO.join(" and "));
        if let Err(error) = install_go() {
            // Its test is passed over then, but not in CI.
            println!("go-redis could not be installed: {error}");
        }
    }
    Ok(())
}

fn install_go() -> Outcome {
    run::run(as_administrator("apt-get").args(["update", "--quiet"]))?;
    run::run(as_administrator("apt-get").args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(GO))
}

fn makes_folders(program: &str) -> bool {
    let asked = Command::new(program).args(["-c", "import venv, ensurepip"]).output();
    asked.is_ok_and(|output| output.status.success())
}

/// A note in the folder says what was installed there, once all of it was.
fn is_complete(folder: &Path, version: &str) -> bool {
    std::fs::read_to_string(folder.join("installed")).is_ok_and(|installed| installed == version)
}

fn complete(folder: &Path, version: &str) -> Outcome {
    std::fs::write(folder.join("installed"), version).map_err(|error| format!("{} can't be written to: {error}", folder.display()))
}

/// Stops a service that installing a package has started; the tests start their own.
fn stop(service: &str) -> Outcome {
    // Where there is no systemd nothing was started.
    if !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    println!("stopping the service {service} that came with its package; the tests start servers of their own");
    run::run(as_administrator("systemctl").args(["disable", "--now", service]))
}

fn is_installed(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

fn as_administrator(program: &str) -> Command {
    let is_administrator = std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    if is_administrator || !Path::new("/usr/bin/sudo").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_noticed() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
