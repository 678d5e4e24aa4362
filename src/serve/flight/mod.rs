//! Arrow Flight SQL: the same users, sessions and limits as everywhere, and rows as Arrow batches. A
//! ticket is the command it was given for; what is asked with it is planned and guarded when rows are
//! fetched, so it opens nothing that the caller could not ask for anyway. Rows are made by a task of
//! their own, which ends when nobody takes them.

mod logins;
mod structure;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandGetCatalogs, CommandGetCrossReference,
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys,
    CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use self::logins::{Logins, token};
use super::Tls;
use super::desk::{Asked, Desk, Phase, Visitor, Wishes, reached};
use super::guarded::Guarded;
use super::meters::Protocol;
use super::weight::weigh;
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Answer, CATALOG, SCHEMA, Session, parse, sql_error};

/// Batches that wait for a client to take them.
const WAITING: usize = 2;
const PREPARED_MAX: usize = 1_000;
const PREPARED_LASTS: Duration = Duration::from_secs(3600);
const STREAMS_PER_CONNECTION: u32 = 64;

type Told<T> = Result<Response<T>, Status>;
type Rows<S> = Told<<S as FlightService>::DoGetStream>;

/// A statement that was prepared, whose it is, and when it was used last.
#[derive(Clone)]
struct Prepared {
    user: String,
    sql: String,
    values: Option<ParamValues>,
    used: Instant,
}

/// The service.
struct Flight {
    desk: Arc<Desk>,
    logins: Logins,
    prepared: Mutex<HashMap<String, Prepared>>,
    info: SqlInfoData,
    types: XdbcTypeInfoData,
}

/// Serves until the server closes.
///
/// # Errors
/// `Usage` if the certificate cannot be used.
pub(super) fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    tls: Option<&Tls>,
) -> Result<impl Future<Output = ()> + use<>> {
    let limits = desk.limits.clone();
    let mut server = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .tcp_nodelay(true);
    if let Some(tls) = tls {
        let config = ServerTlsConfig::new()
            .identity(Identity::from_pem(&tls.certificate, &tls.key))
            .timeout(limits.startup);
        server = server.tls_config(config).map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                "cannot use the certificate for Flight SQL",
            )
            .because(e)
        })?;
    }
    let unbuilt = |e: FlightError| {
        Error::new(ErrorKind::Bug, "cannot tell what Flight SQL can do here").because(e)
    };
    let service = Flight {
        logins: Logins::new(Arc::clone(&desk)),
        prepared: Mutex::new(HashMap::new()),
        info: structure::sql_info().map_err(unbuilt)?,
        types: structure::types().map_err(unbuilt)?,
        desk: Arc::clone(&desk),
    };
    let service = FlightServiceServer::new(service).max_decoding_message_size(limits.message_bytes);
    let mut phase = desk.phase.clone();
    let incoming = stream::unfold((listener, desk), |(listener, desk)| async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Too many: the client sees a connection that ends.
            if let Some(place) = desk.connect(Protocol::Flight) {
                let limits = &desk.limits;
                let stream = Guarded::new(stream, limits.startup, Some(limits.idle), place);
                return Some((Ok::<_, std::io::Error>(stream), (listener, desk)));
            }
        }
    });
    Ok(async move {
        let closing = async move { reached(&mut phase, Phase::Closing).await };
        // What went wrong with a connection was told to its client.
        let _ = server
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, closing)
            .await;
    })
}

/// What an error is called here.
fn status(e: &Error) -> Status {
    let mut text = e.to_chain();
    if let Some(hint) = e.hint_text() {
        text.push_str("; ");
        text.push_str(hint);
    }
    match e.kind() {
        ErrorKind::Usage => Status::invalid_argument(text),
        ErrorKind::Missing => Status::not_found(text),
        ErrorKind::Denied => Status::permission_denied(text),
        ErrorKind::Unavailable => Status::unavailable(text),
        ErrorKind::Conflict => Status::aborted(text),
        ErrorKind::Corrupt => Status::data_loss(text),
        ErrorKind::Limit if text.contains("longer than") => Status::deadline_exceeded(text),
        ErrorKind::Limit => Status::resource_exhausted(text),
        ErrorKind::Interrupted => Status::cancelled(text),
        ErrorKind::Bug => Status::internal(text),
    }
}

fn broken<T>(_: T) -> Status {
    Status::internal("the statement broke the engine: please report it")
}

fn odd(e: impl std::fmt::Display) -> Status {
    Status::invalid_argument(e.to_string())
}

fn read_only() -> Status {
    Status::permission_denied("the archive is read-only for SQL: ask with SELECT")
}

/// An answer to a question about a structure, whose ticket is the question itself.
fn info_of(schema: &Schema, request: Request<FlightDescriptor>) -> Told<FlightInfo> {
    let descriptor = request.into_inner();
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(odd)?
        .with_endpoint(endpoint)
        .with_descriptor(descriptor);
    Ok(Response::new(info))
}

fn one(batch: Result<RecordBatch, FlightError>) -> Rows<Flight> {
    let batch = batch.map_err(odd)?;
    let schema = batch.schema();
    Ok(Response::new(encoded(
        schema,
        stream::iter([Ok(batch)]).boxed(),
    )))
}

type FlightDataStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

fn encoded(
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch, FlightError>>,
) -> FlightDataStream {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema);
    Box::pin(encoder.build(batches).map_err(Status::from))
}

fn schema_bytes(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, ArrowError> = SchemaAsIpc::new(schema, &options).try_into();
    Ok(message.map_err(odd)?.0)
}

/// `$1`, `$2` … with the types the engine takes them for.
fn parameters(plan: &LogicalPlan) -> Result<Schema, Status> {
    let found = plan
        .get_parameter_types()
        .map_err(|e| status(&sql_error(&e)))?;
    let number = |id: &str| id.trim_start_matches('$').parse::<usize>().ok();
    let count = found.keys().filter_map(|id| number(id)).max().unwrap_or(0);
    let fields = (1..=count.min(found.len())).map(|at| {
        let name = format!("${at}");
        let data_type = found.get(&name).cloned().flatten();
        Field::new(name, data_type.unwrap_or(DataType::Utf8), true)
    });
    Ok(structure::sent_schema(&Schema::new(
        fields.collect::<Vec<_>>(),
    )))
    .map(|schema| schema.as_ref().clone())
}

impl Flight {
    async fn session(&self, visitor: &Visitor) -> Result<Session, Status> {
        let session = self.desk.session(visitor, Wishes::default()).await;
        session.map_err(|e| status(&e))
    }

    /// A plan of a statement, made where it can break nothing else.
    async fn plan(&self, visitor: &Visitor, sql: &str) -> Result<(Session, LogicalPlan), Status> {
        let planned = async {
            weigh(sql).map_err(Status::invalid_argument)?;
            let session = self.session(visitor).await?;
            let parsed = parse(sql).map_err(|e| status(&e))?;
            let plan = session.plan(parsed).await.map_err(|e| status(&e))?;
            Ok((session, plan))
        };
        let planned = AssertUnwindSafe(planned).catch_unwind().await;
        let planned = planned.unwrap_or_else(|panic| Err(broken(panic)));
        if let Err(told) = &planned {
            let mut asked = Asked::begin(&self.desk, visitor, sql);
            asked.end(Err(told.message().to_owned()));
        }
        planned
    }

    /// The rows of a statement, made by a task of their own.
    async fn rows(&self, visitor: &Visitor, sql: &str, values: Option<ParamValues>) -> Rows<Self> {
        let place = self.desk.place().await.map_err(|e| status(&e))?;
        let (session, mut plan) = self.plan(visitor, sql).await?;
        let mut asked = Asked::begin(&self.desk, visitor, sql);
        let started = async {
            if let Some(values) = values {
                plan = plan
                    .replace_params_with_values(&values)
                    .map_err(|e| status(&sql_error(&e)))?;
            }
            session.run(&plan).await.map_err(|e| status(&e))
        };
        let started = AssertUnwindSafe(started).catch_unwind().await;
        let answer: Result<Answer, Status> = started.unwrap_or_else(|panic| Err(broken(panic)));
        let mut answer = answer.inspect_err(|told| {
            asked.end(Err(told.message().to_owned()));
        })?;
        let schema = structure::sent_schema(&answer.schema);
        let sent = Arc::clone(&schema);
        let (sender, mut taken) = mpsc::channel(WAITING);
        let write = self.desk.limits.write;
        let mut phase = self.desk.phase.clone();
        tokio::spawn(async move {
            let _place = place;
            let making = async {
                loop {
                    let next = AssertUnwindSafe(answer.batches.next()).catch_unwind().await;
                    let next = match next {
                        Err(panic) => Some(Err(broken(panic))),
                        Ok(next) => next.map(|batch| {
                            let batch = batch.map_err(|e| status(&e))?;
                            structure::as_sent(&batch, &sent).map_err(odd)
                        }),
                    };
                    match next {
                        None => {
                            asked.end(Ok(()));
                            return;
                        }
                        Some(Err(told)) => {
                            asked.end(Err(told.message().to_owned()));
                            // Whoever is gone need not be told.
                            let _ = sender.send_timeout(Err(told), write).await;
                            return;
                        }
                        Some(Ok(batch)) => {
                            let rows = batch.num_rows() as u64;
                            if sender.send_timeout(Ok(batch), write).await.is_err() {
                                asked.end(Err("the client takes no rows".to_owned()));
                                let told = Status::deadline_exceeded("rows were not taken");
                                let _ = sender.try_send(Err(told));
                                return;
                            }
                            asked.rows += rows;
                        }
                    }
                }
            };
            tokio::select! {
                () = making => {}
                () = reached(&mut phase, Phase::Closed) => {
                    let told = Status::unavailable("the server is being stopped");
                    let _ = sender.send_timeout(Err(told), write).await;
                }
            }
        });
        let batches = stream::poll_fn(move |cx| taken.poll_recv(cx));
        let batches = batches.map_err(|told| FlightError::Tonic(Box::new(told)));
        Ok(Response::new(encoded(schema, batches.boxed())))
    }

    fn find(&self, visitor: &Visitor, handle: &[u8]) -> Result<(String, Prepared), Status> {
        let unknown = || Status::not_found("there is no such prepared statement");
        let handle = std::str::from_utf8(handle).map_err(|_| unknown())?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = prepared.get_mut(handle);
        let found = found
            .filter(|p| p.user == visitor.user)
            .ok_or_else(unknown)?;
        found.used = Instant::now();
        Ok((handle.to_owned(), found.clone()))
    }
}

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Told<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>> {
        let token = self.logins.login(&request).await?;
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into(),
        };
        let answer = stream::iter([Ok(answer)]).boxed();
        let mut response: Response<Pin<Box<dyn Stream<Item = _> + Send>>> = Response::new(answer);
        let bearer = MetadataValue::from_str(&format!("Bearer {token}"));
        let bearer = bearer.map_err(|e| Status::internal(e.to_string()))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        let visitor = self.logins.visitor(&request).await?;
        let (_, plan) = self.plan(&visitor, &query.query).await?;
        info_of(&structure::sent_schema(plan.schema().as_arrow()), request)
    }

    async fn do_get_fallback(&self, request: Request<Ticket>, message: Any) -> Rows<Self> {
        let visitor = self.logins.visitor(&request).await?;
        let query: Option<CommandStatementQuery> = message.unpack().map_err(odd)?;
        let query = query.ok_or_else(|| Status::invalid_argument("this ticket opens nothing"))?;
        self.rows(&visitor, &query.query, None).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        let visitor = self.logins.visitor(&request).await?;
        let sql = std::str::from_utf8(&ticket.statement_handle).map_err(odd)?;
        self.rows(&visitor, sql, None).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let visitor = self.logins.visitor(&request).await?;
        let (_, plan) = self.plan(&visitor, &query.query).await?;
        let dataset = structure::sent_schema(plan.schema().as_arrow());
        let parameters = parameters(&plan)?;
        let handle = token()?;
        let now = Instant::now();
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.retain(|_, p| now.duration_since(p.used) < PREPARED_LASTS);
        let of_user = prepared.values().filter(|p| p.user == visitor.user).count();
        if of_user >= PREPARED_MAX {
            return Err(Status::resource_exhausted(format!(
                "more than {PREPARED_MAX} prepared statements of one user"
            )));
        }
        prepared.insert(
            handle.clone(),
            Prepared {
                user: visitor.user,
                sql: query.query,
                values: None,
                used: now,
            },
        );
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: schema_bytes(&dataset)?,
            parameter_schema: schema_bytes(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let visitor = self.logins.visitor(&request).await?;
        let (handle, _) = self.find(&visitor, &query.prepared_statement_handle)?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.remove(&handle);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let visitor = self.logins.visitor(&request).await?;
        let (handle, found) = self.find(&visitor, &query.prepared_statement_handle)?;
        let data = request.into_inner().into_peekable();
        let data = data.map_err(|told| FlightError::Tonic(Box::new(told)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
        let mut values: Option<Vec<ScalarValue>> = None;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(odd)?;
            if batch.num_rows() == 0 {
                continue;
            }
            if batch.num_rows() > 1 || values.is_some() {
                return Err(Status::unimplemented("one set of parameters at a time"));
            }
            let row = batch.columns().iter();
            let row: Result<Vec<ScalarValue>, _> = row
                .map(|column| ScalarValue::try_from_array(column, 0))
                .collect();
            values = Some(row.map_err(odd)?);
        }
        let values = values.map(|values| self.typed(&visitor, &found.sql, values));
        let values = match values {
            Some(values) => Some(ParamValues::from(values.await?)),
            None => None,
        };
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = prepared.get_mut(&handle) {
            found.values = values;
        }
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle.into()),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        let visitor = self.logins.visitor(&request).await?;
        let (_, found) = self.find(&visitor, &query.prepared_statement_handle)?;
        let (_, plan) = self.plan(&visitor, &found.sql).await?;
        info_of(&structure::sent_schema(plan.schema().as_arrow()), request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        let visitor = self.logins.visitor(&request).await?;
        let (_, found) = self.find(&visitor, &query.prepared_statement_handle)?;
        self.rows(&visitor, &found.sql, found.values).await
    }

    async fn do_put_statement_update(
        &self,
        query: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let visitor = self.logins.visitor(&request).await?;
        let mut asked = Asked::begin(&self.desk, &visitor, &query.query);
        asked.end(Err("the archive is read-only".to_owned()));
        Err(read_only())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.logins.visitor(&request).await?;
        Err(read_only())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        let mut builder = query.into_builder();
        builder.append(CATALOG);
        one(builder.build())
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&query.into_builder().schema(), request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        let mut builder = query.into_builder();
        builder.append(CATALOG, SCHEMA);
        one(builder.build())
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&query.into_builder().schema(), request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        let mut builder = query.into_builder();
        for (name, schema, is_view) in &self.desk.tables {
            let kind = if *is_view { "VIEW" } else { "TABLE" };
            let schema = structure::sent_schema(schema);
            builder
                .append(CATALOG, SCHEMA, name, kind, &schema)
                .map_err(odd)?;
        }
        one(builder.build())
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&query.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        let mut builder = query.into_builder();
        builder.append("TABLE");
        builder.append("VIEW");
        one(builder.build())
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&query.into_builder(&self.info).schema(), request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        one(query.into_builder(&self.info).build())
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&query.into_builder(&self.types).schema(), request)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        one(query.into_builder(&self.types).build())
    }

    async fn get_flight_info_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&structure::no_primary_keys().schema(), request)
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        one(Ok(structure::no_primary_keys()))
    }

    async fn get_flight_info_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&structure::no_foreign_keys().schema(), request)
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        one(Ok(structure::no_foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&structure::no_foreign_keys().schema(), request)
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        one(Ok(structure::no_foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Told<FlightInfo> {
        self.logins.visitor(&request).await?;
        info_of(&structure::no_foreign_keys().schema(), request)
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Rows<Self> {
        self.logins.visitor(&request).await?;
        one(Ok(structure::no_foreign_keys()))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

impl Flight {
    /// Parameters as the engine takes them.
    async fn typed(
        &self,
        visitor: &Visitor,
        sql: &str,
        values: Vec<ScalarValue>,
    ) -> Result<Vec<ScalarValue>, Status> {
        let (_, plan) = self.plan(visitor, sql).await?;
        let wanted = parameters(&plan)?;
        if wanted.fields().len() != values.len() {
            return Err(Status::invalid_argument(format!(
                "{} parameters were bound, and the statement has {}",
                values.len(),
                wanted.fields().len()
            )));
        }
        let typed = values.into_iter().zip(wanted.fields());
        let typed = typed.map(|(value, field)| value.cast_to(field.data_type()));
        typed.collect::<Result<_, _>>().map_err(odd)
    }
}
