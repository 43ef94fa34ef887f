//! Two servers side by side: the same steps go to both, and their replies are compared.

use std::io;
use std::time::{Duration, Instant};

use factum_server::{Server, Settings};
use factum_servers::RedisServer;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::mask::mask;
use super::wire::{Value, Wire};

/// A request, as its words.
pub(crate) type Request = Vec<Vec<u8>>;

/// One step of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A request, and its reply.
    Call(usize, Request),
    /// A request whose reply comes later, once something has happened.
    Begin(usize, Request),
    /// The reply of a request that has begun.
    End(usize),
}

/// How a sequence is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Each request when the one before has been answered.
    OneByOne,
    /// All that a connection sends goes together.
    Together,
}

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resp {
    Two,
    Three,
}

/// Where two servers gave different replies.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) step: Request,
    pub(crate) redis: String,
    pub(crate) factum: String,
}

/// Both servers.
pub(crate) struct Both {
    redis: RedisServer,
    runtime: Runtime,
}

impl Both {
    /// Starts Redis, if this machine has it.
    pub(crate) fn start() -> Option<Self> {
        if RedisServer::program().is_none() {
            assert!(std::env::var_os("CI").is_none(), "there is no redis-server to compare with; cargo xtask test installs it");
            println!("skipped: this machine has no redis-server to compare with");
            return None;
        }
        let settings = [("appendonly", "no"), ("appendfsync", "no"), ("enable-debug-command", "yes")];
        let redis = RedisServer::start_with(&settings).expect("it starts");
        Some(Self { redis, runtime: Runtime::new().expect("it starts") })
    }

    /// The first difference that a sequence makes, beginning with nothing on both sides.
    pub(crate) fn difference(&self, steps: &[Step], resp: Resp, manner: Manner) -> Option<Difference> {
        self.differences(steps, resp, manner).into_iter().next()
    }

    /// All differences that a sequence makes. Those after the first may only follow from it.
    pub(crate) fn differences(&self, steps: &[Step], resp: Resp, manner: Manner) -> Vec<Difference> {
        let mut control = Wire::connect(self.redis.port()).expect("it listens");
        control.call(&words("FLUSHALL")).expect("it answers");
        let ours = Ours::start(&self.runtime);
        // Only ours forgets what it has in memory. Redis would think that all watched keys have changed.
        let steps_of_redis: Vec<Step> = steps.iter().map(without_reload).collect();
        let redis = play(self.redis.port(), &steps_of_redis, resp, manner);
        let factum = play(ours.port, steps, resp, manner);
        let requests = requests_in_order_of_replies(steps);
        let mut queued: Vec<Vec<Request>> = Vec::new();
        let mut differences = Vec::new();
        for place in 0..redis.len().max(factum.len()) {
            let (connection, request) = requests.get(place).cloned().unwrap_or_default();
            queued.resize(queued.len().max(connection + 1), Vec::new());
            let gathered = &mut queued[connection];
            let shown = |replies: &[io::Result<Value>]| match replies.get(place) {
                Some(Ok(value)) => format!("{:?}", mask(&request, gathered, value.clone())),
                Some(Err(error)) => format!("({error})"),
                None => "(nothing more)".to_owned(),
            };
            let (of_redis, of_factum) = (shown(&redis), shown(&factum));
            match redis.get(place) {
                Some(Ok(Value::Line(b'+', text))) if text == b"QUEUED" => gathered.push(request.clone()),
                _ => gathered.retain(|_| !ends_transaction(&request)),
            }
            if of_redis != of_factum {
                differences.push(Difference { step: request, redis: of_redis, factum: of_factum });
            }
        }
        differences
    }
}

fn ends_transaction(request: &Request) -> bool {
    let name = request.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    [&b"EXEC"[..], b"DISCARD", b"RESET"].contains(&&name[..])
}

/// The same step, with something as harmless for `DEBUG RELOAD`.
fn without_reload(step: &Step) -> Step {
    match step {
        Step::Call(connection, request) if request.len() == 2 && request[1].eq_ignore_ascii_case(b"RELOAD") => {
            Step::Call(*connection, words("DEBUG SET-ACTIVE-EXPIRE 1"))
        }
        step => step.clone(),
    }
}

/// The requests in the order in which their replies are read, and the connections that they come on.
fn requests_in_order_of_replies(steps: &[Step]) -> Vec<(usize, Request)> {
    let mut begun: Vec<Option<Request>> = Vec::new();
    let mut requests = Vec::new();
    for step in steps {
        match step {
            Step::Call(connection, request) => requests.push((*connection, request.clone())),
            Step::Begin(connection, request) => {
                begun.resize(begun.len().max(connection + 1), None);
                begun[*connection] = Some(request.clone());
            }
            Step::End(connection) => {
                requests.extend(begun.get_mut(*connection).and_then(Option::take).map(|request| (*connection, request)));
            }
        }
    }
    requests
}

fn play(port: u16, steps: &[Step], resp: Resp, manner: Manner) -> Vec<io::Result<Value>> {
    let count = steps.iter().map(|step| match step {
        Step::Call(connection, _) | Step::Begin(connection, _) | Step::End(connection) => connection + 1,
    });
    let mut wires: Vec<Wire> = (0..count.max().unwrap_or(1)).map(|_| Wire::connect(port).expect("it listens")).collect();
    if resp == Resp::Three {
        for wire in &mut wires {
            wire.call(&words("HELLO 3")).expect("it answers");
        }
    }
    if manner == Manner::Together {
        let requests: Vec<Request> = requests_in_order_of_replies(steps).into_iter().map(|(_, request)| request).collect();
        let sent = wires[0].send(&requests);
        let mut replies = Vec::new();
        for _ in 0..requests.len() {
            let reply = wires[0].read();
            let is_over = reply.is_err();
            replies.push(reply);
            if is_over {
                break;
            }
        }
        if let Err(error) = sent {
            replies.push(Err(error));
        }
        return replies;
    }
    let mut control = Wire::connect(port).expect("it listens");
    let mut waiting = 0;
    let mut replies = Vec::new();
    for step in steps {
        match step {
            Step::Call(connection, request) => replies.push(wires[*connection].call(request)),
            Step::Begin(connection, request) => {
                wires[*connection].send(std::slice::from_ref(request)).expect("it takes it");
                waiting += 1;
                wait_until_blocked(&mut control, waiting);
            }
            Step::End(connection) => {
                replies.push(wires[*connection].read());
                waiting -= 1;
            }
        }
    }
    replies
}

/// Waits until the server says that so many connections wait, or for a while: what comes then shows whether it was right.
fn wait_until_blocked(control: &mut Wire, count: usize) {
    let looked_for = format!("blocked_clients:{count}\r\n").into_bytes();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if let Ok(Value::Bulk(_, text)) = control.call(&words("INFO clients"))
            && text.windows(looked_for.len()).any(|window| window == looked_for)
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A door on a store in memory, for one sequence.
struct Ours {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
}

impl Ours {
    fn start(runtime: &Runtime) -> Self {
        let (stop, stopped) = oneshot::channel();
        let port = runtime.block_on(async {
            let store = factum::connect("memory:").await.expect("it opens");
            let redis = "127.0.0.1:0".parse().expect("an address");
            let settings = Settings { redis, allow_flush: true, allow_debug: true, ..Settings::default() };
            let server = Server::start(store, settings).await.expect("it starts");
            let port = server.redis_address().expect("it listens").port();
            tokio::spawn(server.serve(async {
                // That nobody stops it, because the test has failed, is as good.
                _ = stopped.await;
            }));
            port
        });
        Self { port, stop: Some(stop) }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        _ = self.stop.take().expect("it is taken once").send(());
    }
}

pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}
