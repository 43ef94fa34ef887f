//! What can't be compared with Redis 7.0: exchanging databases on a disk that is full, or with streams of one name, and WAITAOF.

use super::{Client, Fate, Fated, door};

#[tokio::test]
async fn databases_are_exchanged_by_one_append_or_not_at_all() {
    let store = Fated::new().await;
    let door = door(&store);
    let mut client = Client::of(&door);
    client.ask("SET a 1 \n XADD s 1-0 f v \n SELECT 1 \n SET a 2 \n HSET h f v \n SELECT 0 \n DBSIZE").await;
    store.next(Fate::Refused);
    let refused = client.ask("SWAPDB 0 1").await;
    assert!(refused.starts_with("-MISCONF "), "{refused}");
    let looked_at = "GET a \n XLEN s \n EXISTS h \n SELECT 1 \n GET a \n XLEN s \n EXISTS h \n SELECT 0";
    assert_eq!(client.ask(looked_at).await, "$1 1 :1 :0 +OK $1 2 :0 :1 +OK ");
    let before = store.appends.lock().expect("no holder panics").len();
    assert_eq!(client.ask("SWAPDB 0 1").await, "+OK ");
    assert_eq!(store.appends.lock().expect("no holder panics").len(), before + 1);
    assert_eq!(client.ask(looked_at).await, "$1 2 :0 :1 +OK $1 1 :1 :0 +OK ");
    // And so it stands in the store.
    assert_eq!(client.ask("DEBUG RELOAD").await, "+OK ");
    assert_eq!(client.ask(looked_at).await, "$1 2 :0 :1 +OK $1 1 :1 :0 +OK ");
}

#[tokio::test]
async fn streams_of_one_name_keep_both_databases_as_they_are() {
    let door = door(&Fated::new().await);
    let mut client = Client::of(&door);
    client.ask("SET a 1 \n XADD s 1-0 f v \n SELECT 1 \n XADD s 2-0 f v \n SELECT 0").await;
    let refused = client.ask("SWAPDB 0 1 \n MULTI \n SET b 1 \n SWAPDB 1 0 \n EXEC").await;
    assert_eq!(refused.matches("-ERR s is a stream in both databases").count(), 2, "{refused}");
    assert_eq!(client.ask("GET a \n GET b \n XRANGE s - + \n SELECT 1 \n EXISTS a b").await, "$1 1 $1 1 *1 *2 $3 1-0 *2 $1 f $1 v +OK :0 ");
}

#[tokio::test]
async fn waiting_for_this_disk_is_over_at_once() {
    let mut client = Client::of(&door(&Fated::new().await));
    assert_eq!(client.ask("SET k v \n WAITAOF 1 0 0 \n WAITAOF 0 1 10").await, "+OK *2 :1 :0 *2 :1 :0 ");
    let wrong = client.ask("WAITAOF 2 0 0 \n WAITAOF x 0 0 \n WAITAOF 1 -1 0 \n WAITAOF 1 0 -1 \n WAITAOF 1 0").await;
    assert_eq!(
        wrong,
        "-ERR value is out of range, value must between 0 and 1 -ERR value is not an integer or out of range \
         -ERR value is out of range, must be positive -ERR timeout is negative \
         -ERR wrong number of arguments for 'waitaof' command "
    );
}
