//! PostgreSQL's wire protocol. In: a TCP connection. Out: a [`connection`] with a user who proved a
//! password, or a refusal; a request to cancel; or nothing. Nobody is served in plain text where TLS is
//! on, nobody holds a connection without logging in, and bytes that came before the handshake of TLS are
//! not taken for the client's.

mod connection;
mod failure;
mod rewrite;
mod rows;
mod settings;
mod startup;
mod statement;

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};
use pgwire::api::{ClientInfo, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::negotiate_tls;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use self::failure::{Failure, fatal};
use self::statement::Reader;
use super::desk::{Desk, Phase, reached};
use super::meters::Protocol;

/// The PostgreSQL that clients are told to speak to.
pub(super) const SERVER_VERSION: &str = "16.6";
const SERVER_VERSION_NUM: &str = "160006";

/// The value that a parameter has until it is set.
pub(super) fn default_setting(name: &str) -> Option<String> {
    settings::Settings::default()
        .show(name)
        .ok()
        .map(str::to_owned)
}

/// Bytes of rows that are gathered before they are sent.
const GATHERED_BYTES: usize = 64 << 10;

/// What every connection of this protocol shares.
pub(super) struct Postgres {
    desk: Arc<Desk>,
    reader: Reader,
    tls: Option<TlsAcceptor>,
    process_ids: AtomicI32,
    /// Who may cancel what: the number and the secret of a connection.
    cancels: Mutex<HashMap<(i32, Bytes), Arc<Notify>>>,
}

/// A connection, whatever is below it.
trait Wire:
    Stream<Item = Result<PgWireFrontendMessage, PgWireError>>
    + Sink<PgWireBackendMessage, Error = std::io::Error>
    + ClientInfo
    + Unpin
    + Send
    + Sync
{
}

impl<W> Wire for W where
    W: Stream<Item = Result<PgWireFrontendMessage, PgWireError>>
        + Sink<PgWireBackendMessage, Error = std::io::Error>
        + ClientInfo
        + Unpin
        + Send
        + Sync
{
}

/// Reads from a connection: the bytes that came and are no message yet can be seen.
struct Inbox<B> {
    buffered: B,
    message_bytes_max: usize,
}

impl<B> Inbox<B> {
    /// The next message; `None` when the client is gone.
    async fn next<W>(&self, wire: &mut W) -> Option<Result<PgWireFrontendMessage, ErrorInfo>>
    where
        W: Wire,
        B: for<'a> Fn(&'a W) -> &'a [u8],
    {
        let starting = matches!(
            wire.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AwaitingSslRequest
        );
        let next = poll_fn(|cx| match wire.poll_next_unpin(cx) {
            Poll::Pending if !starting && self.announces_too_much(wire) => {
                let told = format!("a message is longer than {} bytes", self.message_bytes_max);
                Poll::Ready(Some(Err(fatal("08P01", told))))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Some(Ok(message))),
            Poll::Ready(Some(Err(PgWireError::IoError(_)))) => Poll::Ready(None),
            Poll::Ready(Some(Err(e))) => Poll::Ready(Some(Err(fatal("08P01", e.to_string())))),
        });
        // The library's decoders trust lengths inside of a message.
        match AssertUnwindSafe(next).catch_unwind().await {
            Ok(next) => next,
            Err(_) => Some(Err(fatal("08P01", "a message is malformed"))),
        }
    }

    fn announces_too_much<W>(&self, wire: &W) -> bool
    where
        B: for<'a> Fn(&'a W) -> &'a [u8],
    {
        match (self.buffered)(wire) {
            [_, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                usize::try_from(length).map_or(true, |length| length > self.message_bytes_max)
            }
            _ => false,
        }
    }
}

fn inbox<W, B>(_: &W, message_bytes_max: usize, buffered: B) -> Inbox<B>
where
    B: for<'a> Fn(&'a W) -> &'a [u8],
{
    Inbox {
        buffered,
        message_bytes_max,
    }
}

async fn tell(wire: &mut impl Wire, info: ErrorInfo) -> std::io::Result<()> {
    let told = PgWireBackendMessage::ErrorResponse(info.into());
    wire.send(told).await
}

/// The bytes of an error, for a client that gets no connection.
fn error_bytes(info: ErrorInfo) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    let told = PgWireBackendMessage::ErrorResponse(info.into());
    match told.encode(&mut bytes) {
        Ok(()) => bytes.to_vec(),
        Err(_) => Vec::new(),
    }
}

impl Postgres {
    pub(super) fn new(desk: Arc<Desk>, tls: Option<TlsAcceptor>) -> Self {
        Self {
            desk,
            reader: Reader::new(),
            tls,
            process_ids: AtomicI32::new(1),
            cancels: Mutex::new(HashMap::new()),
        }
    }

    /// Accepts connections until the server closes, then waits for those that are open.
    pub(super) async fn serve(self, listener: TcpListener) {
        let postgres = Arc::new(self);
        let mut phase = postgres.desk.phase.clone();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let postgres = Arc::clone(&postgres);
                        connections.spawn(async move { postgres.admit(stream).await });
                    }
                    // Out of file descriptors, perhaps: others end in the meantime.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                () = reached(&mut phase, Phase::Closing) => break,
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn admit(&self, mut stream: TcpStream) {
        match self.desk.connect(Protocol::Postgres) {
            Some(_connected) => self.meet(stream).await,
            None => {
                let told = error_bytes(fatal("53300", "there are too many connections"));
                // Whoever does not read it is gone.
                let write = stream.write_all(&told);
                let _ = tokio::time::timeout(self.desk.limits.startup, write).await;
            }
        }
    }

    async fn meet(&self, stream: TcpStream) {
        let limits = &self.desk.limits;
        let deadline = Instant::now() + limits.startup;
        let negotiated = timeout_at(deadline, negotiate_tls::<()>(stream, self.tls.clone()));
        let Ok(Ok(Some(mut wire))) = negotiated.await else {
            return;
        };
        if wire.is_secure() && !wire.read_buffer().is_empty() {
            // Sent in plain text by somebody in between, to be taken for the client's.
            return;
        }
        wire.set_backpressure_boundary(GATHERED_BYTES);
        let inbox = inbox(&wire, limits.message_bytes, |wire| wire.read_buffer());
        let arrived = timeout_at(deadline, self.arrive(&mut wire, &inbox)).await;
        let arrival = match arrived {
            Ok(Ok(Some(arrival))) => arrival,
            Ok(Ok(None)) | Ok(Err(Failure::Gone(_))) | Err(_) => return,
            Ok(Err(Failure::Told(info))) => {
                let told = tell(&mut wire, *info);
                let _ = tokio::time::timeout(limits.write, told).await;
                return;
            }
        };
        let key = arrival.key.clone();
        connection::Connection::new(self, wire, arrival)
            .run(&inbox)
            .await;
        let mut cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        cancels.remove(&key);
    }

    fn cancel(&self, process_id: i32, secret: Bytes) {
        let cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = cancels.get(&(process_id, secret)) {
            running.notify_waiters();
        }
    }
}
