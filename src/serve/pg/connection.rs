//! One connection of one user: messages in, answers out, in the simple and in the extended protocol.
//! Everything that is set, prepared or declared belongs to this connection and ends with it. Rows are
//! sent as they come, so an answer needs no memory of its size; a statement can be cancelled while its
//! rows are sent, and a client that does not read loses its connection.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use futures::{FutureExt as _, SinkExt as _};
use pgwire::api::Type;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::results::{DataRowEncoder, FieldInfo, Tag};
use pgwire::api::stmt::StoredStatement;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::PgWireFrontendMessage as In;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::failure::{Failure, fatal, refused};
use super::rows::{Copier, Rows, columns, sent_schema};
use super::settings::Settings;
use super::startup::Arrival;
use super::statement::{Act, CopyFormat, Question, placeholder_count};
use super::{Inbox, Postgres, Wire, tell};
use crate::error::ErrorKind;
use crate::query::{Answer, Session, sql_error};
use crate::serve::desk::{Asked, Phase, Visitor, reached};

/// Statements and portals that one connection may keep.
const KEPT_MAX: usize = 1_000;

type Outcome<T = ()> = Result<T, Failure>;

/// A statement that was parsed.
struct Prepared {
    text: String,
    /// `None`: there was nothing in it.
    act: Option<Act>,
    /// What the client said of its parameters.
    said: Vec<Option<Type>>,
    /// What the engine takes them for.
    inferred: Vec<Option<DataType>>,
    types: Vec<Type>,
    /// The columns of its answer, if it has one.
    schema: Option<SchemaRef>,
}

/// A statement with its parameters.
struct Bound {
    prepared: Arc<Prepared>,
    values: Option<ParamValues>,
    format: Format,
    running: Option<Running>,
    done: bool,
}

/// An answer of which rows are sent.
struct Running {
    rows: Rows,
    encoder: DataRowEncoder,
    asked: Asked,
}

/// One connection.
pub(super) struct Connection<'a, W> {
    postgres: &'a Postgres,
    wire: W,
    visitor: Visitor,
    settings: Settings,
    cancelled: Arc<Notify>,
    status: TransactionStatus,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Bound>,
    /// After an error in the extended protocol, until Sync.
    skipping: bool,
}

impl<'a, W: Wire> Connection<'a, W> {
    pub(super) fn new(postgres: &'a Postgres, wire: W, arrival: Arrival) -> Self {
        Self {
            postgres,
            wire,
            visitor: arrival.visitor,
            settings: arrival.settings,
            cancelled: arrival.cancelled,
            status: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
        }
    }

    /// Serves until the client leaves, stays silent too long or the server closes.
    pub(super) async fn run<B>(mut self, inbox: &Inbox<B>)
    where
        B: for<'b> Fn(&'b W) -> &'b [u8],
    {
        let limits = &self.postgres.desk.limits;
        let mut phase = self.postgres.desk.phase.clone();
        let farewell = loop {
            let next = tokio::select! {
                biased;
                () = reached(&mut phase, Phase::Closing) => {
                    break Some(fatal("57P01", "the server is being stopped"));
                }
                next = timeout(limits.idle, inbox.next(&mut self.wire)) => next,
            };
            let message = match next {
                Err(_) => break Some(fatal("57P05", "the connection was idle for too long")),
                Ok(None) => break None,
                Ok(Some(Err(info))) => break Some(info),
                Ok(Some(Ok(In::Terminate(_)))) => break None,
                Ok(Some(Ok(message))) => message,
            };
            match self.take(message).await {
                Ok(()) => {}
                Err(Failure::Told(info)) if info.is_fatal() => break Some(*info),
                Err(_) => break None,
            }
        };
        if let Some(info) = farewell {
            let told = tell(&mut self.wire, info);
            let _ = timeout(limits.write, told).await;
        }
    }

    /// Does what a message asks for. Only what ends the connection comes back as an error.
    async fn take(&mut self, message: In) -> Outcome {
        if let In::Query(query) = message {
            self.portals.remove("");
            self.skipping = false;
            if let Err(failure) = self.guarded(|this| this.simple(&query.query).boxed()).await {
                self.failed(failure).await?;
            }
            return self.ready().await;
        }
        if let In::Sync(_) = message {
            self.skipping = false;
            match self.status {
                TransactionStatus::Idle => self.portals.clear(),
                _ => drop(self.portals.remove("")),
            }
            return self.ready().await;
        }
        if self.skipping {
            return Ok(());
        }
        let done = match message {
            In::Parse(message) => self.guarded(|this| this.parse(message).boxed()).await,
            In::Bind(message) => self.guarded(|this| this.bind(&message).boxed()).await,
            In::Describe(message) => self.describe(&message).await,
            In::Execute(message) => self.guarded(|this| this.execute(message).boxed()).await,
            In::Close(message) => self.close(&message).await,
            In::Flush(_) => self.flush().await,
            // What is left of a COPY that failed.
            In::CopyData(_) | In::CopyDone(_) | In::CopyFail(_) => Ok(()),
            _ => Err(fatal("08P01", "this message does not belong here").into()),
        };
        match done {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.skipping = true;
                self.failed(failure).await
            }
        }
    }

    /// Does something that can be cancelled, cut off, or break.
    async fn guarded<'b, T>(
        &'b mut self,
        work: impl FnOnce(&'b mut Self) -> futures::future::BoxFuture<'b, Outcome<T>>,
    ) -> Outcome<T> {
        let cancelled = Arc::clone(&self.cancelled);
        let cancelled = cancelled.notified();
        let mut phase = self.postgres.desk.phase.clone();
        tokio::pin!(cancelled);
        cancelled.as_mut().enable();
        tokio::select! {
            done = AssertUnwindSafe(work(self)).catch_unwind() => match done {
                Ok(done) => done,
                Err(_) => Err(refused("XX000", "the statement broke the engine: please report it").into()),
            },
            () = cancelled => Err(refused("57014", "the statement was cancelled").into()),
            () = reached(&mut phase, Phase::Closed) => {
                Err(fatal("57P01", "the server is being stopped").into())
            }
        }
    }

    async fn failed(&mut self, failure: Failure) -> Outcome {
        match failure {
            Failure::Told(info) if !info.is_fatal() => {
                if self.status == TransactionStatus::Transaction {
                    self.status = TransactionStatus::Error;
                }
                self.feed(Out::ErrorResponse((*info).into())).await?;
                self.flush().await
            }
            ends => Err(ends),
        }
    }

    async fn feed(&mut self, message: Out) -> Outcome {
        let limit = self.postgres.desk.limits.write;
        match timeout(limit, self.wire.feed(message)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Failure::Gone(std::io::ErrorKind::TimedOut.into())),
        }
    }

    async fn flush(&mut self) -> Outcome {
        let limit = self.postgres.desk.limits.write;
        match timeout(limit, self.wire.flush()).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Failure::Gone(std::io::ErrorKind::TimedOut.into())),
        }
    }

    async fn ready(&mut self) -> Outcome {
        let ready = ReadyForQuery::new(self.status);
        self.feed(Out::ReadyForQuery(ready)).await?;
        self.flush().await
    }

    async fn complete(&mut self, tag: Tag) -> Outcome {
        self.feed(Out::CommandComplete(tag.into())).await
    }

    async fn session(&self) -> Outcome<Session> {
        let wishes = self.settings.wishes();
        Ok(self.postgres.desk.session(&self.visitor, wishes).await?)
    }

    /// A plan of the question as it stands, else as it is rewritten for the engine.
    async fn plan(&self, session: &Session, question: &Question) -> Outcome<LogicalPlan> {
        let planned = session.plan(question.parsed.clone()).await;
        match (planned, &question.rewritten) {
            (Err(e), Some(rewritten)) if e.kind() == ErrorKind::Usage => {
                let again = session.plan(rewritten.clone()).await;
                Ok(again.map_err(|_| e)?)
            }
            (planned, _) => Ok(planned?),
        }
    }

    async fn answer(&self, question: &Question, values: Option<&ParamValues>) -> Outcome<Answer> {
        let session = self.session().await?;
        let mut plan = self.plan(&session, question).await?;
        if let Some(values) = values {
            plan = plan
                .replace_params_with_values(values)
                .map_err(|e| Failure::from(sql_error(&e)))?;
        }
        Ok(session.run(&plan).await?)
    }

    fn asked(&self, text: &str) -> Asked {
        Asked::begin(&self.postgres.desk, &self.visitor, text)
    }

    /// Every statement of a message, one after the other, until one fails.
    async fn simple(&mut self, sql: &str) -> Outcome {
        let acts = match self.postgres.reader.read(sql) {
            Ok(acts) => acts,
            Err(info) => {
                self.asked(sql).end(Err(info.message.clone()));
                return Err(info.into());
            }
        };
        if acts.is_empty() {
            return self
                .feed(Out::EmptyQueryResponse(EmptyQueryResponse::new()))
                .await;
        }
        for (text, act) in acts {
            let mut asked = self.asked(&text);
            let done = self
                .act(&act, None, &Format::UnifiedText, &mut asked, true)
                .await;
            asked.end(outcome_of(&done));
            done?;
        }
        Ok(())
    }

    /// Does one act whole.
    async fn act(
        &mut self,
        act: &Act,
        values: Option<&ParamValues>,
        format: &Format,
        asked: &mut Asked,
        describe: bool,
    ) -> Outcome {
        let ends = matches!(act, Act::Commit | Act::Rollback);
        if self.status == TransactionStatus::Error && !ends {
            let told = "the transaction failed before: only ROLLBACK is understood";
            return Err(refused("25P02", told).into());
        }
        match act {
            Act::Ask(question) => {
                let desk = Arc::clone(&self.postgres.desk);
                let _place = desk.place().await?;
                let answer = self.answer(question, values).await?;
                let mut rows = self.rows(answer, format)?;
                if describe {
                    self.describe_rows(&rows.1).await?;
                }
                let mut encoder = rows.0.encoder();
                let sent = self
                    .send(&mut rows.0, &mut encoder, 0, &mut asked.rows)
                    .await?;
                self.complete(Tag::new("SELECT").with_rows(sent.0)).await
            }
            Act::Copy(question, format) => {
                let desk = Arc::clone(&self.postgres.desk);
                let _place = desk.place().await?;
                let answer = self.answer(question, values).await?;
                self.copy(answer, format, asked).await
            }
            Act::Declare(name, question) => {
                let answer = self.answer(question, values).await?;
                self.declare(name, answer, asked)?;
                self.complete(Tag::new("DECLARE CURSOR")).await
            }
            Act::Fetch(name, count) => self.fetch(name, *count, asked, describe).await,
            Act::CloseCursor(name) => {
                match name {
                    Some(name) => drop(self.portals.remove(name)),
                    None => self.portals.clear(),
                }
                self.complete(Tag::new("CLOSE CURSOR")).await
            }
            Act::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(name)),
                    None => self.statements.clear(),
                }
                self.complete(Tag::new("DEALLOCATE")).await
            }
            Act::Begin => {
                self.status = TransactionStatus::Transaction;
                self.complete(Tag::new("BEGIN")).await
            }
            Act::Commit | Act::Rollback => {
                let failed = self.status == TransactionStatus::Error;
                self.status = TransactionStatus::Idle;
                self.settings.end_transaction();
                let committed = matches!(act, Act::Commit) && !failed;
                let tag = if committed { "COMMIT" } else { "ROLLBACK" };
                self.complete(Tag::new(tag)).await
            }
            Act::Set { name, value, local } => {
                match value {
                    Some(value) => self.settings.set(name, value, *local)?,
                    None => self.settings.reset(name)?,
                }
                self.report(name).await?;
                self.complete(Tag::new("SET")).await
            }
            Act::ResetAll => {
                self.settings.reset_all();
                self.complete(Tag::new("RESET")).await
            }
            Act::DiscardAll => {
                self.settings.reset_all();
                self.statements.clear();
                self.portals.clear();
                self.complete(Tag::new("DISCARD ALL")).await
            }
            Act::Show(name) => {
                let shown = vec![vec![self.settings.show(name)?.to_owned()]];
                self.show(shown, &act_schema(act), describe).await
            }
            Act::ShowAll => {
                let all = self.settings.all();
                let shown = all
                    .map(|(name, value)| vec![name.to_owned(), value.to_owned(), String::new()])
                    .collect();
                self.show(shown, &act_schema(act), describe).await
            }
            Act::Nothing(tag) => self.complete(Tag::new(tag)).await,
        }
    }

    /// Tells the client a parameter that changed.
    async fn report(&mut self, name: &str) -> Outcome {
        let Some(shown) = Settings::reported_as(name) else {
            return Ok(());
        };
        let value = self.settings.show(name)?.to_owned();
        if shown == "application_name" {
            self.visitor.application = Some(value.clone());
        }
        let status = ParameterStatus::new(shown.to_owned(), value);
        self.feed(Out::ParameterStatus(status)).await
    }

    async fn show(&mut self, shown: Vec<Vec<String>>, names: &[&str], describe: bool) -> Outcome {
        let infos = names.iter().map(|name| text_column(name));
        let infos = Arc::new(infos.collect::<Vec<_>>());
        if describe {
            self.describe_rows(&infos).await?;
        }
        let mut encoder = DataRowEncoder::new(infos);
        for row in shown {
            for value in row {
                encoder.encode_field(&Some(value))?;
            }
            let row = encoder.take_row();
            self.feed(Out::DataRow(row)).await?;
        }
        self.complete(Tag::new("SHOW")).await
    }

    fn rows(&self, answer: Answer, format: &Format) -> Outcome<(Rows, Arc<Vec<FieldInfo>>)> {
        let options = Arc::new(self.settings.formats());
        let schema = sent_schema(&answer.schema);
        fits(format, schema.fields().len())?;
        let infos = columns(&schema, format, &options)?;
        Ok((Rows::new(answer, Arc::clone(&infos)), infos))
    }

    async fn describe_rows(&mut self, infos: &[FieldInfo]) -> Outcome {
        let fields: Vec<FieldDescription> = infos.iter().map(Into::into).collect();
        self.feed(Out::RowDescription(RowDescription::new(fields)))
            .await
    }

    /// Sends rows, at most so many if that is not 0. Tells how many, and whether that was the end.
    async fn send(
        &mut self,
        rows: &mut Rows,
        encoder: &mut DataRowEncoder,
        most: usize,
        count: &mut u64,
    ) -> Outcome<(usize, bool)> {
        let mut sent = 0;
        while most == 0 || sent < most {
            if !rows.next(encoder).await? {
                return Ok((sent, true));
            }
            self.feed(Out::DataRow(encoder.take_row())).await?;
            sent += 1;
            *count += 1;
        }
        Ok((sent, false))
    }

    async fn copy(&mut self, answer: Answer, format: &CopyFormat, asked: &mut Asked) -> Outcome {
        let (code, wire_format) = match format {
            CopyFormat::Binary => (1, Format::UnifiedBinary),
            _ => (0, Format::UnifiedText),
        };
        let (mut rows, infos) = self.rows(answer, &wire_format)?;
        let count = i16::try_from(infos.len())
            .map_err(|_| refused("54011", "there are too many columns"))?;
        let begun = CopyOutResponse::new(code, count, vec![i16::from(code); infos.len()]);
        self.feed(Out::CopyOutResponse(begun)).await?;
        let mut copier = Copier::new(format, &infos);
        if let Some(head) = copier.head(&infos) {
            self.feed(Out::CopyData(head)).await?;
        }
        let mut sent = 0;
        while let Some(data) = copier.next(&mut rows).await? {
            self.feed(Out::CopyData(data)).await?;
            sent += 1;
            asked.rows += 1;
        }
        if let Some(tail) = copier.tail() {
            self.feed(Out::CopyData(tail)).await?;
        }
        self.feed(Out::CopyDone(CopyDone::new())).await?;
        self.complete(Tag::new("COPY").with_rows(sent)).await
    }

    fn declare(&mut self, name: &str, answer: Answer, asked: &Asked) -> Outcome {
        let (rows, infos) = self.rows(answer, &Format::UnifiedText)?;
        let encoder = DataRowEncoder::new(infos);
        let text = asked.statement().to_owned();
        let bound = Bound {
            prepared: Arc::new(Prepared {
                act: None,
                said: Vec::new(),
                inferred: Vec::new(),
                types: Vec::new(),
                schema: None,
                text: text.clone(),
            }),
            values: None,
            format: Format::UnifiedText,
            running: Some(Running {
                rows,
                encoder,
                asked: self.asked(&text),
            }),
            done: false,
        };
        if self.status == TransactionStatus::Idle {
            // In a transaction of its own it would end with this message.
            return Err(refused("25P01", "DECLARE CURSOR needs a transaction: BEGIN first").into());
        }
        self.keep(name.to_owned(), bound)
    }

    fn keep(&mut self, name: String, bound: Bound) -> Outcome {
        if self.portals.len() >= KEPT_MAX && !self.portals.contains_key(&name) {
            let told = format!("more than {KEPT_MAX} portals on one connection");
            return Err(refused("53400", told).into());
        }
        self.portals.insert(name, bound);
        Ok(())
    }

    async fn fetch(
        &mut self,
        name: &str,
        count: Option<usize>,
        asked: &mut Asked,
        describe: bool,
    ) -> Outcome {
        let absent = || refused("34000", format!("there is no cursor {name}"));
        // It comes back when its rows were sent: a statement that is cut off ends its cursor.
        let mut bound = self.portals.remove(name).ok_or_else(absent)?;
        let running = bound.running.as_mut().ok_or_else(absent)?;
        if describe {
            let infos = running.rows.columns();
            self.describe_rows(&infos).await?;
        }
        let mut sent = 0;
        if !bound.done && count != Some(0) {
            let desk = Arc::clone(&self.postgres.desk);
            let _place = desk.place().await?;
            let most = count.unwrap_or(0);
            let done = self
                .send(
                    &mut running.rows,
                    &mut running.encoder,
                    most,
                    &mut asked.rows,
                )
                .await;
            running.asked.end(outcome_of(&done));
            let (rows, ended) = done?;
            running.asked.rows += rows as u64;
            sent = rows;
            bound.done = ended;
        }
        self.portals.insert(name.to_owned(), bound);
        self.complete(Tag::new("FETCH").with_rows(sent)).await
    }

    async fn parse(&mut self, message: Parse) -> Outcome {
        let name = message.name.unwrap_or_default();
        let said: Vec<Option<Type>> = message
            .type_oids
            .iter()
            .map(|oid| Type::from_oid(*oid).filter(|t| *t != Type::UNKNOWN))
            .collect();
        let mut acts = self
            .postgres
            .reader
            .read(&message.query)
            .inspect_err(|info| {
                self.asked(&message.query).end(Err(info.message.clone()));
            })?;
        if acts.len() > 1 {
            return Err(refused("42601", "a prepared statement is one statement").into());
        }
        let (text, act) = match acts.pop() {
            Some((text, act)) => (text, Some(act)),
            None => (String::new(), None),
        };
        let mut prepared = Prepared {
            text,
            act,
            said,
            inferred: Vec::new(),
            types: Vec::new(),
            schema: None,
        };
        if let Some(Act::Ask(question) | Act::Copy(question, _) | Act::Declare(_, question)) =
            &mut prepared.act
        {
            question.prepare(&mut prepared.said);
        }
        match &prepared.act {
            Some(Act::Ask(question) | Act::Copy(question, _) | Act::Declare(_, question)) => {
                let session = self.session().await?;
                let planned = self.plan(&session, question).await;
                let plan = planned.inspect_err(|failure| {
                    if let Failure::Told(info) = failure {
                        self.asked(&prepared.text).end(Err(info.message.clone()));
                    }
                })?;
                if let Some(Act::Ask(_)) = &prepared.act {
                    prepared.schema = Some(sent_schema(plan.schema().as_arrow()));
                }
                prepared.inferred = inferred(&plan)?;
            }
            Some(act) => {
                let names = act_schema(act);
                if !names.is_empty() {
                    let fields = names
                        .iter()
                        .map(|name| arrow::datatypes::Field::new(*name, DataType::Utf8, true));
                    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
                    prepared.schema = Some(Arc::new(schema));
                }
            }
            None => {}
        }
        let count = prepared.inferred.len().max(prepared.said.len());
        prepared.inferred.resize(count, None);
        for at in 0..count {
            let said = prepared.said.get(at).cloned().flatten();
            let inferred = prepared.inferred[at].as_ref();
            let inferred = inferred.and_then(|t| into_pg_type(t).ok());
            prepared.types.push(said.or(inferred).unwrap_or(Type::TEXT));
        }
        if self.statements.len() >= KEPT_MAX && !self.statements.contains_key(&name) {
            let told = format!("more than {KEPT_MAX} prepared statements on one connection");
            return Err(refused("53400", told).into());
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(refused("42P05", format!("statement {name} is there already")).into());
        }
        self.statements.insert(name, Arc::new(prepared));
        self.feed(Out::ParseComplete(ParseComplete::new())).await
    }

    async fn bind(&mut self, message: &Bind) -> Outcome {
        let name = message.statement_name.clone().unwrap_or_default();
        let absent = || refused("26000", format!("there is no statement {name}"));
        let prepared = Arc::clone(self.statements.get(&name).ok_or_else(absent)?);
        let (given, wanted) = (message.parameters.len(), prepared.types.len());
        if given != wanted {
            let told = format!("{given} parameters were bound, and the statement has {wanted}");
            return Err(refused("08P01", told).into());
        }
        let codes = message.parameter_format_codes.len();
        if codes > 1 && codes != given {
            return Err(refused("08P01", "formats and parameters do not match").into());
        }
        let stored = StoredStatement::new(name, (), prepared.said.clone());
        let portal = Portal::try_new(message, Arc::new(stored))?;
        let fields = prepared.schema.as_ref().map_or(0, |s| s.fields().len());
        fits(&portal.result_column_format, fields)?;
        let inferred: Vec<Option<&DataType>> =
            prepared.inferred.iter().map(Option::as_ref).collect();
        let types: Vec<Option<&Type>> = prepared.types.iter().map(Some).collect();
        let values = match wanted {
            0 => None,
            _ => Some(
                deserialize_parameters_with_server_types(&portal, &inferred, &types)
                    .map_err(|e| refused("22P02", e.to_string()))?,
            ),
        };
        let bound = Bound {
            prepared,
            values,
            format: portal.result_column_format,
            running: None,
            done: false,
        };
        self.keep(message.portal_name.clone().unwrap_or_default(), bound)?;
        self.feed(Out::BindComplete(BindComplete::new())).await
    }

    async fn describe(&mut self, message: &Describe) -> Outcome {
        let name = message.name.clone().unwrap_or_default();
        let options = Arc::new(self.settings.formats());
        let infos = match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let absent = || refused("26000", format!("there is no statement {name}"));
                let prepared = Arc::clone(self.statements.get(&name).ok_or_else(absent)?);
                let types = prepared.types.iter().map(Type::oid).collect();
                self.feed(Out::ParameterDescription(ParameterDescription::new(types)))
                    .await?;
                match &prepared.schema {
                    Some(schema) => Some(columns(schema, &Format::UnifiedText, &options)?),
                    None => self.columns_of_cursor(&prepared),
                }
            }
            TARGET_TYPE_BYTE_PORTAL => {
                let absent = || refused("34000", format!("there is no portal {name}"));
                let bound = self.portals.get(&name).ok_or_else(absent)?;
                match &bound.prepared.schema {
                    Some(schema) => Some(columns(schema, &bound.format, &options)?),
                    // One that DECLARE opened.
                    None if bound.prepared.act.is_none() => {
                        bound.running.as_ref().map(|r| r.rows.columns())
                    }
                    None => self.columns_of_cursor(&bound.prepared),
                }
            }
            _ => return Err(refused("08P01", "only statements and portals are described").into()),
        };
        match infos {
            Some(infos) => self.describe_rows(&infos).await,
            None => self.feed(Out::NoData(NoData::new())).await,
        }
    }

    /// What a FETCH answers: libpq does not outlive rows that were not described.
    fn columns_of_cursor(&self, prepared: &Prepared) -> Option<Arc<Vec<FieldInfo>>> {
        let Some(Act::Fetch(name, _)) = &prepared.act else {
            return None;
        };
        let running = self.portals.get(name)?.running.as_ref()?;
        Some(running.rows.columns())
    }

    async fn execute(&mut self, message: Execute) -> Outcome {
        let name = message.name.unwrap_or_default();
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        let absent = || refused("34000", format!("there is no portal {name}"));
        // It comes back when its rows were sent: a statement that is cut off ends its portal.
        let mut bound = self.portals.remove(&name).ok_or_else(absent)?;
        let prepared = Arc::clone(&bound.prepared);
        let Some(act) = &prepared.act else {
            self.portals.insert(name, bound);
            return self
                .feed(Out::EmptyQueryResponse(EmptyQueryResponse::new()))
                .await;
        };
        let Act::Ask(question) = act else {
            let mut asked = self.asked(&prepared.text);
            let values = bound.values.as_ref();
            let done = self
                .act(act, values, &bound.format, &mut asked, false)
                .await;
            asked.end(outcome_of(&done));
            return done;
        };
        if self.status == TransactionStatus::Error {
            let told = "the transaction failed before: only ROLLBACK is understood";
            return Err(refused("25P02", told).into());
        }
        let desk = Arc::clone(&self.postgres.desk);
        if bound.running.is_none() && !bound.done {
            let mut asked = self.asked(&prepared.text);
            let begun = async {
                let _place = desk.place().await?;
                let answer = self.answer(question, bound.values.as_ref()).await?;
                self.rows(answer, &bound.format)
            };
            let begun = begun.await;
            if begun.is_err() {
                asked.end(outcome_of(&begun));
            }
            let (rows, infos) = begun?;
            bound.running = Some(Running {
                rows,
                encoder: DataRowEncoder::new(infos),
                asked,
            });
        }
        let (mut sent, mut ended) = (0, true);
        if let Some(running) = bound.running.as_mut().filter(|_| !bound.done) {
            let _place = desk.place().await?;
            let Running {
                rows,
                encoder,
                asked,
            } = running;
            let done = self.send(rows, encoder, most, &mut asked.rows).await;
            asked.end(outcome_of(&done));
            (sent, ended) = done?;
        }
        if ended {
            // It is counted and logged now, not when the portal is closed.
            bound.running = None;
            bound.done = true;
        }
        self.portals.insert(name, bound);
        match ended {
            true => self.complete(Tag::new("SELECT").with_rows(sent)).await,
            false => {
                self.feed(Out::PortalSuspended(PortalSuspended::new()))
                    .await
            }
        }
    }

    async fn close(&mut self, message: &Close) -> Outcome {
        let name = message.name.clone().unwrap_or_default();
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => drop(self.statements.remove(&name)),
            TARGET_TYPE_BYTE_PORTAL => drop(self.portals.remove(&name)),
            _ => return Err(refused("08P01", "only statements and portals are closed").into()),
        }
        self.feed(Out::CloseComplete(CloseComplete::new())).await
    }
}

/// The names of the columns of an act that is no question.
fn act_schema(act: &Act) -> Vec<&str> {
    match act {
        Act::Show(name) => vec![name],
        Act::ShowAll => vec!["name", "setting", "description"],
        _ => Vec::new(),
    }
}

fn text_column(name: &str) -> FieldInfo {
    let format = pgwire::api::results::FieldFormat::Text;
    FieldInfo::new(name.to_owned(), None, None, Type::TEXT, format)
}

/// The types of `$1`, `$2` … as far as the engine can tell.
fn inferred(plan: &LogicalPlan) -> Outcome<Vec<Option<DataType>>> {
    let found = plan
        .get_parameter_types()
        .map_err(|e| Failure::from(sql_error(&e)))?;
    let count = placeholder_count(found.keys());
    let named = |at: usize| found.get(&format!("${at}")).cloned().flatten();
    Ok((1..=count).map(named).collect())
}

/// A format code for all columns, or one for each.
fn fits(format: &Format, columns: usize) -> Result<(), ErrorInfo> {
    match format {
        Format::Individual(codes) if codes.len() != columns => {
            Err(refused("08P01", "formats and columns do not match"))
        }
        _ => Ok(()),
    }
}

fn outcome_of<T>(done: &Outcome<T>) -> Result<(), String> {
    match done {
        Ok(_) => Ok(()),
        Err(Failure::Told(info)) => Err(info.message.clone()),
        Err(Failure::Gone(e)) => Err(format!("the client is gone: {e}")),
    }
}
