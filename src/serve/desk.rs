//! Where every statement passes, whatever the protocol: who may ask is looked up again, a place among
//! the running statements is taken, a session of the asker's own is made, and what came of it is counted
//! and logged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::log::{AccessLog, Entry, loggable};
use super::meters::{Meters, Protocol};
use super::users::{User, Users};
use super::{Limits, catalog};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Asker, Session, Sessions};

/// How far the end of the server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Everybody is served.
    Open,
    /// What runs may end, nothing new begins.
    Closing,
    /// What runs is cut off.
    Closed,
}

/// Waits until the end of the server has come so far.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, so_far: Phase) {
    // An error means that the server itself is gone.
    let _ = phase.wait_for(|phase| *phase >= so_far).await.map(drop);
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) sessions: Sessions,
    pub(super) users: Users,
    pub(super) log: AccessLog,
    pub(super) meters: Meters,
    pub(super) limits: Limits,
    pub(super) phase: watch::Receiver<Phase>,
    /// The tables and views, their columns, and whether they are views.
    pub(super) tables: Vec<(String, SchemaRef, bool)>,
    places: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Someone who logged in.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) protocol: Protocol,
    pub(super) client: Option<IpAddr>,
    pub(super) user: String,
    pub(super) application: Option<String>,
}

/// What a connection set for itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    pub(super) zone: Option<Tz>,
    pub(super) timeout: Option<Duration>,
}

impl Desk {
    pub(super) fn new(
        (sessions, tables): (Sessions, Vec<(String, SchemaRef, bool)>),
        users: Users,
        log: AccessLog,
        limits: Limits,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            sessions,
            users,
            log,
            meters: Meters::default(),
            phase,
            tables,
            places: Arc::new(Semaphore::new(limits.statements)),
            connections: Arc::new(Semaphore::new(limits.connections)),
            limits,
        }
    }

    /// A place for a connection, if there is one.
    pub(super) fn connect(self: &Arc<Self>, protocol: Protocol) -> Option<Connected> {
        match Arc::clone(&self.connections).try_acquire_owned() {
            Ok(permit) => {
                self.meters.connected(protocol);
                Some(Connected {
                    desk: Arc::clone(self),
                    protocol,
                    _permit: permit,
                })
            }
            Err(_) => {
                self.meters.turned_away(protocol);
                None
            }
        }
    }

    /// Counts and logs a login.
    pub(super) fn login(
        &self,
        protocol: Protocol,
        client: Option<IpAddr>,
        user: &str,
        refused: Option<&str>,
    ) {
        self.meters.logged_in(protocol, refused.is_none());
        self.log.write(&Entry {
            event: if refused.is_none() {
                "login"
            } else {
                "refused"
            },
            protocol: protocol.name(),
            client,
            user: Some(user),
            outcome: refused.unwrap_or("ok"),
            ..Entry::default()
        });
    }

    /// The user as the users file has it now.
    ///
    /// # Errors
    /// `Denied` if the user was taken out, and errors of the file.
    pub(super) fn user(&self, name: &str) -> Result<Arc<User>> {
        self.users
            .find(name)?
            .ok_or_else(|| Error::new(ErrorKind::Denied, format!("{name} may no longer ask")))
    }

    /// A session for one statement.
    ///
    /// # Errors
    /// Those of [`Desk::user`] and of opening a session.
    pub(super) async fn session(&self, visitor: &Visitor, wishes: Wishes) -> Result<Session> {
        let user = self.user(&visitor.user)?;
        let timeouts = [Some(self.limits.timeout), user.timeout, wishes.timeout];
        let asker = Asker {
            sight: user.sight.clone(),
            timeout: timeouts.into_iter().flatten().min(),
            rows_max: user.rows_max,
            zone: wishes.zone,
            memory_bytes: Some(self.limits.session_memory_bytes),
            functions: catalog::who(&user.name),
        };
        self.sessions.session(&asker).await
    }

    /// A place among the statements that run, within the time for one.
    ///
    /// # Errors
    /// `Limit` if none became free.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned();
        let waited = tokio::time::timeout(self.limits.timeout, place).await;
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(
                ErrorKind::Limit,
                format!("{} statements are running already", self.limits.statements),
            )
            .hint("ask again later, or let the operator raise serve.statements")),
        }
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Connected {
    desk: Arc<Desk>,
    protocol: Protocol,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.desk.meters.disconnected(self.protocol);
    }
}

/// A statement that is being answered. Whatever ends it, its end is counted and logged.
#[derive(Debug)]
pub(super) struct Asked {
    desk: Arc<Desk>,
    visitor: Visitor,
    statement: String,
    begun: Instant,
    /// Rows sent.
    pub(super) rows: u64,
    outcome: Option<Result<(), String>>,
}

impl Asked {
    pub(super) fn begin(desk: &Arc<Desk>, visitor: &Visitor, statement: &str) -> Self {
        desk.meters.started(visitor.protocol);
        Self {
            desk: Arc::clone(desk),
            visitor: visitor.clone(),
            statement: loggable(statement),
            begun: Instant::now(),
            rows: 0,
            outcome: None,
        }
    }

    /// The statement as it is logged.
    pub(super) fn statement(&self) -> &str {
        &self.statement
    }

    /// Tells how it ended.
    pub(super) fn end(&mut self, outcome: Result<(), String>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let outcome = match &self.outcome {
            Some(Ok(())) => "ok",
            Some(Err(why)) => why,
            None => "abandoned",
        };
        let ok = outcome == "ok";
        let visitor = &self.visitor;
        let meters = &self.desk.meters;
        meters.ended(visitor.protocol, took, self.rows, ok);
        self.desk.log.write(&Entry {
            event: "statement",
            protocol: visitor.protocol.name(),
            client: visitor.client,
            user: Some(&visitor.user),
            application: visitor.application.as_deref(),
            statement: Some(std::mem::take(&mut self.statement)),
            rows: Some(self.rows),
            milliseconds: Some(took.as_millis()),
            outcome,
        });
    }
}
