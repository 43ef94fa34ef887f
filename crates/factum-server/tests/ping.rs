//! A client connects, asks whether anyone is there, and is answered.

use std::time::Duration;

use factum_server::{Server, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn requests_are_answered_in_order() {
    let store = factum::connect("memory:").await.expect("it opens");
    let settings = Settings { redis: "127.0.0.1:0".parse().expect("an address"), ..Settings::default() };
    let server = Server::start(store, settings).await.expect("it starts");
    let address = server.redis_address().expect("it listens");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { stopped.await.expect("it is stopped") }));

    let mut client = TcpStream::connect(address).await.expect("it connects");
    client.write_all(b"*1\r\n$4\r\nPING\r\nECHO a\r\nNO such thing\r\n*1\r\n$4\r\nQUIT\r\n").await.expect("it writes");
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.expect("it reads");
    assert_eq!(answers, "+PONG\r\n$1\r\na\r\n-ERR unknown command 'NO', with args beginning with: 'such' 'thing' \r\n+OK\r\n");

    stop.send(()).expect("it serves");
    tokio::time::timeout(Duration::from_secs(60), serving).await.expect("it stops").expect("it does not panic").expect("it closes");
}
