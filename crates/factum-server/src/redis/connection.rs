//! One connection: reads requests, has them carried out, sends the answers, and ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{sleep, timeout};

use super::clients::Ending;
use super::door::Door;
use super::held::Share;
use super::resp::{Output, Parser, ParserLimits, Protocol, ProtocolError, Reply, Request, SendError};
use super::session::Session;

/// What is read at a time, at first, into a place that all connections of a thread share: an idle one holds no buffer, and one that
/// sends little takes little.
const READ_BYTES: usize = 16 << 10;
/// What is read at a time of a connection that sends much at once: requests that arrive together are carried out together.
const READ_BYTES_OF_MANY: usize = 128 << 10;
/// What is read at a time of a request that is long.
const READ_BYTES_MAX: usize = 1 << 20;
/// What may wait to be carried out while something is under way.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// How soon it is noticed that a connection whose client is gone waits for an event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

pub(super) struct Connection {
    door: Arc<Door>,
    socket: OwnedReadHalf,
    session: Session,
    input: BytesMut,
    /// What is read at a time.
    read_bytes: usize,
    parser: Parser,
    /// What the requests take that have arrived whole and are not carried out yet.
    waiting_bytes: usize,
    share: Share,
    output: Output,
    /// Nothing more is read: the client has ended its side, or the server stops.
    is_at_end: bool,
}

/// Why a connection ended, other than by the client's will.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("it sent nothing for {0:?}")]
    Idle(Duration),
    #[error("it was asked to end")]
    Killed,
    #[error(
        "connections hold more than limits.clients_bytes_max together, and this one most, {0} bytes; it is to send and ask for less at a time"
    )]
    HoldsMost(usize),
    #[error("{0}")]
    Sending(#[from] SendError),
}

impl Connection {
    pub(super) fn new(door: Arc<Door>, socket: TcpStream, session: Session) -> Self {
        let (socket, answers) = socket.into_split();
        let limits = &door.settings.limits;
        let share = || Share::new(Arc::clone(&door.clients), Arc::clone(&session.client));
        let output = Output::to(answers, limits.output_bytes_max, limits.output_stall_max, share());
        let share = share();
        Self {
            door,
            socket,
            session,
            input: BytesMut::new(),
            read_bytes: READ_BYTES,
            parser: Parser::default(),
            waiting_bytes: 0,
            share,
            output,
            is_at_end: false,
        }
    }

    /// Serves the connection until one of both sides ends it.
    pub(super) async fn serve(mut self) -> Result<(), Ended> {
        let client = Arc::clone(&self.session.client);
        tokio::select! {
            ended = self.requests_and_answers() => ended,
            why = client.ended() => Err(match why {
                Ending::Asked => Ended::Killed,
                Ending::HoldsMost(bytes) => Ended::HoldsMost(bytes),
            }),
        }
    }

    async fn requests_and_answers(&mut self) -> Result<(), Ended> {
        let client = Arc::clone(&self.session.client);
        let mut stopped = pin!(client.stopped());
        let mut requests = VecDeque::new();
        loop {
            match self.parse(&mut requests) {
                Ok(()) => {}
                Err(error) => {
                    self.run(&mut requests, stopped.as_mut()).await?;
                    self.output.push(&Reply::Error(format!("ERR {error}").into()), Protocol::Two);
                    self.send().await?;
                    return Err(error.into());
                }
            }
            if requests.is_empty() {
                let goes_on = !self.is_at_end
                    && tokio::select! {
                        biased;
                        () = &mut stopped => false,
                        goes_on = self.read() => goes_on?,
                    };
                if !goes_on {
                    return Ok(());
                }
                continue;
            }
            let arrived = Instant::now();
            self.session.client.note(self.session.activity(arrived));
            if !self.run(&mut requests, stopped.as_mut()).await? {
                return Ok(());
            }
            self.door.counters.answered_after(arrived.elapsed());
        }
    }

    /// Takes the whole requests off the input.
    fn parse(&mut self, requests: &mut VecDeque<Request>) -> Result<(), ProtocolError> {
        let limits =
            ParserLimits { request_bytes_max: self.door.settings.limits.request_bytes_max, is_stranger: !self.session.is_authenticated };
        let requests_max = if self.session.is_authenticated { self.door.settings.limits.pipeline_requests_max } else { 1 };
        if requests.is_empty() {
            self.waiting_bytes = 0;
        }
        let (input_bytes, count) = (self.input.len(), requests.len());
        while requests.len() < requests_max {
            match self.parser.next(&mut self.input, limits)? {
                Some(request) => requests.push_back(request),
                None => break,
            }
        }
        self.waiting_bytes += input_bytes - self.input.len() + (requests.len() - count) * size_of::<Request>();
        self.note_held();
        Ok(())
    }

    /// Notes what its requests take.
    fn note_held(&mut self) {
        let begun = self.input.len() + self.parser.held_bytes();
        self.share.note(begun + self.waiting_bytes + self.session.transaction.held_bytes());
    }

    /// Reads what has come, `false` at the end.
    async fn read(&mut self) -> Result<bool, Ended> {
        let is_idle = self.input.is_empty();
        if is_idle {
            // An idle connection keeps no buffer: ten thousand of them are cheap.
            self.input = BytesMut::new();
        }
        let missing = self.parser.needs().saturating_sub(self.input.len());
        let at_least = missing.clamp(self.read_bytes, READ_BYTES_MAX);
        let read = poll_fn(|context| poll_read(&mut self.socket, &mut self.input, at_least, context));
        let received = match self.door.parameters.idle_max() {
            Some(idle_max) if is_idle => timeout(idle_max, read).await.map_err(|_| Ended::Idle(idle_max))??,
            _ => read.await?,
        };
        if received >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_OF_MANY);
        } else if received < self.read_bytes / 4 {
            self.read_bytes = READ_BYTES.max(self.read_bytes / 2);
        }
        self.door.counters.received_bytes.fetch_add(received as u64, Ordering::Relaxed);
        self.note_held();
        Ok(received > 0)
    }

    /// Has the requests carried out and sends the answers, `false` when the connection is to end. `stopped` is ready when it is to finish.
    async fn run(&mut self, requests: &mut VecDeque<Request>, mut stopped: Pin<&mut impl Future<Output = ()>>) -> Result<bool, Ended> {
        while !requests.is_empty() && !self.session.is_ending {
            let client = Arc::clone(&self.session.client);
            let held_bytes = self.waiting_bytes + self.session.transaction.held_bytes();
            {
                // In a box, so that a connection that is idle does not hold the room for it.
                let mut carried_out = Box::pin(self.door.run(&mut self.session, requests, &mut self.output));
                // While it waits, whether for the disk or for an event, the client may go away. What it sent before is carried out
                // and answered, as it may only have closed its own side; but for an event nobody waits in its name.
                loop {
                    let reads_on = !self.is_at_end && self.input.len() < WAITING_BYTES_MAX;
                    tokio::select! {
                        biased;
                        () = &mut carried_out => break,
                        read = poll_fn(|context| poll_read(&mut self.socket, &mut self.input, self.read_bytes, context)), if reads_on => {
                            self.is_at_end = read? == 0;
                            self.share.note(held_bytes + self.input.len());
                        }
                        () = &mut stopped, if !self.is_at_end => self.is_at_end = true,
                        () = async { sleep(LOOK_AGAIN).await }, if self.is_at_end => {
                            if client.is_waiting() {
                                return Ok(false);
                            }
                        }
                    }
                }
            }
            self.send().await?;
        }
        Ok(!self.session.is_ending)
    }

    async fn send(&mut self) -> Result<(), Ended> {
        let sent = self.output.send(KEPT_BYTES_MAX).await?;
        self.door.counters.sent_bytes.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }
}

/// What has come, and 0 at the end. Dropping it loses nothing. Room is made only when there is something: most who wait hear nothing.
fn poll_read(socket: &mut OwnedReadHalf, input: &mut BytesMut, at_least: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if at_least > READ_BYTES {
        ready!(socket.as_ref().poll_read_ready(context))?;
        input.reserve(at_least);
        return pin!(socket.read_buf(input)).poll(context);
    }
    READ.with_borrow_mut(|place| {
        let mut read = ReadBuf::new(place);
        ready!(Pin::new(socket).poll_read(context, &mut read))?;
        input.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}
