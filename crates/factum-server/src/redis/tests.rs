//! The door over stores that fail, wait, or are written to by others.

mod batches;
mod exchange;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use factum::{
    Append, Capabilities, Error, EventStore, EventStoreExt, EventStream, ExpectedVersion, GlobalPosition, InfoStream, ListStreams,
    NewEvent, ReadLog, ReadStream, Receipt, Record, RecordName, RecordVersion, RecordWrite, Result, SharedStore, Stats, StreamId,
    StreamInfo, StreamVersion, connect,
};
use tokio::sync::Semaphore;

use super::door::Door;
use super::resp::{Output, Request};
use super::session::Session;
use crate::Settings;

/// What happens to the next append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The disk is full: nothing is recorded.
    Refused,
    /// It is recorded, and nobody hears of it.
    Unheard,
}

/// The store in memory, with appends that fail, or wait for a permit.
pub(super) struct Fated {
    inner: SharedStore,
    writes_left: AtomicU64,
    written: Mutex<Vec<RecordName>>,
    fates: Mutex<VecDeque<Fate>>,
    appends: Mutex<Vec<(usize, usize)>>,
    permits: Semaphore,
}

impl Fated {
    pub(super) async fn new() -> Arc<Self> {
        let inner = connect("memory:").await.expect("it opens");
        let (writes_left, written) = (AtomicU64::new(u64::MAX), Mutex::default());
        Arc::new(Self {
            inner,
            writes_left,
            written,
            fates: Mutex::default(),
            appends: Mutex::default(),
            permits: Semaphore::new(1_000_000),
        })
    }

    /// Lets so many more records be written alone, or streams truncated, and refuses the next.
    pub(super) fn let_through(&self, writes: u64) {
        self.writes_left.store(writes, Ordering::Relaxed);
    }

    /// The records that were written alone.
    pub(super) fn written_records(&self) -> Vec<RecordName> {
        self.written.lock().expect("no holder panics").clone()
    }

    fn count_write(&self) -> Result<()> {
        let take = |left: u64| left.checked_sub(1);
        let outcome = self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        outcome.map(drop).map_err(|_| Error::Unavailable { reason: "the disk is full".to_owned(), source: None })
    }

    fn next(&self, fate: Fate) {
        self.fates.lock().expect("no holder panics").push_back(fate);
    }
}

#[async_trait]
impl EventStore for Fated {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        self.permits.acquire().await.expect("it is not closed").forget();
        self.appends.lock().expect("no holder panics").push((append.events(), append.records.len()));
        let fate = self.fates.lock().expect("no holder panics").pop_front();
        match fate {
            Some(Fate::Refused) => Err(Error::Unavailable { reason: "the disk is full".to_owned(), source: None }),
            Some(Fate::Unheard) => {
                self.inner.append(append).await?;
                Err(Error::OutcomeUnknown { reason: "the sync failed".to_owned(), source: None })
            }
            None => self.inner.append(append).await,
        }
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.inner.read_stream(stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        self.inner.read_log(options)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.inner.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.inner.wait_after(position).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.inner.stream(stream).await
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        self.inner.streams(options)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.count_write()?;
        self.inner.truncate_before(stream, before).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.inner.record(name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        self.count_write()?;
        self.written.lock().expect("no holder panics").push(write.name.clone());
        self.inner.write_record(write).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.inner.stats().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

pub(super) fn door(store: &Arc<Fated>) -> Arc<Door> {
    let store: SharedStore = Arc::<Fated>::clone(store);
    Arc::new(Door::new(store, Settings { allow_flush: true, allow_debug: true, ..Settings::default() }))
}

/// A connection, without its socket.
pub(super) struct Client {
    door: Arc<Door>,
    session: Session,
}

impl Client {
    pub(super) fn of(door: &Arc<Door>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let session = Session::new(door.clients.enter(address, address), true);
        Self { door: Arc::clone(door), session }
    }

    /// Sends requests together, a line each, and gives the answers as they would be sent.
    pub(super) async fn ask(&mut self, lines: &str) -> String {
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut requests: VecDeque<Request> = lines.map(|line| line.split(' ').collect()).collect();
        let mut output = Output::default();
        while !requests.is_empty() {
            self.door.run(&mut self.session, &mut requests, &mut output).await;
        }
        String::from_utf8_lossy(output.bytes_mut()).replace("\r\n", " ")
    }
}

#[tokio::test]
async fn what_was_not_recorded_leaves_no_trace() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    assert_eq!(client.ask("XADD s 1-0 f before \n GET k").await, "$3 1-0 $-1 ");
    store.next(Fate::Refused);
    let refused = client.ask("XADD s 2-0 f lost \n SET k lost").await;
    assert_eq!(refused.matches("-MISCONF Errors writing to the AOF file: not recorded: ").count(), 2, "{refused}");
    assert_eq!(client.ask("XLEN s \n GET k \n EXISTS k").await, ":1 $-1 :0 ");
    // There is room again.
    assert_eq!(client.ask("XADD s 2-0 f after \n XLEN s").await, "$3 2-0 :2 ");
    assert_eq!(store.inner.load(&StreamId::new("s").expect("valid")).await.expect("it reads").len(), 2);
}

#[tokio::test]
async fn fields_are_scanned_without_their_values() {
    // In Redis since 7.4, so that the version that the others are compared with does not know it.
    let mut client = Client::of(&door(&Fated::new().await));
    let scanned = client.ask("HSET h one 1 two 2 \n HSCAN h 0 NOVALUES \n HSCAN h 0 NOVALUES MATCH t* \n HSCAN h 0 MATCH t*").await;
    assert_eq!(scanned, ":2 *2 $1 0 *2 $3 one $3 two *2 $1 0 *1 $3 two *2 $1 0 *2 $3 two $1 2 ");
}

#[tokio::test]
async fn fields_expire_and_the_key_with_the_last() {
    let mut client = Client::of(&door(&Fated::new().await));
    client.ask("HSET h one 1 two 2 three 3").await;
    let set = client.ask("HEXPIRE h 100 FIELDS 2 one none \n HEXPIRE h 200 NX FIELDS 2 one two \n HEXPIRE h 50 GT FIELDS 1 one").await;
    assert_eq!(set, "*2 :1 :-2 *2 :0 :1 *1 :0 ");
    assert_eq!(client.ask("HTTL h FIELDS 4 one two three none \n HPERSIST h FIELDS 2 one three").await, "*4 :100 :200 :-1 :-2 *2 :1 :-1 ");
    // A field that is written keeps, one that is counted up expires as before, and both are so in the record.
    client.ask("HSET h two 5 \n HEXPIREAT h 33177117420 FIELDS 1 three \n HINCRBY h three 1 \n DEBUG RELOAD").await;
    assert_eq!(client.ask("HEXPIRETIME h FIELDS 3 one two three").await, "*3 :-1 :-1 :33177117420 ");
    assert_eq!(client.ask("HPEXPIRE h 20 FIELDS 1 one \n HEXPIREAT h 1 FIELDS 1 two").await, "*1 :1 *1 :2 ");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(client.ask("HGETALL h \n HLEN h \n HTTL h FIELDS 1 one").await, "*2 $5 three $1 4 :1 *1 :-2 ");
    client.ask("HPEXPIRE h 20 FIELDS 1 three \n WATCH h").await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(client.ask("KEYS h* \n EXISTS h \n DBSIZE \n MULTI \n PING \n EXEC").await, "*0 :0 :0 +OK +QUEUED *-1 ");
    let refused =
        client.ask("HEXPIRE h -1 FIELDS 1 f \n HEXPIRE h 1 FIELDS 2 f \n HTTL h ONE 1 f \n HPEXPIRE h 999999999999999 FIELDS 1 f").await;
    assert_eq!(refused.matches("-ERR ").count(), 4, "{refused}");
}

#[tokio::test]
async fn an_unknown_outcome_is_said_and_then_looked_up() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    store.next(Fate::Unheard);
    let unknown = client.ask("INCR k").await;
    assert!(unknown.contains("it is not known whether this was recorded"), "{unknown}");
    assert_eq!(client.ask("GET k \n INCR k").await, "$1 1 :2 ");
}

#[tokio::test]
async fn a_transaction_is_one_append_whatever_it_holds() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    client.ask("GET k \n HGET h f \n XLEN s").await;
    let answer = client.ask("MULTI \n XADD s 1-0 f v \n XADD t 1-0 f v \n SET k 1 \n HSET h f v \n XGROUP CREATE s g 0 \n EXEC").await;
    assert!(answer.ends_with("*5 $3 1-0 $3 1-0 +OK :1 +OK "), "{answer}");
    // Two entries and the names of two keys; the records of both, of the stream and of the group.
    assert_eq!(*store.appends.lock().expect("no holder panics"), [(3, 4)]);
    store.next(Fate::Refused);
    let refused = client.ask("MULTI \n XADD s 2-0 f v \n SET k 2 \n EXEC").await;
    assert!(refused.contains("-MISCONF Errors writing to the AOF file: not recorded: "), "{refused}");
    assert_eq!(client.ask("XLEN s \n GET k").await, ":1 $1 1 ");
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_durable() {
    let store = Fated::new().await;
    let door = door(&store);
    let (mut writer, mut reader) = (Client::of(&door), Client::of(&door));
    writer.ask("XADD s 1-0 f v \n SET k old").await;
    store.permits.forget_permits(usize::MAX >> 4);
    let writing = tokio::spawn(async move { writer.ask("XADD s 2-0 f v \n SET k new").await });
    while door.keyspace.lock().stamp_for_tests() < 4 {
        tokio::task::yield_now().await;
    }
    let reading = tokio::spawn(async move { reader.ask("XLEN s \n GET k").await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!reading.is_finished() && !writing.is_finished());
    store.permits.add_permits(1_000);
    assert_eq!(writing.await.expect("it ends"), "$3 2-0 +OK ");
    assert_eq!(reading.await.expect("it ends"), ":2 $3 new ");
}

#[tokio::test]
async fn what_a_client_asked_for_is_recorded_even_if_it_is_gone() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    client.ask("GET k").await;
    store.permits.forget_permits(usize::MAX >> 4);
    // It hangs up while its transaction is on its way.
    let gone = tokio::time::timeout(Duration::from_millis(20), client.ask("MULTI \n SET k 1 \n XADD s 1-0 f v \n EXEC")).await;
    assert!(gone.is_err());
    store.permits.add_permits(1_000);
    assert_eq!(Client::of(&door).ask("GET k \n XLEN s").await, "$1 1 :1 ");
}

#[tokio::test]
async fn appends_of_others_are_built_upon_and_not_overwritten() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    let order = StreamId::new("Order-1").expect("valid");
    client.ask("XADD Order-1 1-0 type OrderPlaced total 42").await;
    for _ in 0..20 {
        let event = NewEvent::json("OrderPaid", &"by card").expect("it is JSON");
        store.inner.append_to(&order, ExpectedVersion::Any, vec![event]).await.expect("it is appended");
        let answer = client.ask("XADD Order-1 * type OrderNoted note x").await;
        assert!(answer.starts_with('$'), "{answer}");
    }
    assert_eq!(client.ask("XLEN Order-1").await, ":41 ");
    let all = client.ask("XRANGE Order-1 - +").await;
    assert_eq!(client.ask("DEBUG RELOAD \n XRANGE Order-1 - +").await, format!("+OK {all}"));
    assert_eq!(all.matches("$10 event_type $9 OrderPaid $12 aggregate_id $1 1 $14 aggregate_type $5 Order ").count(), 20, "{all}");
    let back = client.ask("XREVRANGE Order-1 + - COUNT 1").await;
    assert!(back.contains("OrderNoted"), "{back}");
}

#[tokio::test]
async fn whoever_waits_is_woken_by_what_others_append() {
    let store = Fated::new().await;
    let door = door(&store);
    let order = StreamId::new("Order-2").expect("valid");
    let mut client = Client::of(&door);
    let waiting = tokio::spawn(async move { client.ask("XREAD BLOCK 60000 STREAMS Order-2 $").await });
    while door.keyspace.lock().blocked_for_tests() == 0 {
        tokio::task::yield_now().await;
    }
    let event = NewEvent::json("OrderPaid", &1).expect("it is JSON");
    store.inner.append_to(&order, ExpectedVersion::NoStream, vec![event]).await.expect("it is appended");
    let answer = waiting.await.expect("it ends");
    assert!(answer.contains("OrderPaid"), "{answer}");
    assert_eq!(door.keyspace.lock().blocked_for_tests(), 0);
}

#[tokio::test]
async fn a_door_that_starts_finds_everything_as_it_was() {
    let store = Fated::new().await;
    let mut client = Client::of(&door(&store));
    client
        .ask(
            "XADD s 1-0 f v \n XADD s 2-0 f v \n XADD s 3-0 f v \n XGROUP CREATE s g 0 \n XREADGROUP GROUP g c COUNT 2 STREAMS s > \n XACK s g 1-0
             XDEL s 3-0 \n SET k v EX 1000 \n HSET h f v g w \n SET gone 1 \n DEL gone \n XADD t 1-0 f v \n DEL t \n XGROUP CREATE u g $ MKSTREAM",
        )
        .await;
    let questions =
        "XRANGE s - + \n XPENDING s g \n XINFO GROUPS s \n XREADGROUP GROUP g c STREAMS s 0 \n GET k \n HGETALL h \n EXISTS gone t u
                     DBSIZE \n TYPE u \n XADD s 3-0 f v";
    let before = client.ask(questions).await;
    let mut other = Client::of(&door(&store));
    let after = other.ask(questions).await;
    assert!(after.contains("-ERR The ID specified in XADD is equal or smaller"), "{after}");
    assert_eq!(before, after);
    assert_eq!(other.ask("XADD t 1-0 f v").await, "$3 1-0 ");
}

#[tokio::test]
async fn our_verbs_append_once_and_as_expected() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let append =
        format!("FACTUM.APPEND Order-1 none EVENT OrderPlaced {{\"total\":42}} ID {id} TAG customer:1 STREAM Stock-7 any EVENT Taken 1");
    let first = client.ask(&append).await;
    assert!(first.contains("$6 stream $7 Order-1 $13 first-version :1 $12 last-version :1"), "{first}");
    // Sent again, it is recognised; told to expect what is no more, it is refused.
    let conflict = client.ask("FACTUM.APPEND Order-1 0 EVENT OrderPlaced {}").await;
    assert!(conflict.starts_with("-CONFLICT conflict in stream Order-1: expected version 0, but it is at version 1"), "{conflict}");
    let again = client.ask(&format!("FACTUM.APPEND Order-1 none EVENT OrderPlaced {{\"total\":42}} ID {id}")).await;
    assert!(again.contains("$9 duplicate :1"), "{again}");
    // What was appended is an entry, and what is added is an event.
    assert_eq!(
        client.ask("XLEN Order-1 \n XADD Order-1 * type OrderPaid data {\"paid\":true} \n XLEN Order-1").await.matches(":1 $").count(),
        1
    );
    let paid = client.ask("FACTUM.READ TYPE OrderPaid").await;
    assert!(paid.contains("$4 type $9 OrderPaid") && paid.starts_with("*1 "), "{paid}");
    assert!(client.ask("FACTUM.READ TAG customer:1").await.contains("OrderPlaced"));
    assert!(client.ask("FACTUM.READ CATEGORY Stock COUNT 5").await.contains("Taken"));
    assert_eq!(client.ask("FACTUM.STATE Order-1").await, "*4 $7 version :2 $5 state $24 {\"paid\":true,\"total\":42} ");
    assert_eq!(client.ask("FACTUM.STATE Order-1 VERSION 1").await, "*4 $7 version :1 $5 state $12 {\"total\":42} ");
    assert!(client.ask("MULTI \n FACTUM.STATE Order-1 \n EXEC").await.contains("-EXECABORT"));
}

#[tokio::test]
async fn in_an_ordered_group_the_next_event_of_a_stream_waits_for_the_one_before() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    client.ask("FACTUM.APPEND Order-1 none EVENT A 1 EVENT B 2 STREAM Order-2 none EVENT C 3").await;
    let read = "FACTUM.GROUP READ g c COUNT 10 BLOCK 10000 CATEGORY Order";
    let first = client.ask(read).await;
    assert!(first.contains("$4 type $1 A ") && !first.contains("$4 type $1 B "), "{first}");
    let position =
        |given: &str| given.split("$8 position :").nth(1).and_then(|rest| rest.split(' ').next()).expect("it has one").to_owned();
    // Put back, it comes again, with the next attempt.
    assert_eq!(client.ask(&format!("FACTUM.GROUP NACK g c {}", position(&first))).await, ":1 ");
    let mut given = client.ask(read).await;
    while !given.contains("$4 type $1 A ") {
        given = client.ask(read).await;
    }
    assert!(given.contains("$7 attempt :2"), "{given}");
    assert_eq!(client.ask("FACTUM.GROUP ACK g c 1").await, ":1 ");
    let mut given = client.ask(read).await;
    while !given.contains("$4 type $1 B ") {
        given = client.ask(read).await;
    }
    assert_eq!(client.ask("FACTUM.GROUP PARK g c 2 REASON broken").await, ":1 ");
    assert_eq!(client.ask("FACTUM.GROUP LEAVE g c").await, ":1 ");
    let info = client.ask("FACTUM.GROUP INFO g").await;
    assert!(info.contains("$3 key $7 Order-1 $6 parked :1"), "{info}");
}

/// A command with a bug took the whole keyspace with it: every client that came later was cut off.
#[tokio::test]
async fn a_bug_in_a_command_ends_that_command_and_not_the_server() {
    let store = Fated::new().await;
    let door = door(&store);
    let (mut first, mut second, mut third) = (Client::of(&door), Client::of(&door), Client::of(&door));
    first.ask("SET k old \n GET other").await;
    let watches = third.session.transaction.watches_for_tests();
    let poisoned = std::thread::spawn(move || {
        let _guard = watches.lock().expect("no holder panics");
        panic!("a bug, on purpose");
    });
    assert!(poisoned.join().is_err());
    store.permits.forget_permits(usize::MAX >> 4);
    let on_its_way = tokio::spawn(async move { first.ask("SET k new").await });
    while !door.keyspace.lock().is_sending_for_tests() {
        tokio::task::yield_now().await;
    }
    let gathered = tokio::spawn(async move { second.ask("SET other 1").await });
    while !door.keyspace.lock().is_gathering_for_tests() {
        tokio::task::yield_now().await;
    }
    let failed = third.ask("SET k third \n WATCH k \n PING").await;
    assert_eq!(failed.matches("-ERR not recorded: a command failed, which is a bug").count(), 2, "{failed}");
    assert!(failed.ends_with("+PONG "), "{failed}");
    assert!(gathered.await.expect("it ends").starts_with("-ERR not recorded: "));
    let asking = tokio::spawn(async move { Client::of(&door).ask("GET k \n GET other \n INCR n").await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished(), "what is on its way is waited for");
    store.permits.add_permits(1_000);
    assert_eq!(on_its_way.await.expect("it ends"), "+OK ");
    assert_eq!(asking.await.expect("it ends"), "$3 new $-1 :1 ");
}

#[tokio::test]
async fn any_number_of_keys_can_be_flushed() {
    let store = Fated::new().await;
    let mut client = Client::of(&door(&store));
    for part in 0..10 {
        let pairs: Vec<String> = (0..500).map(|key| format!("key-{part}-{key} v")).collect();
        assert_eq!(client.ask(&format!("MSET {}", pairs.join(" "))).await, "+OK ");
        client.ask(&format!("XADD stream-{part} 1-0 f v")).await;
    }
    assert_eq!(client.ask("DBSIZE").await, ":5010 ");
    let refused = client.ask("MULTI \n FLUSHALL \n EXEC").await;
    assert!(refused.contains("too many to be removed within EXEC"), "{refused}");
    assert_eq!(client.ask("FLUSHALL \n DBSIZE \n DEBUG RELOAD \n DBSIZE \n XLEN stream-3").await, "+OK :0 +OK :0 :0 ");
}

/// What is known of the ids before an entry that is added is not kept when it is added; trimming asked for it then.
#[tokio::test]
async fn trimming_by_id_goes_with_adding() {
    let store = Fated::new().await;
    let mut client = Client::of(&door(&store));
    for id in 1..200 {
        let oldest = if id >= 5 { id - 5 } else { 1_000 };
        assert_eq!(client.ask(&format!("XADD s MINID {oldest} {id} f v")).await, format!("${} {id}-0 ", id.to_string().len() + 2));
        assert_eq!(client.ask("XLEN s").await, format!(":{} ", if id < 5 { 0 } else { (id - 4).min(6) }));
    }
    // Nodes are counted from where the stream begins, also if there was another one in its place.
    client.ask("DEL s").await;
    for _ in 0..100 {
        client.ask(&"XADD s MAXLEN ~ 555 * f v\n".repeat(10)).await;
    }
    assert_eq!(client.ask("XLEN s").await, ":600 ");
}

#[tokio::test]
async fn values_that_are_too_much_for_one_append_go_in_several() {
    // Ten values of ten million bytes that arrived together were once sent as one append, and refused as one.
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    let lines: Vec<String> = (0..10).map(|key| format!("SET k{key} {}", "x".repeat(10_000_000))).collect();
    assert_eq!(client.ask(&lines.join("\n")).await, "+OK ".repeat(10));
    assert_eq!(client.ask("STRLEN k9 \n DEBUG RELOAD \n STRLEN k0").await, ":10000000 +OK :10000000 ");
    let refused = client.ask(&format!("SET k {}", "x".repeat(17_000_000))).await;
    assert!(refused.starts_with("-ERR the "), "{refused}");
    assert_eq!(client.ask("EXISTS k").await, ":0 ");
}

#[tokio::test]
async fn keys_that_are_dropped_and_read_again_are_remembered_once() {
    // Each of our own appends makes the door read the stream again; what it kept for eviction grew with every one.
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    for _ in 0..3_000 {
        client.ask("FACTUM.APPEND Order-1 any EVENT Noted 1 \n XLEN Order-1").await;
    }
    assert_eq!(client.ask("XLEN Order-1").await, ":3000 ");
    assert!(door.keyspace.lock().remembered_for_tests() < 2_000);
}

#[tokio::test]
async fn info_counts_keys_after_a_restart() {
    let store = Fated::new().await;
    let mut client = Client::of(&door(&store));
    client.ask("SET a 1 EX 1000 \n SET b 2 \n XADD s 1 f v \n XADD gone 1 f v \n DEL gone \n SELECT 3 \n HSET h f v").await;
    let expected = "db0:keys=3,expires=1,avg_ttl=0 db3:keys=1,expires=0,avg_ttl=0";
    for question in ["INFO keyspace", "INFO", "INFO everything"] {
        let told = Client::of(&door(&store)).ask(question).await;
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(Client::of(&door(&store)).ask("MULTI \n INFO keyspace \n EXEC").await.matches("QUEUED").count(), 1);
    client.ask("DEL h \n SELECT 0 \n PERSIST a \n DEL b").await;
    assert!(client.ask("INFO keyspace").await.contains("db0:keys=2,expires=0,avg_ttl=0 "));
}
