//! One command, from its first look at the state to its receipt.

use std::time::Instant;

use tracing::Instrument;
use uuid::Uuid;

use super::basis::{Basis, Deciding, Ground};
use super::error::CommandError;
use super::key::KeyedIds;
use super::options::{CommandOptions, Executed};
use super::turns::Turn;
use crate::domain::{Decider, Decision};
use crate::error::{Conflict, ConflictReason, Error, Result};
use crate::{Append, ExpectedVersion, NewEvent, Receipt, RecordedEvent, StreamReceipt, StreamVersion, causation, metadata, telemetry};

/// What an append on a ground came to.
enum Sent {
    /// It is recorded.
    Recorded(Receipt),
    /// The ground has changed, or its ids are there already.
    Conflict(Error),
}

impl<D: Decider> Deciding<D> {
    /// Loads, decides and appends, until the answer is one.
    pub(super) async fn transact<R: Send>(
        &self,
        basis: &impl Basis<D>,
        options: &CommandOptions,
        decide: impl Fn(&D::State) -> Result<Decision<D::Event, R>, D::Error> + Send + Sync,
    ) -> Result<Executed<R>, CommandError<D::Error>> {
        let span =
            tracing::debug_span!("command", stream = %basis.stream(), conflicts = tracing::field::Empty, outcome = tracing::field::Empty);
        let outcome = self.attempt(basis, options, decide).instrument(span.clone()).await;
        span.record("outcome", said_of(&outcome));
        if let Ok(Executed { conflicts, .. }) = &outcome {
            span.record("conflicts", conflicts);
        }
        outcome
    }

    async fn attempt<R: Send>(
        &self,
        basis: &impl Basis<D>,
        options: &CommandOptions,
        decide: impl Fn(&D::State) -> Result<Decision<D::Event, R>, D::Error> + Send + Sync,
    ) -> Result<Executed<R>, CommandError<D::Error>> {
        let keyed = options.key.as_deref().map(|key| KeyedIds::new(basis.stream(), key));
        let mut ground = basis.load().instrument(tracing::debug_span!("load")).await?;
        let mut tried = 0;
        let mut turn: Option<Turn<'_>> = None;
        loop {
            if options.expected.is_some_and(|expected| expected != ground.version) {
                if let Some(done) = self.repeated(basis, keyed.as_ref(), options, &decide, tried).await? {
                    return Ok(done);
                }
                if !ground.is_fresh {
                    ground = basis.renew(ground).await?;
                    continue;
                }
                return Err(CommandError::Store(unexpected(basis, &ground, options)));
            }
            let decision = decide(&ground.state);
            // Nothing will be appended, so nothing will be checked: look now.
            if !ground.is_fresh && decision.as_ref().map_or(true, |decision| decision.events.is_empty()) {
                ground = basis.renew(ground).await?;
                continue;
            }
            let Decision { events, reply } = match decision {
                Ok(decision) if !decision.events.is_empty() => decision,
                without_events => {
                    if let Some(done) = self.repeated(basis, keyed.as_ref(), options, &decide, tried).await? {
                        return Ok(done);
                    }
                    let reply = without_events.map_err(CommandError::Refused)?.reply;
                    return Ok(Executed { reply, receipt: None, version: ground.version, conflicts: tried });
                }
            };
            let proposed = self.propose(&events, keyed.as_ref(), options)?;
            let last_id = proposed.last().map(|event| event.id);
            match self.send(basis.append(&ground, proposed), keyed.as_ref()).instrument(tracing::debug_span!("append")).await? {
                Sent::Recorded(receipt) => {
                    if receipt.duplicate
                        && let Some(done) = self.repeated(basis, keyed.as_ref(), options, &decide, tried).await?
                    {
                        return Ok(done);
                    }
                    let version = receipt.last_version();
                    basis.recorded(ground, &events, last_id, &receipt);
                    return Ok(Executed { reply, receipt: Some(receipt), version, conflicts: tried });
                }
                Sent::Conflict(conflict) => {
                    tried += 1;
                    telemetry::conflict(D::CATEGORY);
                    tracing::debug!(%conflict, tried, "a command met a conflict");
                    if may_be_repeated(&conflict)
                        && let Some(done) = self.repeated(basis, keyed.as_ref(), options, &decide, tried).await?
                    {
                        return Ok(done);
                    }
                    if options.expected.is_some() {
                        return Err(CommandError::Store(conflict));
                    }
                    if !self.retry.rest(tried).await {
                        return Err(CommandError::Contended { stream: basis.stream().clone(), attempts: tried, conflict });
                    }
                    if turn.is_none() {
                        turn = Some(self.turns.wait(basis.stream()).await);
                    }
                    ground = basis.renew(ground).instrument(tracing::debug_span!("load")).await?;
                }
            }
        }
    }

    /// The events as the store gets them.
    fn propose(&self, events: &[D::Event], keyed: Option<&KeyedIds<'_>>, options: &CommandOptions) -> Result<Vec<NewEvent>> {
        if options.metadata.contains_key(metadata::SCHEMA_VERSION) {
            return Err(Error::invalid(format!("the metadata key {} says how an event is stored; use another", metadata::SCHEMA_VERSION)));
        }
        let mut proposed = Vec::with_capacity(events.len());
        for (number, event) in events.iter().enumerate() {
            let id = keyed.map_or_else(Uuid::now_v7, |keyed| keyed.id(number));
            let mut event = self.codec.encode(event, id)?;
            let users = options.metadata.iter().map(|(key, value)| (key.as_str(), value.clone()));
            event.metadata = causation::stamp(metadata::with_keys(event.metadata, users));
            proposed.push(event);
        }
        causation::tie(&mut proposed);
        Ok(proposed)
    }

    /// Appends, and appends the same again while the outcome is unknown.
    async fn send(&self, append: Append, keyed: Option<&KeyedIds<'_>>) -> Result<Sent> {
        let (begun, events) = (Instant::now(), append.events());
        let mut tried = 0;
        loop {
            tried += 1;
            match self.store.append(append.clone()).await {
                Ok(mut receipt) => {
                    telemetry::appended(D::CATEGORY, events, begun.elapsed());
                    // Without a key it was recorded by this very call, when its outcome was unknown. With one, by this or an earlier one.
                    receipt.duplicate &= tried == 1 || keyed.is_some();
                    return Ok(Sent::Recorded(receipt));
                }
                Err(Error::OutcomeUnknown { .. }) if self.retry.rest(tried).await => {}
                Err(error @ (Error::Conflict(_) | Error::ConditionFailed { .. } | Error::IdReused { .. })) => {
                    return Ok(Sent::Conflict(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the command of that key did, if it was done before. Its reply is that of the decision of then, made again.
    async fn repeated<R>(
        &self,
        basis: &impl Basis<D>,
        keyed: Option<&KeyedIds<'_>>,
        options: &CommandOptions,
        decide: impl Fn(&D::State) -> Result<Decision<D::Event, R>, D::Error>,
        conflicts: u32,
    ) -> Result<Option<Executed<R>>, CommandError<D::Error>> {
        let Some(keyed) = keyed else { return Ok(None) };
        let Some(recorded) = keyed.find(&*self.store).await? else { return Ok(None) };
        let (first, last) = (&recorded[0], &recorded[recorded.len() - 1]);
        let then = basis.before(first).await?;
        match decide(&then) {
            Ok(Decision { events, reply }) if self.says_the_same(&events, &recorded)? => {
                let receipt = Receipt { streams: vec![receipt_of(first, last)], records: Vec::new(), duplicate: true };
                Ok(Some(Executed { reply, receipt: Some(receipt), version: last.version, conflicts }))
            }
            _another => Err(CommandError::KeyReused {
                stream: basis.stream().clone(),
                key: options.key.clone().unwrap_or_default(),
                version: first.version,
            }),
        }
    }

    /// Whether these are the events that were recorded, both in the shape of today.
    fn says_the_same(&self, events: &[D::Event], recorded: &[RecordedEvent]) -> Result<bool> {
        let mut today = Vec::with_capacity(recorded.len());
        for recorded in recorded {
            for event in self.codec.decode(recorded)? {
                today.push(self.codec.encode(&event, Uuid::nil())?);
            }
        }
        let decided = events.iter().map(|event| self.codec.encode(event, Uuid::nil())).collect::<Result<Vec<_>>>()?;
        Ok(today.len() == decided.len()
            && today.iter().zip(&decided).all(|(one, other)| one.event_type == other.event_type && one.data == other.data))
    }
}

/// One word for what became of a command.
fn said_of<R, E>(outcome: &Result<Executed<R>, CommandError<E>>) -> &'static str {
    match outcome {
        Ok(done) if done.is_duplicate() => "duplicate",
        Ok(Executed { receipt: None, .. }) => "nothing",
        Ok(_) => "recorded",
        Err(CommandError::Refused(_)) => "refused",
        Err(CommandError::Contended { .. }) => "contended",
        Err(CommandError::KeyReused { .. }) => "key reused",
        Err(CommandError::Store(_)) => "failed",
    }
}

/// Whether a conflict is about ids: what it says of a version or a condition alone, it says only where none of the ids is there.
fn may_be_repeated(conflict: &Error) -> bool {
    match conflict {
        Error::Conflict(conflict) => conflict.reason != ConflictReason::Version,
        conflict => matches!(conflict, Error::IdReused { .. }),
    }
}

fn receipt_of(first: &RecordedEvent, last: &RecordedEvent) -> StreamReceipt {
    StreamReceipt {
        stream: first.stream.clone(),
        first_version: first.version,
        last_version: last.version,
        first_position: first.position,
        last_position: last.position,
    }
}

/// The stream is not at the version that the caller has seen.
fn unexpected<D: Decider>(basis: &impl Basis<D>, ground: &Ground<D::State>, options: &CommandOptions) -> Error {
    Conflict {
        stream: basis.stream().clone(),
        expected: ExpectedVersion::Exact(options.expected.unwrap_or(StreamVersion::NONE)),
        actual: ground.version,
        reason: ConflictReason::Version,
    }
    .into()
}
