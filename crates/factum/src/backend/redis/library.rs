//! The function that reads and writes a partition: loaded into the server, and called there.
//!
//! It is a Redis function where the server allows that, and a script known by its hash where it does not. Its name holds a version and
//! a hash of its text, so programs of two versions can use one server at the same time.

use redis::{Cmd, ToRedisArgs};

/// The parts of the text, in the order in which they need each other.
const BODY: &str = concat!(
    include_str!("lua/matching.lua"),
    include_str!("lua/records.lua"),
    include_str!("lua/upkeep.lua"),
    include_str!("lua/append.lua"),
    include_str!("lua/batch.lua")
);

/// The version of what the function does with the keys.
const VERSION: u32 = 1;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Append,
    Scan,
    Record,
    Truncate,
    Open,
    Close,
}

const CALLS: [Call; 6] = [Call::Append, Call::Scan, Call::Record, Call::Truncate, Call::Open, Call::Close];

impl Call {
    /// Its name in Lua.
    const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Scan => "scan",
            Self::Record => "record",
            Self::Truncate => "truncate",
            Self::Open => "open",
            Self::Close => "close",
        }
    }

    /// Flags that the server should know of; truncating and closing must go on when the memory is full.
    const fn flags(self) -> &'static str {
        match self {
            Self::Scan => "'no-writes'",
            Self::Truncate | Self::Close => "'allow-oom'",
            Self::Append | Self::Record | Self::Open => "",
        }
    }
}

/// How the function is called on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Library {
    /// By name.
    Functions,
    /// By the hash that the server gave for its text.
    Script(String),
}

impl Library {
    /// The command that loads it as functions. A server that has it already says so.
    pub(super) fn load_functions() -> Cmd {
        let mut text = format!("#!lua name={}\n{BODY}", library_name());
        for call in CALLS {
            let (name, flags) = (call.name(), call.flags());
            text.push_str(&format!(
                "redis.register_function{{ function_name = '{}_{name}', callback = {name}, flags = {{ {flags} }} }}\n",
                library_name()
            ));
        }
        let mut cmd = redis::cmd("FUNCTION");
        cmd.arg("LOAD").arg(text);
        cmd
    }

    /// The command that loads it as a script; the answer is its hash.
    pub(super) fn load_script() -> Cmd {
        let mut text = format!("#!lua\n{BODY}");
        for call in CALLS {
            let name = call.name();
            text.push_str(&format!("if ARGV[#ARGV] == '{name}' then return {name}(KEYS, ARGV) end\n"));
        }
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(text);
        cmd
    }

    /// A call about the partition whose log has this key; its arguments are added to it.
    pub(super) fn call(&self, call: Call, log: &str) -> Request {
        match self {
            Self::Functions => {
                let mut cmd = redis::cmd("FCALL");
                cmd.arg(format!("{}_{}", library_name(), call.name())).arg(1).arg(log);
                Request { cmd, last: None }
            }
            Self::Script(hash) => {
                let mut cmd = redis::cmd("EVALSHA");
                cmd.arg(hash).arg(1).arg(log);
                Request { cmd, last: Some(call.name()) }
            }
        }
    }
}

/// A call that gets its arguments.
pub(super) struct Request {
    cmd: Cmd,
    /// A script is told by its last argument what it is to do.
    last: Option<&'static str>,
}

impl Request {
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(argument);
        self
    }

    pub(super) fn into_cmd(mut self) -> Cmd {
        if let Some(last) = self.last {
            self.cmd.arg(last);
        }
        self.cmd
    }
}

/// The name of this text, and of no other.
pub(super) fn library_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| format!("factum_{VERSION}_{:016x}", super::keys::hash(BODY.as_bytes())))
}
