//! The door itself: takes a connection's requests, carries them out, and answers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use factum::SharedStore;

use tokio::time::Instant;

use super::clients::{Clients, Unblock};
use super::commands::{self, Parameters};
use super::counters::Counters;
use super::error;
use super::keyspace::{self, Blocked, Failure, Keyspace, Load, Options, Plan, Stop, Waiting};
use super::pause::Pause;
use super::resp::{Output, Reply, Request};
use super::session::Session;
use super::unit::{self, Data, Unit, Work};
use crate::Settings;

/// What all connections share.
pub(crate) struct Door {
    /// Where everything is kept.
    pub(crate) store: SharedStore,
    /// What stands at the keys.
    pub(crate) keyspace: Arc<Keyspace>,
    /// Who consumes in ordered groups.
    pub(crate) groups: commands::OrderedGroups,
    /// How the server is set up.
    pub(crate) settings: Settings,
    /// Who is connected.
    pub(crate) clients: Arc<Clients>,
    /// Whether clients wait because one asked for it.
    pub(crate) pause: Arc<Pause>,
    /// What CONFIG tells.
    pub(crate) parameters: Parameters,
    /// What has happened.
    pub(crate) counters: Counters,
    /// This run's name, other than any before.
    pub(crate) run_id: String,
}

impl Door {
    /// A door on a store.
    pub(crate) fn new(store: SharedStore, settings: Settings) -> Self {
        let clients = Arc::<Clients>::default();
        clients.held.allow(settings.limits.clients_bytes_max);
        let pause = Arc::<Pause>::default();
        Self {
            groups: commands::OrderedGroups::default(),
            parameters: Parameters::new(&settings),
            keyspace: Keyspace::start(
                SharedStore::clone(&store),
                Options {
                    type_fields: settings.type_fields.iter().map(|field| field.as_bytes().into()).collect(),
                    cache_bytes_max: settings.limits.cache_bytes_max,
                    databases: settings.limits.databases,
                    allow_flush: settings.allow_flush,
                    pause: Arc::clone(&pause),
                    ..Options::default()
                },
            ),
            store,
            settings,
            clients,
            pause,
            counters: Counters::default(),
            run_id: format!("{}{}", factum::Uuid::now_v7().simple(), &factum::Uuid::now_v7().simple().to_string()[24..]),
        }
    }

    /// How many keys each database has that has any.
    pub(crate) fn keys_by_database(&self) -> Vec<(u32, keyspace::Count)> {
        self.keyspace.keys_by_database()
    }

    /// Carries out requests that arrived together on a connection: takes at least one off the front, and adds the answer of each that it took.
    ///
    /// # Behavior
    /// - When it returns, what it answered is durable.
    /// - It leaves requests for the next call where the answers before them should be sent first: because they are many, or because the next
    ///   request waits for something.
    /// - The caller may drop the future: what was under way is done or not, nobody hears of it, and nothing else suffers.
    // What is rare stands in boxes of its own, so that what each request takes is small.
    pub(crate) async fn run(&self, session: &mut Session, requests: &mut VecDeque<Request>, out: &mut Output) {
        while let Some(request) = requests.front()
            && unit::is_held(self, session, request)
        {
            session.client.set_paused(true);
            Box::pin(self.pause.changed()).await;
            session.client.set_paused(false);
        }
        let mut units = unit::take(self, session, requests);
        let mut rest = &mut units[..];
        let (mut overtaken, mut was_refused) = (0, false);
        let (mut left_over, mut tries) = (rest.len(), 0);
        while !rest.is_empty() {
            tries = if rest.len() == left_over { tries + 1 } else { 0 };
            left_over = rest.len();
            if tries > TRIES_MAX {
                let text =
                    "ERR what this request needs can't be read from the store, or changes faster than it can be read; nothing was done";
                choose_as_before(session, &rest[0]);
                self.reply(&rest[0], &Reply::error(text), out);
                rest = &mut rest[1..];
                continue;
            }
            // Behind a refusal what only reads is carried out by itself, so that it is not refused with what comes next.
            let together = if was_refused { rest.iter().take_while(|unit| unit.only_reads()).count() } else { rest.len() };
            let Carried { answers, waiting, stop } = self.carry_out(&mut rest[..together]);
            was_refused &= answers.is_empty();
            if let Some(waiting) = waiting {
                self.keyspace.send();
                match waiting.await.unwrap_or(Err(Failure::Overtaken)) {
                    Ok(()) => {}
                    Err(Failure::Overtaken) if overtaken < OVERTAKEN_MAX => {
                        overtaken += 1;
                        continue;
                    }
                    Err(failure) => {
                        let reply = error::of_failure(&failure);
                        let mut count = 0;
                        for unit in &rest[..answers.len()] {
                            // Nothing was recorded, so what only reads is answered as it is, and what comes behind it is tried once more.
                            if failure.is_refusal() && unit.only_reads() && overtaken < OVERTAKEN_MAX {
                                (overtaken, was_refused) = (overtaken + 1, true);
                                break;
                            }
                            count += 1;
                            choose_as_before(session, unit);
                            let reply = if let Work::Ready(reply) = &unit.work { reply } else { &reply };
                            self.reply(unit, reply, out);
                        }
                        rest = &mut rest[count..];
                        continue;
                    }
                }
            }
            let (answered, left) = rest.split_at_mut(answers.len());
            for (unit, mut answer) in answered.iter().zip(answers) {
                if let Work::Exec(exec) = &unit.work {
                    if exec.is_aborted {
                        choose_as_before(session, unit);
                    } else {
                        answer = commands::do_afterwards(self, session, exec, answer);
                    }
                }
                match &answer {
                    Plan::Reply(reply) => self.reply(unit, reply, out),
                    _ => Box::pin(self.answer(unit, answer, out)).await,
                }
                if out.is_full() {
                    Box::pin(out.make_room()).await;
                }
            }
            rest = left;
            match stop {
                None => {}
                Some(Stopped::Load(loads)) => {
                    if let Err(failed) = Box::pin(self.keyspace.load(loads)).await {
                        choose_as_before(session, &rest[0]);
                        self.reply(&rest[0], &error::of_store(&failed), out);
                        rest = &mut rest[1..];
                    }
                }
                Some(Stopped::Own) => {
                    if let Work::Own(data) = &rest[0].work {
                        let reply = Box::pin(commands::carry_out_own(self, data)).await;
                        self.reply(&rest[0], &reply, out);
                    }
                    rest = &mut rest[1..];
                }
                Some(Stopped::Full(waiting)) => {
                    self.keyspace.send();
                    let _ = waiting.await;
                }
                Some(Stopped::Blocked(blocked, deadline)) => {
                    tries = 0;
                    if let Some(reply) = Box::pin(wait(session, &blocked, deadline)).await {
                        self.reply(&rest[0], &reply, out);
                        rest = &mut rest[1..];
                    } else if let Work::Data(data) = &mut rest[0].work {
                        data.resume.is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
                    }
                }
            }
        }
    }

    /// Carries out as many as can be now, in memory.
    fn carry_out(&self, units: &mut [Unit]) -> Carried {
        let mut answers = Vec::with_capacity(units.len());
        if units.iter().all(|unit| matches!(unit.work, Work::Ready(_))) {
            answers.extend(
                units
                    .iter_mut()
                    .map(|unit| if let Work::Ready(reply) = &unit.work { Plan::Reply(reply.clone()) } else { Plan::Reply(Reply::Null) }),
            );
            return Carried { answers, waiting: None, stop: None };
        }
        let mut state = self.keyspace.lock();
        let state = &mut *state;
        if units.len() >= LOOKED_AHEAD_MIN {
            state.look_ahead(
                units.iter().filter_map(|unit| if let Work::Data(data) = &unit.work { Some(data) } else { None }).flat_map(Data::names),
            );
        }
        let now = keyspace::now();
        let mut wait = 0;
        let mut stop = None;
        for place in 0..units.len() {
            let only_reads = units[place].only_reads();
            let work = &mut units[place].work;
            if matches!(work, Work::Own(_)) {
                stop = Some(Stopped::Own);
                break;
            }
            let mut context = self.keyspace.context(state, now);
            context.only_reads = only_reads;
            let carried = catch_unwind(AssertUnwindSafe(|| match work {
                Work::Data(data) if !context.has_room(1, data.request.size()) => Err(Stop::Full),
                work => commands::carry_out(&mut context, work),
            }));
            let Ok(answer) = carried else {
                let name = units[place].command.map(|command| command.name);
                tracing::error!(command = name, "a command failed, which is a bug: please report it, with what the log says above");
                // The answers are not given: who waits is told why.
                answers.push(Plan::Reply(Reply::Null));
                return Carried { answers, waiting: Some(self.keyspace.abandon(state)), stop: None };
            };
            let touched = context.wait;
            match answer {
                Ok(answer) => answers.push(answer),
                Err(Stop::Answer(reply)) => answers.push(reply.into()),
                Err(Stop::Load(mut loads)) => {
                    // The others will need theirs too.
                    let later = units[place + 1..]
                        .iter()
                        .take(LOADED_TOGETHER_MAX)
                        .filter_map(|unit| if let Work::Data(data) = &unit.work { Some(data) } else { None });
                    loads.extend(state.missing(later.flat_map(Data::keys)));
                    stop = Some(Stopped::Load(loads));
                    break;
                }
                Err(Stop::Full) => {
                    stop = match state.room() {
                        Some(waiting) => Some(Stopped::Full(waiting)),
                        None => {
                            answers.push(error::too_large().into());
                            continue;
                        }
                    };
                    break;
                }
                Err(Stop::Block(keys, deadline)) => {
                    if answers.is_empty() {
                        stop = Some(Stopped::Blocked(self.keyspace.block(state, keys), deadline));
                    }
                    wait = wait.max(touched);
                    break;
                }
            }
            wait = wait.max(touched);
        }
        if !matches!(stop, Some(Stopped::Load(_))) {
            state.end_copying();
        }
        state.close_if_large();
        Carried { answers, waiting: state.waiter(wait), stop }
    }

    /// Adds a reply, if the connection wants it.
    fn reply(&self, unit: &Unit, reply: &Reply, out: &mut Output) {
        self.counters.called(unit.command, reply);
        if !unit.is_wanted {
            return;
        }
        if let Err(failed) = out.push_checked(reply, unit.protocol) {
            out.push(&error::of_store(&failed), unit.protocol);
        }
    }

    /// Counts a call in a transaction.
    fn count_inner(&self, work: &Work, answer: &Plan) {
        let command = match work {
            Work::Data(data) | Work::Own(data) => data.command,
            Work::Afterwards(command, _) => command,
            Work::Ready(_) | Work::Exec(_) | Work::Watch(..) | Work::Unwatch(..) => return,
        };
        self.counters.called(Some(command), if let Plan::Reply(reply) = answer { reply } else { &Reply::OK });
    }

    /// Adds an answer that has to be put together, if the connection wants it.
    async fn answer(&self, unit: &Unit, answer: Plan, out: &mut Output) {
        self.counters.called(unit.command, &Reply::OK);
        if let (Work::Exec(exec), Plan::Array(answers)) = (&unit.work, &answer) {
            exec.work.iter().zip(answers).for_each(|(work, answer)| self.count_inner(work, answer));
        }
        if !unit.is_wanted {
            return;
        }
        let start = out.len();
        if let Err(failed) = answer.write(&**self.keyspace.store(), unit.protocol, out).await {
            out.bytes_mut().truncate(start);
            out.push(&error::of_store(&failed), unit.protocol);
        }
    }
}

/// Transparent repeats, when others write to the same streams, before the client hears of it.
const OVERTAKEN_MAX: usize = 100;
/// So often what a request needs is read before it is given up.
const TRIES_MAX: usize = 1_000;
/// So many requests are worth a look at all of their keys before the first is carried out.
const LOOKED_AHEAD_MIN: usize = 8;
/// How many requests are looked ahead for keys to load.
const LOADED_TOGETHER_MAX: usize = 256;

/// What was carried out at a time.
struct Carried {
    answers: Vec<Plan>,
    /// To wait for before the answers may be given.
    waiting: Option<Waiting>,
    /// Why it went no further.
    stop: Option<Stopped>,
}

enum Stopped {
    Load(Vec<Load>),
    /// It goes to the store itself.
    Own,
    Full(Waiting),
    Blocked(Blocked, Option<Instant>),
}

/// Waits until one of the keys changes or the time is over; an answer if it was ended by someone else.
async fn wait(session: &Session, blocked: &Blocked, deadline: Option<Instant>) -> Option<Reply> {
    struct Waits<'a>(&'a Session);
    impl Drop for Waits<'_> {
        fn drop(&mut self) {
            self.0.client.set_blocked(false);
        }
    }
    session.client.set_blocked(true);
    let _waits = Waits(session);
    let over = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = blocked.changed() => None,
        () = over => None,
        how = session.client.unblocked() => Some(match how {
            Unblock::AsTimeout => Reply::NullArray,
            Unblock::WithError => Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        }),
    }
}

/// A transaction that was not carried out has chosen no database.
fn choose_as_before(session: &mut Session, unit: &Unit) {
    if let Work::Exec(exec) = &unit.work {
        session.database = exec.database;
    }
}
