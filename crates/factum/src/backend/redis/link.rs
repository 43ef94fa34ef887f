//! A connection to a partition's server that is made anew when it is lost.
//!
//! What was certainly not carried out is sent again for a while: a server that starts, a slot that moves, a master that is replaced. What
//! may have been carried out is only sent again if that does no harm.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::Mutex;

use super::error::Failure;
use super::servers::Servers;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Whether commands may be carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// They only read, or doing them again changes nothing.
    Harmless,
    /// The caller decides.
    Never,
}

/// What must be heard from replicas before an answer counts.
#[derive(Clone, Debug)]
pub(super) struct Confirmation {
    pub(super) replicas: u32,
    /// A key of the partition that can be written to.
    pub(super) key: String,
}

/// A connection to the server of one key.
#[derive(Debug)]
pub(super) struct Link {
    servers: Arc<Servers>,
    key: String,
    confirmation: Option<Confirmation>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    connection: Option<MultiplexedConnection>,
    /// Which of the connections it is, so that only the one that failed is given up.
    number: u64,
}

impl Link {
    pub(super) fn new(servers: Arc<Servers>, key: &str, confirmation: Option<Confirmation>) -> Self {
        Self { servers, key: key.to_owned(), confirmation, held: Mutex::default() }
    }

    /// One command.
    pub(super) async fn command(&self, cmd: Cmd, repeat: Repeat) -> Result<Value> {
        self.commands(vec![cmd], repeat).await.pop().expect("each command has an answer")
    }

    /// Several commands in one round trip. They are independent: any may fail.
    pub(super) async fn commands(&self, commands: Vec<Cmd>, repeat: Repeat) -> Vec<Result<Value>> {
        let deadline = Instant::now() + self.servers.timeout();
        let mut answers: Vec<Option<Result<Value>>> = (0..commands.len()).map(|_| None).collect();
        let mut pending: Vec<usize> = (0..commands.len()).collect();
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        let mut pause = Duration::from_millis(2);
        loop {
            let mut again = Vec::new();
            let may_repeat = Instant::now() < deadline;
            let found = self.once(&mut pipeline, pending.len()).await;
            for (place, (index, answer)) in pending.iter().zip(found).enumerate() {
                match answer {
                    Err(Failure::NotNow(_) | Failure::NoLibrary) if may_repeat => again.push((place, *index)),
                    Err(Failure::Unknown(..)) if may_repeat && repeat == Repeat::Harmless => again.push((place, *index)),
                    // Nobody recorded anything: a reader is told that it could not be read.
                    Err(Failure::Unknown(reason, source)) if repeat == Repeat::Harmless => {
                        answers[*index] = Some(Err(Error::Unavailable { reason, source }));
                    }
                    Err(failure) => answers[*index] = Some(Err(failure.into_error())),
                    Ok(value) => answers[*index] = Some(Ok(value)),
                }
            }
            if again.is_empty() {
                return answers.into_iter().map(|answer| answer.expect("what is not pending is answered")).collect();
            }
            let kept: Vec<&Cmd> = pipeline.cmd_iter().collect();
            let mut rest = Pipeline::with_capacity(again.len());
            for (place, _) in &again {
                rest.add_command(kept[*place].clone());
            }
            pipeline = rest;
            pending = again.into_iter().map(|(_, index)| index).collect();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Sends the first `count` commands once.
    async fn once(&self, pipeline: &mut Pipeline, count: usize) -> Vec<Result<Value, Failure>> {
        let (mut connection, number) = match self.connection().await {
            Ok(connection) => connection,
            Err(Failure::NotNow(reason)) => return (0..count).map(|_| Err(Failure::NotNow(reason.clone()))).collect(),
            Err(other) => {
                let reason = other.into_error().to_string();
                return (0..count).map(|_| Err(Failure::NotNow(reason.clone()))).collect();
            }
        };
        let mut sent = count;
        if let Some(confirmation) = &self.confirmation {
            // A repeat writes nothing, and what it is told of may not be confirmed yet: so there is always something to wait for.
            pipeline.add_command(cmd_of(&["HSET", &confirmation.key, "confirmed", "1"]));
            let timeout = self.servers.timeout().as_millis().to_string();
            pipeline.add_command(cmd_of(&["WAIT", &confirmation.replicas.to_string(), &timeout]));
            sent += 2;
        }
        let mut values = match connection.send_packed_commands(pipeline, 0, sent).await {
            Ok(values) => values,
            Err(error) => {
                self.give_up(number).await;
                let reason = error.to_string();
                let mut first = Some(Failure::of_silence(error));
                return (0..count).map(|_| Err(first.take().unwrap_or_else(|| Failure::Unknown(reason.clone(), None)))).collect();
            }
        };
        let unconfirmed = self.confirmation.as_ref().and_then(|confirmation| unconfirmed(confirmation, values.last()));
        values.truncate(count);
        let mut answers: Vec<Result<Value, Failure>> = Vec::with_capacity(count);
        for value in values {
            answers.push(match (value, &unconfirmed) {
                (Value::ServerError(error), _) => Err(Failure::of_answer(&error)),
                (_, Some(reason)) => Err(Failure::Unknown(reason.clone(), None)),
                (value, None) => Ok(value),
            });
        }
        self.mend(&answers, connection, number).await;
        answers
    }

    /// Does what the answers ask for before the next attempt.
    async fn mend(&self, answers: &[Result<Value, Failure>], mut connection: MultiplexedConnection, number: u64) {
        if answers.iter().any(|answer| matches!(answer, Err(Failure::NoLibrary))) {
            // Whether it worked, the next attempt will tell.
            _ = self.servers.load(&mut connection).await;
        }
        if answers.iter().any(|answer| matches!(answer, Err(Failure::NotNow(_)))) {
            self.give_up(number).await;
        }
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Failure> {
        let mut held = self.held.lock().await;
        if let Some(connection) = &held.connection {
            return Ok((connection.clone(), held.number));
        }
        // Waiting for replicas comes on top of waiting for the answer.
        let answer_within = self.servers.timeout() * if self.confirmation.is_some() { 2 } else { 1 };
        let connection = self.servers.connect(&self.key, answer_within).await?;
        held.number += 1;
        held.connection = Some(connection.clone());
        Ok((connection, held.number))
    }

    async fn give_up(&self, number: u64) {
        let mut held = self.held.lock().await;
        if held.number == number {
            held.connection = None;
        }
    }

    /// Lets go of the connection.
    pub(super) async fn close(&self) {
        self.held.lock().await.connection = None;
    }
}

fn unconfirmed(confirmation: &Confirmation, answer: Option<&Value>) -> Option<String> {
    let asked = confirmation.replicas;
    match answer {
        Some(Value::Int(have)) if *have >= i64::from(asked) => None,
        Some(Value::Int(have)) => Some(format!("recorded, but only {have} of {asked} replicas said in time that they have it")),
        _ => Some("the server did not say how many replicas have it".to_owned()),
    }
}

fn cmd_of(words: &[&str]) -> Cmd {
    let mut cmd = redis::cmd(words[0]);
    for word in &words[1..] {
        cmd.arg(*word);
    }
    cmd
}
