//! A check: a rule that every store keeps, and the play that finds out whether one does.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::stage::Stage;
use super::subject::Subject;
use crate::{Capabilities, Error, Idempotency, Support};

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Check {
    /// The rule it guards, such as `append_with_stale_version_changes_nothing`.
    pub name: &'static str,
    /// The rule in a sentence.
    pub rule: &'static str,
    /// What a store must be able to do for the rule to concern it.
    pub needs: &'static [Need],
    pub(super) module: &'static str,
    pub(super) play: fn(Stage) -> BoxFuture<'static, Verdict>,
}

/// What a check needs a store to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Appends over several streams.
    MultiStreamAppend,
    /// Appends that write records too.
    RecordsInAppend,
    /// Appends under a condition.
    Conditions,
    /// Repeated appends are recognised for ever.
    EndlessIdempotency,
    /// Positions without gaps.
    ContiguousPositions,
    /// `recorded_at` never goes back in the whole log.
    MonotonicLogTime,
    /// `truncate_before`.
    Truncate,
    /// Events outlive the process.
    Persistent,
    /// There is a part of the contract that the store says it can't do.
    SomethingUnsupported,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store keeps the rule.
    Passed,
    /// The rule does not concern the store.
    Skipped {
        /// Why, in the store's words.
        reason: String,
    },
    /// The store breaks the rule.
    Failed {
        /// What it did, and what it should have done.
        message: String,
    },
}

/// Plays a check against a store, on the tokio runtime it is called on.
pub async fn run(check: &Check, subject: &Arc<dyn Subject>) -> Outcome {
    run_with_patience(check, subject, Duration::from_secs(20)).await
}

/// The same, waiting so long at most for one thing that must happen.
pub(super) async fn run_with_patience(check: &Check, subject: &Arc<dyn Subject>, patience: Duration) -> Outcome {
    let stage = match Stage::set(subject.clone(), patience).await {
        Ok(stage) => stage,
        Err(error) => return Outcome::Failed { message: format!("the store can't be opened: {error}") },
    };
    let capabilities = stage.store.capabilities();
    let place = stage.place.clone();
    let outcome = match check.needs.iter().find_map(|need| need.missing_in(&capabilities)) {
        Some(reason) => Outcome::Skipped { reason: reason.to_owned() },
        None => played(tokio::time::timeout(patience * 6, tokio::spawn((check.play)(stage))).await),
    };
    subject.discard(&place).await;
    outcome
}

type Played = Result<Result<Verdict, tokio::task::JoinError>, tokio::time::error::Elapsed>;

fn played(played: Played) -> Outcome {
    let message = match played {
        Ok(Ok(Ok(()))) => return Outcome::Passed,
        Ok(Ok(Err(failure))) => failure.0,
        Ok(Err(panic)) => format!("it panicked: {panic}"),
        Err(_elapsed) => "it did not come to an end".to_owned(),
    };
    Outcome::Failed { message }
}

impl Check {
    /// The part of the contract it belongs to, such as `appending`.
    pub fn area(&self) -> &'static str {
        self.module.rsplit("::").next().unwrap_or(self.module)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Need {
    /// The reason why a store with these capabilities can't be asked for it.
    fn missing_in(self, capabilities: &Capabilities) -> Option<&'static str> {
        let support = match self {
            Self::MultiStreamAppend => capabilities.multi_stream_append,
            Self::RecordsInAppend => capabilities.records_in_append,
            Self::Conditions => capabilities.conditions,
            Self::EndlessIdempotency => match capabilities.idempotency {
                Idempotency::Forever => Support::Yes,
                Idempotency::Window(window) => Support::No(window),
            },
            Self::ContiguousPositions => capabilities.contiguous_positions,
            Self::MonotonicLogTime => capabilities.monotonic_log_time,
            Self::Truncate => capabilities.truncate,
            Self::Persistent => capabilities.persistent,
            Self::SomethingUnsupported => {
                let Capabilities { multi_stream_append, records_in_append, conditions, truncate, .. } = *capabilities;
                let parts = [multi_stream_append, records_in_append, conditions, truncate];
                if parts.iter().all(|part| part.is_yes()) { Support::No("it supports every request") } else { Support::Yes }
            }
        };
        match support {
            Support::Yes => None,
            Support::No(reason) => Some(reason),
        }
    }
}

/// How a check, or a step of one, ended.
pub(super) type Verdict<T = ()> = Result<T, Failure>;

/// What a store did wrong, and where the check noticed.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    #[track_caller]
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self(format!("{message} (line {} of {})", Location::caller().line(), file_name(Location::caller())))
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("the store refused what it must take: {error}"))
    }
}

impl From<tokio::task::JoinError> for Failure {
    #[track_caller]
    fn from(panic: tokio::task::JoinError) -> Self {
        Self::new(format!("a task panicked: {panic}"))
    }
}

fn file_name(location: &'static Location<'static>) -> &'static str {
    location.file().rsplit(['/', '\\']).next().unwrap_or_default()
}

/// A value in a message, cut where it would fill the screen.
pub(super) fn shown(value: &(impl fmt::Debug + ?Sized)) -> String {
    let mut text = format!("{value:?}");
    if let Some((cut, _)) = text.char_indices().nth(600) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// A row of the table: the function that plays it, the rule in a sentence, and what it needs.
macro_rules! check {
    ($name:ident, $rule:literal $(, $need:ident)* $(,)?) => {
        $crate::conformance::check::Check {
            name: stringify!($name),
            rule: $rule,
            needs: &[$($crate::conformance::check::Need::$need),*],
            module: module_path!(),
            play: |stage| Box::pin($name(stage)),
        }
    };
}

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::check::Failure::new(format!($($message)+)));
        }
    };
}

/// Fails the check unless what was found, the first value, is what the contract says, the second.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($what:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => {
                if found != expected {
                    return Err($crate::conformance::check::Failure::new(format!(
                        "{}: found {}, expected {}",
                        format_args!($($what)+),
                        $crate::conformance::check::shown(found),
                        $crate::conformance::check::shown(expected),
                    )));
                }
            }
        }
    };
}

pub(super) use {check, ensure, ensure_eq};
