//! The beginning of a connection: who comes, and the proof of a password by SCRAM-SHA-256. Who fails is
//! answered late and told no more than that.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use pgwire::api::auth::{protocol_negotiation, save_startup_parameters_to_metadata};
use pgwire::api::{METADATA_USER, PgWireConnectionState};
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, ParameterStatus, PasswordMessageFamily, SecretKey,
};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::sync::Notify;

use super::failure::{Failure, fatal, told};
use super::settings::Settings;
use super::{Inbox, Postgres, Wire};
use crate::serve::desk::Visitor;
use crate::serve::meters::Protocol;
use crate::serve::scram::{self, Exchange, Refused};

/// How long an answer to a wrong password takes.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

/// Someone who proved a password.
pub(super) struct Arrival {
    pub(super) visitor: Visitor,
    pub(super) settings: Settings,
    pub(super) key: (i32, Bytes),
    pub(super) cancelled: Arc<Notify>,
}

impl Postgres {
    /// The beginning of a connection; `None` if it was not to become one.
    pub(super) async fn arrive<W, B>(
        &self,
        wire: &mut W,
        inbox: &Inbox<B>,
    ) -> Result<Option<Arrival>, Failure>
    where
        W: Wire,
        B: for<'a> Fn(&'a W) -> &'a [u8],
    {
        let startup = match inbox.next(wire).await {
            None => return Ok(None),
            Some(Err(info)) => return Err(info.into()),
            Some(Ok(PgWireFrontendMessage::CancelRequest(request))) => {
                self.cancel(request.pid, request.secret_key.to_bytes());
                return Ok(None);
            }
            Some(Ok(PgWireFrontendMessage::Startup(startup))) => startup,
            Some(Ok(_)) => return Err(fatal("08P01", "this is no way to begin").into()),
        };
        if self.tls.is_some() && !wire.is_secure() {
            return Err(fatal(
                "28000",
                "this server speaks TLS only: connect with sslmode=require",
            )
            .into());
        }
        protocol_negotiation(wire, &startup).await?;
        save_startup_parameters_to_metadata(wire, &startup);
        let Some(name) = wire.metadata().get(METADATA_USER).cloned() else {
            return Err(fatal("28000", "there is no user name").into());
        };
        let client = Some(wire.socket_addr().ip());
        if let Err(refused) = self.prove(wire, inbox, &name).await? {
            let why = match refused {
                Refused::WrongPassword => "wrong name or password",
                Refused::Malformed => "no proof of a password",
            };
            self.desk
                .login(Protocol::Postgres, client, &shortened(&name), Some(why));
            tokio::time::sleep(REFUSED_AFTER).await;
            let told = format!(
                "password authentication failed for user \"{}\"",
                shortened(&name)
            );
            return Err(fatal("28P01", told).into());
        }
        self.desk.login(Protocol::Postgres, client, &name, None);
        let mut settings = Settings::new(&name);
        for (parameter, value) in &startup.parameters {
            let set = match parameter.as_str() {
                "user" | "database" | "replication" => Ok(()),
                "options" => options(value)
                    .try_for_each(|(parameter, value)| settings.start_with(&parameter, &value)),
                parameter => settings.start_with(parameter, value),
            };
            set.map_err(|mut info| {
                info.severity = "FATAL".to_owned();
                info
            })?;
        }
        let (key, cancelled) = self.register(wire)?;
        self.welcome(wire, &settings).await?;
        let application = settings.show("application_name").unwrap_or_default();
        let visitor = Visitor {
            protocol: Protocol::Postgres,
            client,
            user: name,
            application: (!application.is_empty()).then(|| application.to_owned()),
        };
        Ok(Some(Arrival {
            visitor,
            settings,
            key,
            cancelled,
        }))
    }

    async fn prove<W, B>(
        &self,
        wire: &mut W,
        inbox: &Inbox<B>,
        name: &str,
    ) -> Result<Result<(), Refused>, Failure>
    where
        W: Wire,
        B: for<'a> Fn(&'a W) -> &'a [u8],
    {
        let authentication = PgWireBackendMessage::Authentication;
        let verifier = self.desk.users.verifier(name).map_err(|e| {
            // What is wrong with the file is the operator's business.
            self.desk.login(
                Protocol::Postgres,
                None,
                &shortened(name),
                Some(&e.to_chain()),
            );
            fatal("XX000", "nobody can log in now")
        })?;
        wire.set_state(PgWireConnectionState::AuthenticationInProgress);
        let methods = vec![scram::MECHANISM.to_owned()];
        wire.send(authentication(Authentication::SASL(methods)))
            .await?;
        let Some(first) = password_message(wire, inbox).await? else {
            return Ok(Err(Refused::Malformed));
        };
        let Ok(first) = first.into_sasl_initial_response() else {
            return Ok(Err(Refused::Malformed));
        };
        if first.auth_method != scram::MECHANISM {
            return Ok(Err(Refused::Malformed));
        }
        let (answer, exchange) = match Exchange::begin(&first.data.unwrap_or_default(), verifier) {
            Ok(begun) => begun,
            Err(refused) => return Ok(Err(refused)),
        };
        wire.send(authentication(Authentication::SASLContinue(answer.into())))
            .await?;
        let Some(last) = password_message(wire, inbox).await? else {
            return Ok(Err(Refused::Malformed));
        };
        let Ok(last) = last.into_sasl_response() else {
            return Ok(Err(Refused::Malformed));
        };
        match exchange.end(&last.data) {
            Ok(answer) => {
                wire.feed(authentication(Authentication::SASLFinal(answer.into())))
                    .await?;
                Ok(Ok(()))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Gives the connection a number and a secret, with which its client can cancel.
    fn register(&self, wire: &mut impl Wire) -> Result<((i32, Bytes), Arc<Notify>), Failure> {
        let number = self.process_ids.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let secret = scram::random::<4>().map_err(|e| told(&e))?;
        let secret = SecretKey::I32(i32::from_be_bytes(secret));
        let key = (number, secret.to_bytes());
        wire.set_pid_and_secret_key(number, secret);
        let cancelled = Arc::new(Notify::new());
        let mut cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        cancels.insert(key.clone(), Arc::clone(&cancelled));
        Ok((key, cancelled))
    }

    async fn welcome(&self, wire: &mut impl Wire, settings: &Settings) -> Result<(), Failure> {
        wire.feed(PgWireBackendMessage::Authentication(Authentication::Ok))
            .await?;
        for (name, value) in settings.reported() {
            let status = ParameterStatus::new(name.to_owned(), value.to_owned());
            wire.feed(PgWireBackendMessage::ParameterStatus(status))
                .await?;
        }
        let (number, secret) = wire.pid_and_secret_key();
        let data = BackendKeyData::new(number, secret);
        wire.feed(PgWireBackendMessage::BackendKeyData(data))
            .await?;
        let ready = ReadyForQuery::new(TransactionStatus::Idle);
        wire.send(PgWireBackendMessage::ReadyForQuery(ready))
            .await?;
        wire.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }
}

async fn password_message<W, B>(
    wire: &mut W,
    inbox: &Inbox<B>,
) -> Result<Option<PasswordMessageFamily>, Failure>
where
    W: Wire,
    B: for<'a> Fn(&'a W) -> &'a [u8],
{
    match inbox.next(wire).await {
        Some(Ok(PgWireFrontendMessage::PasswordMessageFamily(message))) => Ok(Some(message)),
        Some(Ok(_)) => Ok(None),
        Some(Err(info)) => Err(info.into()),
        None => Err(Failure::Gone(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// A name that somebody typed, as far as it is told and logged.
fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(63).collect()
}

/// `-c name=value` and `--name=value`, as libpq sends them.
fn options(text: &str) -> impl Iterator<Item = (String, String)> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mut found = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("--") {
            Some(pair) => Some(pair),
            None => match word.strip_prefix("-c") {
                Some("") => words.next(),
                pair => pair,
            },
        };
        if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
            found.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    found.into_iter()
}
