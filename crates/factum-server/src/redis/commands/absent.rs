//! What is not here, asked for: scripts, modules, a slow log, other users, other nodes. Whoever asks what there is hears that there is nothing,
//! whoever wants it gone hears that it is, and whoever wants to use it is refused.

use super::call::is;
use super::table::{Command, Verb};
use super::{command, help};
use crate::redis::door::Door;
use crate::redis::resp::{Reply, Request, integer};
use crate::redis::{REDIS_VERSION, keyspace};

const NOTHING_RUNS: Reply = Reply::error("NOTBUSY No scripts in execution right now.");
const NO_CLUSTER: Reply = Reply::error("ERR This instance has cluster support disabled");
const NONE: Reply = Reply::Array(Vec::new());

/// `None` if the command is none of these.
pub(super) fn answer(door: &Door, command: &Command, request: &Request) -> Option<Reply> {
    Some(match command.verb {
        Verb::FunctionFlush => flush(request, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        Verb::ScriptFlush => flush(request, "ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        Verb::FunctionList => list_functions(request),
        Verb::FunctionDelete => Reply::error("ERR Library not found"),
        Verb::FunctionKill | Verb::ScriptKill => NOTHING_RUNS,
        Verb::FunctionStats => {
            Reply::Map(vec![(Reply::text("running_script"), Reply::Null), (Reply::text("engines"), Reply::Map(Vec::new()))])
        }
        Verb::ScriptExists => Reply::Array(request.iter().skip(2).map(|_| Reply::Integer(0)).collect()),
        Verb::ModuleList | Verb::LatencyLatest | Verb::LatencyHistory => NONE,
        Verb::SlowLogGet => match request.get(2) {
            None => NONE,
            Some(count) if request.len() == 3 && integer(count).is_some_and(|count| count >= -1) => NONE,
            Some(_) => Reply::error("ERR count should be greater than or equal to -1"),
        },
        Verb::SlowLogLen | Verb::LatencyReset => Reply::Integer(0),
        Verb::SlowLogReset | Verb::Save => Reply::OK,
        // Everything that was answered is on disk.
        Verb::LastSave => Reply::Integer(i64::try_from(keyspace::now() / 1_000).unwrap_or(i64::MAX)),
        Verb::BgSave => match request.get(1) {
            None => Reply::Simple("Background saving started"),
            Some(how) if request.len() == 2 && is(how, "schedule") => Reply::Simple("Background saving started"),
            Some(_) => Reply::error("ERR syntax error"),
        },
        Verb::BgRewriteAof => Reply::Simple("Background append only file rewriting started"),
        Verb::LolWut => Reply::Verbatim(format!("Redis ver. {REDIS_VERSION}\n")),
        Verb::LatencyHistogram => Reply::Map(Vec::new()),
        Verb::LatencyDoctor => {
            Reply::Verbatim("This server keeps no events of latency. Its port for metrics tells how long answers take.\n".to_owned())
        }
        Verb::AclWhoAmI => Reply::text("default"),
        Verb::AclUsers => Reply::Array(vec![Reply::text("default")]),
        Verb::AclList => {
            let password = if door.settings.password.is_none() { "nopass " } else { "" };
            Reply::Array(vec![Reply::string(format!("user default on {password}~* &* +@all"))])
        }
        Verb::AclGetUser => user(door, &request[2]),
        Verb::AclCat => match request.get(2) {
            None => command::every_category(),
            Some(category) => command::of_category(category),
        },
        Verb::AclLog => match request.get(2) {
            Some(what) if is(what, "reset") => Reply::OK,
            _ => NONE,
        },
        Verb::ClientTracking => match &request[2] {
            off if is(off, "off") => Reply::OK,
            on if is(on, "on") => {
                Reply::error("ERR CLIENT TRACKING is not there: clients are not told which keys changed, so they can't keep copies")
            }
            _ => Reply::error("ERR syntax error"),
        },
        Verb::ClientTrackingInfo => Reply::Map(vec![
            (Reply::text("flags"), Reply::Set(vec![Reply::text("off")])),
            (Reply::text("redirect"), Reply::Integer(-1)),
            (Reply::text("prefixes"), NONE),
        ]),
        Verb::ClientGetRedir => Reply::Integer(-1),
        Verb::ClientCaching => {
            Reply::error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
        }
        Verb::Cluster | Verb::ReadOnly | Verb::ReadWrite => NO_CLUSTER,
        Verb::Role => Reply::Array(vec![Reply::text("master"), Reply::Integer(0), NONE]),
        Verb::FunctionHelp | Verb::ScriptHelp | Verb::ModuleHelp | Verb::SlowLogHelp | Verb::LatencyHelp | Verb::AclHelp => {
            help::of(command)
        }
        _ => return None,
    })
}

fn flush(request: &Request, wrong: &'static str) -> Reply {
    match request.get(2) {
        None => Reply::OK,
        Some(how) if request.len() == 3 && (is(how, "sync") || is(how, "async")) => Reply::OK,
        Some(_) => Reply::error(wrong),
    }
}

fn list_functions(request: &Request) -> Reply {
    let mut place = 2;
    while let Some(option) = request.get(place) {
        if is(option, "withcode") {
            place += 1;
        } else if is(option, "libraryname") {
            if request.get(place + 1).is_none() {
                return Reply::error("ERR library name argument was not given");
            }
            place += 2;
        } else {
            return Reply::ErrorBytes([b"ERR Unknown argument ", option].concat().into());
        }
    }
    NONE
}

/// The one user: everyone who has said the password, if there is one.
fn user(door: &Door, name: &[u8]) -> Reply {
    if name != b"default" {
        return Reply::Null;
    }
    let mut flags = vec![Reply::text("on")];
    if door.settings.password.is_none() {
        flags.push(Reply::text("nopass"));
    }
    Reply::Map(vec![
        (Reply::text("flags"), Reply::Set(flags)),
        (Reply::text("passwords"), NONE),
        (Reply::text("commands"), Reply::text("+@all")),
        (Reply::text("keys"), Reply::text("~*")),
        (Reply::text("channels"), Reply::text("&*")),
        (Reply::text("selectors"), NONE),
    ])
}
