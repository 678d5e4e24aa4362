//! `/healthz` and `/metrics`. They tell nothing of the archive but whether it can be opened, need no
//! user, and a client that is slow or stays is cut off.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::desk::{Desk, Phase, reached};
use super::guarded::Guarded;
use crate::query::Asker;

/// How long a connection lasts.
const LASTS: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 32;
const HEALTH_WITHIN: Duration = Duration::from_secs(5);

/// Serves until the server closes.
pub(super) async fn serve(desk: Arc<Desk>, listener: TcpListener) {
    let mut phase = desk.phase.clone();
    let routes = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(desk);
    let listener = Brief {
        listener,
        places: Arc::new(Semaphore::new(CONNECTIONS)),
    };
    let closing = async move { reached(&mut phase, Phase::Closing).await };
    let _ = axum::serve(listener, routes)
        .with_graceful_shutdown(closing)
        .await;
}

async fn health(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let asker = Asker::default();
    match tokio::time::timeout(HEALTH_WITHIN, desk.sessions.session(&asker)).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n".to_owned()),
        Ok(Err(e)) => {
            // Names of places are the operator's business.
            let told = format!("the archive cannot be opened: {:?}\n", e.kind());
            (StatusCode::SERVICE_UNAVAILABLE, told)
        }
        Err(_) => {
            let told = "the archive does not answer\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, told)
        }
    }
}

async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let text = desk.meters.text(desk.sessions.memory_held());
    match text {
        Ok(text) => Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A listener whose connections are few and end soon.
struct Brief {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Brief {
    type Io = Guarded<OwnedSemaphorePermit>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            match (place, self.listener.accept().await) {
                (Ok(place), Ok((stream, address))) => {
                    return (Guarded::new(stream, LASTS, None, place), address);
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
