//! `kolumn serve`: answers BI tools until it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::plan::{Plan, parse_bytes};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::output::terminal;
use crate::query::{MEMORY_BYTES_DEFAULT, SessionOptions};
use crate::serve::{Limits, ServeOptions, Server, TlsFiles, users};
use crate::table::Archive;
use crate::table::provider::Pruning;

/// Where the users are if nothing else is said.
const USERS_FILE: &str = "users.toml";
const LISTEN: &str = "127.0.0.1:5432";
const NOWHERE: &str = "off";

/// `[serve]` of `kolumn.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Where PostgreSQL's protocol is spoken, such as `127.0.0.1:5432`; `off`: nowhere.
    pub listen: Option<String>,
    /// Where Arrow Flight SQL is spoken.
    pub flight: Option<String>,
    /// Where `/healthz` and `/metrics` are.
    pub http: Option<String>,
    /// PEM file with the certificate.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its key.
    pub tls_key: Option<PathBuf>,
    /// The users file.
    pub users: Option<PathBuf>,
    /// File to which the access log is appended.
    pub access_log: Option<PathBuf>,
    /// Memory for the state of all statements together, such as `2GiB`.
    pub memory: Option<String>,
    /// Memory for the state of one connection's statements.
    pub session_memory: Option<String>,
    /// Time for one statement, such as `5m`.
    pub timeout: Option<String>,
    /// Connections at once.
    pub connections: Option<usize>,
    /// Statements that run at once; others wait.
    pub statements: Option<usize>,
    /// Time for a connection to say nothing.
    pub idle: Option<String>,
    /// Commits are looked for at most once in this time.
    pub refresh: Option<String>,
}

/// Arguments of `kolumn serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Where PostgreSQL's protocol is spoken; off: nowhere [default: 127.0.0.1:5432]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where Arrow Flight SQL is spoken [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    flight: Option<String>,
    /// Where /healthz and /metrics are [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// PEM file with the certificate; needed to listen beyond loopback
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Users file, which `kolumn user add` writes [default: users.toml]
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Append who asked what to this file, one JSON object a line [default: stderr]
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Memory for the state of all statements, such as 2GiB [default: 2GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    memory: Option<String>,
    /// Time for one statement, such as 30s [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    timeout: Option<String>,
    /// Connections at once [default: 100]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    connections: Option<usize>,
}

/// The users file: a flag, else `serve.users` of `kolumn.toml`, else `users.toml`.
pub(super) fn users_file(flag: Option<&PathBuf>, plan: &Plan) -> PathBuf {
    match (flag, &plan.config.serve.users) {
        (Some(path), _) => path.clone(),
        (None, Some(path)) => plan.config.path(path),
        (None, None) => USERS_FILE.into(),
    }
}

fn address(
    flag: Option<&String>,
    key: Option<&String>,
    name: &str,
    default: Option<&str>,
) -> Result<Option<SocketAddr>> {
    let (text, told) = match (flag, key) {
        (Some(text), _) => (text.as_str(), format!("--{name}")),
        (None, Some(text)) => (text.as_str(), format!("kolumn.toml: serve.{name}")),
        (None, None) => match default {
            Some(text) => (text, name.to_owned()),
            None => return Ok(None),
        },
    };
    if text == NOWHERE {
        return Ok(None);
    }
    let address = text.parse().map_err(|_| {
        Error::new(ErrorKind::Usage, format!("{told}: '{text}' is no address"))
            .hint("an address and a port, such as 127.0.0.1:5432 or [::]:5432, or off")
    })?;
    Ok(Some(address))
}

/// What is not zero.
fn some(value: Option<usize>, default: usize, name: &str) -> Result<usize> {
    match value {
        Some(0) => Err(Error::new(
            ErrorKind::Usage,
            format!("serve.{name} cannot be 0"),
        )),
        value => Ok(value.unwrap_or(default)),
    }
}

fn options(args: &ServeArgs, plan: &Plan) -> Result<(ServeOptions, SessionOptions)> {
    let config = &plan.config.serve;
    let defaults = Limits::default();
    let in_file = |key: &str| format!("kolumn.toml: serve.{key}");
    let time = |text: &Option<String>, key: &str, default| match text {
        Some(text) => users::positive(text).context(in_file(key)),
        None => Ok(default),
    };
    let bytes = |text: &Option<String>, key: &str, default| match text {
        Some(text) => parse_bytes(text).context(in_file(key)),
        None => Ok(default),
    };
    let memory_bytes = match &args.memory {
        Some(text) => parse_bytes(text).context("--memory")?,
        None => bytes(&config.memory, "memory", MEMORY_BYTES_DEFAULT)?,
    };
    let timeout = match &args.timeout {
        Some(text) => users::positive(text).context("--timeout")?,
        None => time(&config.timeout, "timeout", defaults.timeout)?,
    };
    let limits = Limits {
        connections: some(
            args.connections.or(config.connections),
            defaults.connections,
            "connections",
        )?,
        statements: some(config.statements, defaults.statements, "statements")?,
        session_memory_bytes: bytes(
            &config.session_memory,
            "session_memory",
            (memory_bytes / 4).max(1),
        )?,
        timeout,
        idle: time(&config.idle, "idle", defaults.idle)?,
        refresh: time(&config.refresh, "refresh", defaults.refresh)?,
        ..defaults
    };
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        _ => match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => {
                Some((plan.config.path(certificate), plan.config.path(key)))
            }
            (None, None) => None,
            _ => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "kolumn.toml: serve.tls_cert and serve.tls_key go together",
                ));
            }
        },
    };
    let from_config = |path: &PathBuf| plan.config.path(path);
    let serve = ServeOptions {
        postgres: address(
            args.listen.as_ref(),
            config.listen.as_ref(),
            "listen",
            Some(LISTEN),
        )?,
        flight: address(args.flight.as_ref(), config.flight.as_ref(), "flight", None)?,
        http: address(args.http.as_ref(), config.http.as_ref(), "http", None)?,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        users: users_file(args.users.as_ref(), plan),
        access_log: args
            .access_log
            .clone()
            .or_else(|| config.access_log.as_ref().map(from_config)),
        limits,
    };
    let session = SessionOptions {
        memory_bytes,
        timeout: Some(timeout),
        zone: plan.zone,
        pruning: Pruning::On,
        partitions: None,
        traced: false,
    };
    Ok((serve, session))
}

/// Runs the command until the process is told to stop.
///
/// # Errors
/// `Usage` for options that are not safe or do not fit, and the errors of opening and listening.
pub async fn run(args: ServeArgs, plan: &Plan) -> Result<ExitCode> {
    let (serve, session) = options(&args, plan)?;
    // Before anything listens, so that no signal is lost.
    let stop = stop_signal()?;
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let server = Server::start(&archive, &serve, &session).await?;
    let addresses = server.addresses();
    let encrypted = if serve.tls.is_some() {
        ", TLS only"
    } else {
        ""
    };
    for (what, address) in [
        (format!("postgres protocol{encrypted}"), addresses.postgres),
        (format!("flight sql{encrypted}"), addresses.flight),
        ("healthz and metrics".to_owned(), addresses.http),
    ] {
        if let Some(address) = address {
            terminal::note(&format!("listening at {address} ({what})"));
        }
    }
    stop.await;
    terminal::note("stopping: running statements may end");
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or, where there is one, the signal that asks a service to stop.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a signal to wait for there is nothing to stop for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
