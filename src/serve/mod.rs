//! `kolumn serve`: the archive for BI tools, over PostgreSQL's wire protocol and Arrow Flight SQL. In: an
//! archive, a users file and limits. Out: a running [`Server`].
//!
//! The way of a statement: a connection ([`pg`], [`flight`]) whose user proved a password ([`users`],
//! [`scram`]) brings it to the [`desk`], which gives it a place among those that run, a session that
//! shows what the user may see (`query::Sessions`), and writes down what came of it ([`log`],
//! [`meters`]). [`catalog`] is what clients ask before they show anything, [`http`] what operators ask.
//!
//! Promised: nobody asks without a password; beyond loopback nothing is said in plain text; nothing that
//! a statement says writes, or reads a file of its choice; nothing of one connection reaches another.

mod catalog;
mod desk;
mod flight;
mod guarded;
mod http;
mod log;
mod meters;
mod pg;
mod scram;
pub mod users;
mod weight;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use self::desk::{Desk, Phase};
use self::log::AccessLog;
use self::users::Users;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::query::{SessionOptions, Sessions};
use crate::table::Archive;

pub use self::scram::Verifier;

/// What a server does not give more of.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of each kind together.
    pub connections: usize,
    /// Statements that run at once; others wait.
    pub statements: usize,
    /// Bytes of memory for the state of the statements of one connection.
    pub session_memory_bytes: usize,
    /// Time for one statement, waiting included.
    pub timeout: Duration,
    /// Time for a client to log in.
    pub startup: Duration,
    /// Time for a client to say nothing.
    pub idle: Duration,
    /// Time for a client to take what it was sent.
    pub write: Duration,
    /// Bytes of one message of a client.
    pub message_bytes: usize,
    /// Commits are looked for at most once in this time.
    pub refresh: Duration,
    /// Time for running statements to end when the server is stopped.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100,
            statements: 16,
            session_memory_bytes: 512 << 20,
            timeout: Duration::from_secs(300),
            startup: Duration::from_secs(10),
            idle: Duration::from_secs(3600),
            write: Duration::from_secs(60),
            message_bytes: 1 << 20,
            refresh: Duration::from_secs(1),
            grace: Duration::from_secs(10),
        }
    }
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What a server does.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where PostgreSQL's protocol is spoken.
    pub postgres: Option<SocketAddr>,
    /// Where Flight SQL is spoken.
    pub flight: Option<SocketAddr>,
    /// Where `/healthz` and `/metrics` are.
    pub http: Option<SocketAddr>,
    /// With what connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// The users file.
    pub users: PathBuf,
    /// The access log; `None`: stderr.
    pub access_log: Option<PathBuf>,
    /// The limits.
    pub limits: Limits,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// PostgreSQL's protocol.
    pub postgres: Option<SocketAddr>,
    /// Flight SQL.
    pub flight: Option<SocketAddr>,
    /// `/healthz` and `/metrics`.
    pub http: Option<SocketAddr>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
    grace: Duration,
}

impl Server {
    /// Opens the archive and listens.
    ///
    /// # Errors
    /// `Usage` for options that are not safe or do not fit, `Denied` for a users file that others may
    /// read, and the errors of the archive and of listening.
    pub async fn start(
        archive: &Archive,
        options: &ServeOptions,
        session: &SessionOptions,
    ) -> Result<Self> {
        for (what, address) in [
            ("PostgreSQL's protocol", options.postgres),
            ("Flight SQL", options.flight),
        ] {
            if let Some(address) = address.filter(|a| !a.ip().is_loopback())
                && options.tls.is_none()
            {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("{what} cannot be spoken at {address} without TLS"),
                )
                .hint("name --tls-cert and --tls-key, or listen at 127.0.0.1"));
            }
        }
        if options.postgres.is_none() && options.flight.is_none() {
            return Err(Error::new(ErrorKind::Usage, "there is nothing to serve")
                .hint("name an address with --listen or --flight"));
        }
        let tls = match &options.tls {
            Some(files) => Some(Tls::load(files)?),
            None => None,
        };
        let users = Users::open(&options.users)?;
        let log = AccessLog::open(options.access_log.as_deref())?;
        let sessions = Sessions::new(archive, session)?.with_refresh(options.limits.refresh);
        let (sessions, tables) = catalog::add(sessions).await?;
        // An archive that cannot be read is told now, not to the first client.
        sessions.session(&crate::query::Asker::default()).await?;
        let (phase, open) = watch::channel(Phase::Open);
        let desk = Arc::new(Desk::new(
            (sessions, tables),
            users,
            log,
            options.limits.clone(),
            open,
        ));
        let mut tasks = JoinSet::new();
        let mut addresses = Addresses::default();
        if let Some(address) = options.postgres {
            let (listener, address) = listen(address).await?;
            addresses.postgres = Some(address);
            let acceptor = tls.as_ref().map(|tls| tls.acceptor.clone());
            tasks.spawn(pg::Postgres::new(Arc::clone(&desk), acceptor).serve(listener));
        }
        if let Some(address) = options.flight {
            let (listener, address) = listen(address).await?;
            addresses.flight = Some(address);
            tasks.spawn(flight::serve(Arc::clone(&desk), listener, tls.as_ref())?);
        }
        if let Some(address) = options.http {
            let (listener, address) = listen(address).await?;
            addresses.http = Some(address);
            tasks.spawn(http::serve(desk, listener));
        }
        Ok(Self {
            addresses,
            phase,
            tasks,
            grace: options.limits.grace,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Listens no more, lets running statements end for a while, and cuts off what is left.
    pub async fn stop(mut self) {
        self.phase.send_replace(Phase::Closing);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, all).await.is_err() {
            self.phase.send_replace(Phase::Closed);
            let all = async { while self.tasks.join_next().await.is_some() {} };
            // What does not even notice that is dropped with its tasks.
            let _ = tokio::time::timeout(self.grace, all).await;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let act = || format!("cannot listen at {address}");
    let listener = TcpListener::bind(address).await.context(act())?;
    let address = listener.local_addr().context(act())?;
    Ok((listener, address))
}

/// A certificate and its key, read and proven to belong together.
struct Tls {
    acceptor: TlsAcceptor,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    fn load(files: &TlsFiles) -> Result<Self> {
        let wrong = |path: &Path, what: &str| {
            Error::new(
                ErrorKind::Usage,
                format!("{} holds no {what} in PEM", path.display()),
            )
        };
        let read =
            |path: &Path| std::fs::read(path).context(format!("cannot read {}", path.display()));
        let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
        let chain = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| wrong(&files.certificate, "certificate"))?;
        let secret =
            PrivateKeyDer::from_pem_slice(&key).map_err(|_| wrong(&files.key, "private key"))?;
        let unfit = |e: tokio_rustls::rustls::Error| {
            Error::new(
                ErrorKind::Usage,
                format!(
                    "cannot use {} with {}",
                    files.certificate.display(),
                    files.key.display()
                ),
            )
            .because(e)
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(unfit)?;
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        // Flight's library takes the provider of the process; another one may have been chosen already.
        let _ = default_provider().install_default();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
            key,
        })
    }
}
