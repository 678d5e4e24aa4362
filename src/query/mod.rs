//! SQL over the tables of an archive. In: an opened [`Archive`] and limits. Out: a [`Session`] that
//! knows the tables, the views of `sql/views`, JSON functions and ours, and answers queries as
//! streams of record batches. Promised: read-only (no DDL, DML, COPY or SET gets through), within
//! the memory limit (what does not fit is spilled to a temporary folder) and the time limit; each
//! session sees one version of every table, the newest when it was opened.

mod bind;
mod condition_of;
mod coverage;
mod dialect;
mod embedded;
mod failure;
mod functions;
mod header;
mod json_pretty;
mod local_time;
mod materialize;
pub mod question;
pub mod reads;
mod revisions;
mod search;
mod share;
mod shared;
pub mod time;
mod time_step;
pub mod views;
mod yielding;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use datafusion::catalog::SchemaProvider;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, disk_manager::DiskManagerBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::table::Archive;
use crate::table::provider::{Pruning, TableSize};
pub use dialect::parse;
pub use failure::sql_error;
pub use functions::duration_text;
pub use shared::{Asker, Sessions};

/// Memory for the state of a query (sorts, aggregates, joins) unless set otherwise.
pub const MEMORY_BYTES_DEFAULT: usize = 2 << 30;

/// The one database and its schema, as SQL names them.
pub const CATALOG: &str = "kolumn";
/// The schema of the tables and views.
pub const SCHEMA: &str = "public";

/// Where queries find their own answered parts.
const PARTS_CATALOG: &str = "parts";

/// What a session may use and how it works.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Bytes of memory for the state of queries; more is spilled or refused.
    pub memory_bytes: usize,
    /// Time for one query, planning included.
    pub timeout: Option<Duration>,
    /// Zone in which SQL reads times without an offset.
    pub zone: Tz,
    /// `Off` reads everything and skips nothing (K8).
    pub pruning: Pruning,
    /// Partitions read side by side; `None`: as many as cores.
    pub partitions: Option<NonZeroUsize>,
    /// Keep what queries read, for [`Session::reads`].
    pub traced: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES_DEFAULT,
            timeout: None,
            zone: Tz::UTC,
            pruning: Pruning::On,
            partitions: None,
            traced: false,
        }
    }
}

/// A table or view as `kolumn tables` lists it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Name in SQL.
    pub name: String,
    /// One line on what a row is.
    pub title: String,
    /// Size, if it is a table.
    pub size: Option<TableSize>,
}

/// Tables, views and functions over one version of an archive.
pub struct Session {
    context: SessionContext,
    /// The answered parts of running queries, in a catalog of this session.
    parts: Arc<dyn SchemaProvider>,
    memory_bytes: usize,
    timeout: Option<Duration>,
    rows_max: Option<u64>,
    zone: Tz,
    shown: shared::Shown,
    trace: Option<Arc<reads::Trace>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("listed", &self.shown.listed)
            .finish_non_exhaustive()
    }
}

/// The answer of a query: its columns, and its rows as they come.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows. Ends after the first error.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// All rows at once, for answers known to be small.
    ///
    /// # Errors
    /// The error that ended the stream.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.batches.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl Session {
    /// Opens the newest version of every table and registers views and functions.
    ///
    /// # Errors
    /// `Corrupt` when a table cannot be read, `Bug` when a view is not valid SQL.
    pub async fn open(archive: &Archive, options: &SessionOptions) -> Result<Self> {
        Sessions::new(archive, options)?
            .session(&Asker::default())
            .await
    }

    /// The tables and views, in the order in which they are shown.
    pub fn tables(&self) -> &[Listed] {
        &self.shown.listed
    }

    /// The columns of a table or view.
    ///
    /// # Errors
    /// `Missing` when there is no such table.
    pub async fn columns(&self, table: &str) -> Result<SchemaRef> {
        let provider = self.context.table_provider(table).await.map_err(|_| {
            let names: Vec<&str> = self.shown.listed.iter().map(|l| l.name.as_str()).collect();
            Error::new(
                ErrorKind::Missing,
                format!("there is no table or view {table}"),
            )
            .hint(format!("there are: {}", names.join(", ")))
        })?;
        Ok(provider.schema())
    }

    /// The names of all functions, sorted.
    pub fn functions(&self) -> Vec<String> {
        let state = self.context.state();
        let mut names: Vec<String> = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys())
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Answers one SQL query.
    ///
    /// # Errors
    /// `Usage` when the SQL is wrong or would write, `Limit` when a limit was reached, `Corrupt` or
    /// `Unavailable` when data cannot be read.
    pub async fn query(&self, sql: &str) -> Result<Answer> {
        self.answer(dialect::parse(sql)?).await
    }

    /// Answers a query that was parsed and bound.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn answer(&self, statement: Statement) -> Result<Answer> {
        let deadline = self
            .timeout
            .map(|timeout| (Instant::now() + timeout, timeout));
        let planned = async {
            let mut parts = materialize::Parts::new(Arc::clone(&self.parts));
            let statement = materialize::materialize(self, statement, &mut parts).await?;
            let plan = self.plan(statement).await?;
            let (schema, stream) = self.start(&plan).await?;
            Ok((schema, stream, parts))
        };
        let (schema, stream, parts) = within(deadline, planned).await?;
        Ok(self.limited(schema, stream, deadline, parts))
    }

    /// Answers a query that was planned by [`Session::plan`] and has got its parameters.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn run(&self, plan: &LogicalPlan) -> Result<Answer> {
        read_only(plan)?;
        let deadline = self
            .timeout
            .map(|timeout| (Instant::now() + timeout, timeout));
        let (schema, stream) = within(deadline, self.start(plan)).await?;
        let parts = materialize::Parts::new(Arc::clone(&self.parts));
        Ok(self.limited(schema, stream, deadline, parts))
    }

    async fn start(&self, plan: &LogicalPlan) -> Result<(SchemaRef, SendableRecordBatchStream)> {
        let state = self.context.state();
        let physical = self.planned(&state, plan).await?;
        let task = Arc::new(TaskContext::from(&state));
        let schema = physical.schema();
        let stream = execute_stream(physical, task).map_err(|e| sql_error(&e))?;
        Ok((schema, stream))
    }

    /// The physical plan of what is about to run.
    async fn planned(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let physical = state
            .create_physical_plan(plan)
            .await
            .map_err(|e| sql_error(&e))?;
        if let Some(trace) = &self.trace {
            trace.add(&physical);
        }
        Ok(physical)
    }

    /// What its queries have read up to now, if it is traced; else nothing.
    pub fn reads(&self) -> reads::Reads {
        self.trace
            .as_ref()
            .map(|trace| trace.reads())
            .unwrap_or_default()
    }

    fn limited(
        &self,
        schema: SchemaRef,
        stream: SendableRecordBatchStream,
        deadline: Option<(Instant, Duration)>,
        parts: materialize::Parts,
    ) -> Answer {
        Answer {
            schema,
            batches: limited(stream, deadline, self.rows_max, parts),
        }
    }

    /// The physical plan of a query, for tests of what a plan must look like.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn physical_plan(&self, sql: &str) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.plan(dialect::parse(sql)?).await?;
        let state = self.context.state();
        state
            .create_physical_plan(&plan)
            .await
            .map_err(|e| sql_error(&e))
    }

    /// Plans a statement, of which only questions are let through.
    ///
    /// # Errors
    /// `Usage` when the SQL is wrong or would write.
    pub async fn plan(&self, statement: Statement) -> Result<LogicalPlan> {
        let plan = self
            .context
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(|e| sql_error(&e))?;
        read_only(&plan)?;
        Ok(plan)
    }
}

/// The one guard of every path: no DDL, no DML, no COPY, no SET.
fn read_only(plan: &LogicalPlan) -> Result<()> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .map_err(|e| {
            Error::new(ErrorKind::Usage, "the archive is read-only for SQL")
                .because(Box::new(failure::Reason::of(&e)))
                .hint("ask with SELECT; rows come in by `kolumn ingest` and go out with --output")
        })
}

fn context(options: &SessionOptions, trace: Option<&reads::Trace>) -> Result<SessionContext> {
    let pruning = options.pruning == Pruning::On;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .with_parquet_pruning(pruning)
        .with_parquet_bloom_filter_pruning(pruning)
        .with_parquet_page_index_pruning(pruning)
        .with_collect_statistics(pruning);
    if let Some(partitions) = options.partitions {
        config = config.with_target_partitions(partitions.get());
    }
    if let Some(trace) = trace {
        config = config.with_extension(trace.scans());
    }
    let settings = config.options_mut();
    // Late materialisation: bodies are read only for rows that the other filters let through.
    settings.execution.parquet.pushdown_filters = pruning;
    settings.execution.parquet.reorder_filters = pruning;
    // Groups are many and small here, such as the requests or the Events of an object: aggregating each
    // partition first, only to aggregate again, costs more than it saves unless rows become much fewer.
    settings
        .execution
        .skip_partial_aggregation_probe_rows_threshold = 10_000;
    settings
        .execution
        .skip_partial_aggregation_probe_ratio_threshold = 0.5;
    // It fails where rows come in an order: "Ordering direction required for DISTINCT with limit".
    settings.optimizer.enable_distinct_aggregation_soft_limit = false;
    settings.execution.time_zone = Some(options.zone.name().to_owned());
    settings.optimizer.enable_dynamic_filter_pushdown = pruning;
    settings.optimizer.enable_topk_dynamic_filter_pushdown = pruning;
    settings.optimizer.enable_join_dynamic_filter_pushdown = pruning;
    settings.optimizer.enable_aggregate_dynamic_filter_pushdown = pruning;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime(options.memory_bytes)?)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(yielding::YieldingJoins))
        .build();
    let mut context = SessionContext::new_with_state(state);
    datafusion_functions_json::register_all(&mut context).map_err(|e| sql_error(&e))?;
    for function in functions::all() {
        context.register_udf(function);
    }
    context.register_udwf(revisions::window_function());
    context.add_analyzer_rule(Arc::new(local_time::LocalTime));
    search::register(&mut context).map_err(|e| sql_error(&e))?;
    Ok(context)
}

fn runtime(memory_bytes: usize) -> Result<Arc<RuntimeEnv>> {
    const REPORTED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory_bytes), REPORTED_CONSUMERS);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(DiskManagerBuilder::default())
        .build_arc()
        .map_err(|e| sql_error(&e))
}

async fn within<T>(
    deadline: Option<(Instant, Duration)>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadline {
        None => work.await,
        Some((deadline, timeout)) => match tokio::time::timeout_at(deadline, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(
                ErrorKind::Limit,
                format!("the query took longer than {} s", timeout.as_secs_f64()),
            )
            .hint("narrow it with --since and --until, or raise --timeout")),
        },
    }
}

/// The stream with our errors, ended at the deadline, after the first error and before a row too many; it
/// holds the memory of the query's parts until then.
fn limited(
    stream: SendableRecordBatchStream,
    deadline: Option<(Instant, Duration)>,
    rows_max: Option<u64>,
    parts: materialize::Parts,
) -> BoxStream<'static, Result<RecordBatch>> {
    stream::unfold(Some((stream, 0_u64, parts)), move |state| async move {
        let (mut stream, rows, parts) = state?;
        let next = within(deadline, async {
            stream.next().await.transpose().map_err(|e| sql_error(&e))
        });
        match next.await {
            Ok(Some(batch)) => {
                let rows = rows + batch.num_rows() as u64;
                match rows_max.filter(|most| rows > *most) {
                    Some(most) => Some((Err(too_many(most)), None)),
                    None => Some((Ok(batch), Some((stream, rows, parts)))),
                }
            }
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    })
    .boxed()
}

fn too_many(most: u64) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("the answer has more than {most} rows, which is all you may get"),
    )
    .hint("aggregate, add a LIMIT, or ask the operator for more")
}
