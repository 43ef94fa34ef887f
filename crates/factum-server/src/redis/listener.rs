//! Takes connections in, as many as there may be, and lets them finish when the server stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::{Connection, Ended};
use super::door::Door;
use super::resp::SendError;
use super::session::Session;

/// How long connections have to finish when the server stops.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// Listens for programs that speak to Redis.
pub(crate) struct Listener {
    door: Arc<Door>,
    socket: TcpListener,
}

impl Listener {
    /// Listens where the settings say.
    pub(crate) async fn bind(door: Arc<Door>) -> io::Result<Self> {
        let socket = TcpListener::bind(door.settings.redis).await?;
        Ok(Self { door, socket })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` is ready, then lets the connections finish what is under way.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((socket, address)) => self.take_in(&mut connections, socket, address),
                    Err(error) => {
                        // Mostly that no more files may be open; connections that end make room.
                        tracing::warn!(%error, "can't take in a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut stop => break,
            }
        }
        drop(self.socket);
        for client in self.door.clients.all() {
            client.stop();
        }
        let finish = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_MAX, finish).await.is_err() {
            tracing::warn!("some connections did not finish in time; what they were answered is safe");
        }
    }

    fn take_in(&self, connections: &mut JoinSet<()>, mut socket: TcpStream, address: SocketAddr) {
        let door = Arc::clone(&self.door);
        let clients_max = door.parameters.clients_max();
        if door.clients.len() >= clients_max {
            door.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%address, clients_max, "refused a connection: there are too many");
            connections.spawn(async move {
                let _ = socket.write_all(b"-ERR max number of clients reached\r\n").await;
            });
            return;
        }
        door.counters.connections.fetch_add(1, Ordering::Relaxed);
        let _ = socket.set_nodelay(true);
        let local_address = socket.local_addr().unwrap_or(door.settings.redis);
        let client = door.clients.enter(address, local_address);
        let session = Session::new(Arc::clone(&client), door.settings.password.is_none());
        connections.spawn(async move {
            let ended = Connection::new(Arc::clone(&door), socket, session).serve().await;
            door.clients.leave(client.id);
            match ended {
                Ok(()) => {}
                Err(error @ (Ended::Sending(SendError::Stalled(_)) | Ended::Protocol(_) | Ended::HoldsMost(_))) => {
                    door.counters.connections_cut_off.fetch_add(1, Ordering::Relaxed);
                    if matches!(error, Ended::HoldsMost(_)) {
                        door.counters.connections_evicted.fetch_add(1, Ordering::Relaxed);
                    }
                    tracing::warn!(client = client.id, %address, "cut off a connection: {error}");
                }
                Err(error) => tracing::debug!(client = client.id, %address, "a connection ended: {error}"),
            }
        });
    }
}
