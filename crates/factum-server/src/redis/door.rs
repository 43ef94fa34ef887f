//! The door itself: takes a connection's requests, carries them out, and answers.

use std::collections::VecDeque;

use factum::SharedStore;

use super::clients::Clients;
use super::commands::table::{self, Command};
use super::commands::{self, Parameters};
use super::counters::Counters;
use super::resp::{Output, Reply, Request};
use super::session::{Replies, Session};
use crate::Settings;

/// What all connections share.
pub(crate) struct Door {
    /// Where everything is kept.
    pub(crate) store: SharedStore,
    /// How the server is set up.
    pub(crate) settings: Settings,
    /// Who is connected.
    pub(crate) clients: Clients,
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
        Self {
            parameters: Parameters::new(&settings),
            store,
            settings,
            clients: Clients::default(),
            counters: Counters::default(),
            run_id: format!("{}{}", factum::Uuid::now_v7().simple(), &factum::Uuid::now_v7().simple().to_string()[24..]),
        }
    }

    /// How many keys each database has that has any.
    pub(crate) fn keys_by_database(&self) -> Vec<(u32, u64)> {
        Vec::new()
    }

    /// Carries out requests that arrived together on a connection: takes at least one off the front, and adds the answer of each that it took.
    ///
    /// # Behavior
    /// - When it returns, what it answered is durable.
    /// - It leaves requests for the next call where the answers before them should be sent first: because they are many, or because the next
    ///   request waits for something.
    /// - The caller may drop the future: what was under way is done or not, nobody hears of it, and nothing else suffers.
    pub(crate) async fn run(&self, session: &mut Session, requests: &mut VecDeque<Request>, out: &mut Output) {
        while let Some(request) = requests.pop_front() {
            let (command, reply) = match table::look_up(&request) {
                Ok(command) => {
                    session.last_command = command.name;
                    (Some(command), self.carry_out(session, command, &request))
                }
                Err(error) => (None, error),
            };
            self.counters.called(command, &reply);
            answer(session, out, &reply);
            if out.is_full() || session.is_ending {
                return;
            }
        }
    }

    fn carry_out(&self, session: &mut Session, command: &'static Command, request: &Request) -> Reply {
        if !session.is_authenticated && !command.is(table::NO_AUTH) {
            return Reply::error("NOAUTH Authentication required.");
        }
        commands::without_data(self, session, command, request)
            .unwrap_or_else(|| Reply::Error(format!("ERR the command '{}' is not built yet", command.name).into()))
    }
}

/// Adds an answer, if the connection wants it.
pub(crate) fn answer(session: &mut Session, out: &mut Output, reply: &Reply) {
    match session.replies {
        Replies::On => out.push(reply, session.protocol),
        Replies::Off => {}
        Replies::SkipThisAndNext => session.replies = Replies::SkipNext,
        Replies::SkipNext => session.replies = Replies::On,
    }
}
