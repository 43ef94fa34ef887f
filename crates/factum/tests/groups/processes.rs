//! Consumers that are processes, for stores on servers: killed with SIGKILL, paused with SIGSTOP for longer than their lease.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::consumer::{Chance, LEASE};
use crate::history::Step;
use crate::{DISTURBANCES_MAX, Outcome, SEED, STORE, Said, in_runtime, judge, record, seed, wait_for_the_end};

const CONSUMERS: u64 = 4;

/// A trial for each store on a server that this build and this machine have.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    #[cfg(feature = "redis")]
    if factum_servers::RedisServer::program().is_some() {
        trials.push(Trial::test("redis::order_is_kept_when_processes_are_killed_and_paused", || {
            let server = factum_servers::RedisServer::start()?;
            in_runtime(order_is_kept("redis", format!("{}?durability=always", server.url())))
        }));
    }
    #[cfg(feature = "postgres")]
    if factum_servers::PostgresServer::programs().is_some() {
        trials.push(Trial::test("postgres::order_is_kept_when_processes_are_killed_and_paused", || {
            let server = factum_servers::PostgresServer::start()?;
            in_runtime(order_is_kept("postgres", format!("{}?create=true&connections_max=6", server.url())))
        }));
    }
    trials
}

/// A consumer that is a process.
struct Worker {
    process: Child,
    listener: JoinHandle<()>,
    paused: bool,
}

impl Worker {
    fn start(url: &str, said: &Said, number: u64, seed: u64) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(STORE, url).env(SEED, (seed + number * 7).to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut out = BufReader::new(process.stdout.take().ok_or("the child has an output")?);
        let said = said.clone();
        let listener = std::thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // The last line of a killed process may be cut off: then it was not said.
                said.lock().expect("no holder of this lock panics").extend(Step::parse(&number.to_string(), &line));
                line.clear();
            }
        });
        Ok(Self { process, listener, paused: false })
    }

    fn signal(&self, signal: &str) -> Outcome {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill {signal} failed: {status}").into()) }
    }

    fn wake(&mut self) -> Outcome {
        if std::mem::take(&mut self.paused) { self.signal("-CONT") } else { Ok(()) }
    }

    fn kill(mut self) -> Outcome {
        self.process.kill()?;
        self.process.wait()?;
        self.listener.join().map_err(|_| "a listener panicked".into())
    }

    /// Lets it leave in order.
    fn leave(mut self) -> Outcome {
        self.wake()?;
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        self.listener.join().map_err(|_| "a listener panicked")?;
        if status.success() { Ok(()) } else { Err(format!("a consumer failed: {status}").into()) }
    }
}

async fn order_is_kept(name: &str, url: String) -> Outcome {
    let seed = seed();
    let mut chance = Chance(seed);
    let store = factum::connect(&url).await?;
    let said = Said::default();
    let mut workers = Vec::new();
    for number in 0..CONSUMERS {
        workers.push(Worker::start(&url, &said, number, seed)?);
    }
    // The group is there as soon as the first of them has joined.
    crate::consumer::group(store.clone()).join().await?.stop().await?;
    let (mut started, mut disturbed) = (CONSUMERS, 0);
    let keys = {
        let finished = async {
            let keys = record(&store, &mut Chance(seed + 1)).await?;
            wait_for_the_end(&store).await?;
            Outcome::Ok(keys)
        };
        let mut finished = std::pin::pin!(finished);
        loop {
            tokio::select! {
                keys = &mut finished => break keys?,
                () = tokio::time::sleep(Duration::from_millis(80 + chance.below(300))), if disturbed < DISTURBANCES_MAX => {
                    disturb(&mut workers, &url, &said, &mut chance, &mut started, seed)?;
                    disturbed += 1;
                    if disturbed == DISTURBANCES_MAX {
                        workers.iter_mut().try_for_each(Worker::wake)?;
                    }
                }
            }
        }
    };
    for worker in workers {
        worker.leave()?;
    }
    judge(name, &said, &keys, seed, disturbed)?;
    Ok(store.close().await?)
}

/// Kills one and starts another, or pauses one for longer than its lease, or wakes one up.
fn disturb(workers: &mut Vec<Worker>, url: &str, said: &Said, chance: &mut Chance, started: &mut u64, seed: u64) -> Outcome {
    let at = usize::try_from(chance.below(workers.len() as u64))?;
    if workers[at].paused {
        workers[at].wake()?;
    } else if chance.below(2) == 0 {
        workers.swap_remove(at).kill()?;
        workers.push(Worker::start(url, said, *started, seed)?);
        *started += 1;
    } else {
        workers[at].signal("-STOP")?;
        workers[at].paused = true;
        // It may sleep for longer than this; shorter would prove less.
        let is_only = workers.iter().filter(|worker| !worker.paused).count() == 0;
        if is_only {
            std::thread::sleep(LEASE * 2);
            workers[at].wake()?;
        }
    }
    Ok(())
}
