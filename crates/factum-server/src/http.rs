//! The port for whoever watches over the server: `/health` and `/metrics`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::metrics;
use crate::redis::{Door, password};

/// Watchers are few.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's header may take to arrive.
const HEADER_MAX: Duration = Duration::from_secs(10);

/// Listens for whoever watches.
pub(crate) struct Http {
    door: Arc<Door>,
    socket: TcpListener,
    address: SocketAddr,
}

impl Http {
    pub(crate) async fn bind(door: Arc<Door>, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { door, address: socket.local_addr()?, socket })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    /// Serves for ever.
    pub(crate) async fn serve(self) {
        let asks_for_password = !self.address.ip().is_loopback();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(connection(Arc::clone(&self.door), socket, asks_for_password));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't take in a connection that asks for metrics or health");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(door: Arc<Door>, socket: TcpStream, asks_for_password: bool) {
    let service = service_fn(|request| answer(&door, request, asks_for_password));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX);
    if let Err(error) = protocol.serve_connection(TokioIo::new(socket), service).await {
        tracing::debug!(%error, "a connection that asks for metrics or health ended");
    }
}

async fn answer<B>(door: &Door, request: Request<B>, asks_for_password: bool) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_reading = request.method() == Method::GET || request.method() == Method::HEAD;
    let response = match request.uri().path() {
        _ if !is_reading => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        "/health" if door.keyspace.is_suspended() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "another server may have taken over the store; the log has the reason\n")
        }
        "/health" => match door.store.head().await {
            Ok(_) => text(StatusCode::OK, "ok\n"),
            Err(error) => {
                tracing::error!(%error, "not healthy: the store does not answer");
                text(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; the log has the reason\n")
            }
        },
        "/metrics" if asks_for_password && !has_password(door, &request) => {
            let mut response = text(StatusCode::UNAUTHORIZED, "send the password as Authorization: Bearer PASSWORD\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, hyper::header::HeaderValue::from_static("Bearer"));
            response
        }
        "/metrics" => {
            let mut response = text(StatusCode::OK, metrics::of(door).await);
            let prometheus = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, prometheus);
            response
        }
        "/" => text(StatusCode::OK, "Factum. /health says whether it works, /metrics tells Prometheus how.\n"),
        _ => text(StatusCode::NOT_FOUND, "there is /health and /metrics\n"),
    };
    Ok(response)
}

fn has_password<B>(door: &Door, request: &Request<B>) -> bool {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match (&door.settings.password, given) {
        (Some(password), Some(given)) => password::is(password, given),
        (_, _) => false,
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
