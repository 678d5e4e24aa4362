//! Parts of a question (`WITH name AS …`) that its header marks with `-- once: name`: they are answered
//! once, kept in memory, and read as often as the question names them. DataFusion puts a part in at every
//! place that names it: each place plans it again, scans the files again and sorts again. In: a parsed
//! query with marks. Out: the query that reads the rows of those parts, which are charged to the memory
//! limit of the query as long as it runs. A part that is too large to keep stays in the query as it was.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::catalog::{MemTable, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, CteAsMaterialized, Query, With};
use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::{PARTS_CATALOG, SCHEMA, Session, dialect, failure::sql_error};
use crate::error::{Error, ErrorKind, Result};

/// A part is kept if it takes no more than this share of the memory limit: the query needs some too.
const KEPT_SHARE: usize = 4;

/// The answered parts of one query: tables of the session and their memory, given back when dropped.
pub(super) struct Parts {
    schema: Arc<dyn SchemaProvider>,
    names: Vec<String>,
    kept: Vec<Arc<Kept>>,
}

impl Parts {
    /// No parts yet; they become tables of this schema.
    pub(super) fn new(schema: Arc<dyn SchemaProvider>) -> Self {
        Self {
            schema,
            names: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for name in &self.names {
            // It was registered, and nothing else can go wrong in memory.
            let _ = self.schema.deregister_table(name);
        }
    }
}

/// The parts of a query, `WITH name AS …`.
fn parts_of(statement: &mut ast::Statement) -> &mut [ast::Cte] {
    match statement {
        ast::Statement::Query(query) => query
            .with
            .as_mut()
            .map_or(&mut [], |with| with.cte_tables.as_mut_slice()),
        _ => &mut [],
    }
}

/// Marks the part of this name; `false` if there is none.
pub(super) fn mark(statement: &mut ast::Statement, name: &str) -> bool {
    for part in parts_of(statement) {
        if part.alias.name.value == name {
            part.materialized = Some(CteAsMaterialized::Materialized);
            return true;
        }
    }
    false
}

/// Answers the parts of a query that are to be kept, in their order, and puts their rows in their place.
pub(super) async fn materialize(
    session: &Session,
    statement: Statement,
    parts: &mut Parts,
) -> Result<Statement> {
    let Statement::Statement(mut statement) = statement else {
        return Ok(statement);
    };
    let marked = |part: &ast::Cte| part.materialized.is_some();
    if !parts_of(&mut statement).iter().any(marked) {
        return Ok(Statement::Statement(statement));
    }
    if let ast::Statement::Query(query) = statement.as_mut()
        && let Some(with) = &mut query.with
    {
        for at in 0..with.cte_tables.len() {
            let part = &mut with.cte_tables[at];
            if part.materialized.take() != Some(CteAsMaterialized::Materialized) {
                continue;
            }
            // With its own definition, since a recursive part names itself.
            let mut step = *rows_of(&part.alias.name.to_string())?;
            step.with = Some(With {
                with_token: with.with_token.clone(),
                recursive: with.recursive,
                cte_tables: with.cte_tables[..=at].to_vec(),
            });
            leave_out_unused(&mut step);
            if let Some(name) = answer(session, step, parts).await? {
                with.cte_tables[at].query = rows_of(&name)?;
            }
        }
        leave_out_unused(query);
    }
    Ok(Statement::Statement(statement))
}

/// Takes out the parts that nothing names any more: each would be planned.
fn leave_out_unused(query: &mut Query) {
    let Some(mut with) = query.with.take() else {
        return;
    };
    let mut named = BTreeSet::new();
    add_names(query, &mut named);
    // A part is named by the query or by later parts.
    let mut used: Vec<ast::Cte> = Vec::with_capacity(with.cte_tables.len());
    for part in with.cte_tables.into_iter().rev() {
        if named.contains(&part.alias.name.value) {
            add_names(&part.query, &mut named);
            used.push(part);
        }
    }
    used.reverse();
    with.cte_tables = used;
    query.with = (!with.cte_tables.is_empty()).then_some(with);
}

/// Adds the last part of the name of every table that a query reads.
fn add_names(query: &Query, names: &mut BTreeSet<String>) {
    let _: ControlFlow<()> = ast::visit_relations(query, |relation| {
        let last = relation.0.last().and_then(ast::ObjectNamePart::as_ident);
        names.extend(last.map(|name| name.value.clone()));
        ControlFlow::Continue(())
    });
}

/// `SELECT * FROM name`.
fn rows_of(name: &str) -> Result<Box<Query>> {
    if let Statement::Statement(statement) = dialect::parse(&format!("SELECT * FROM {name}"))?
        && let ast::Statement::Query(query) = *statement
    {
        return Ok(query);
    }
    Err(Error::new(
        ErrorKind::Bug,
        format!("{name} is no name of a table"),
    ))
}

/// Answers one part and makes it a table of the session; `None` if it is too large for that.
async fn answer(session: &Session, query: Query, parts: &mut Parts) -> Result<Option<String>> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let statement = ast::Statement::Query(Box::new(query));
    let plan = session
        .plan(Statement::Statement(Box::new(statement)))
        .await?;
    let failed = |e: DataFusionError| sql_error(&e);
    let state = session.context.state();
    let physical = session.planned(&state, &plan).await?;
    let schema = physical.schema();
    let task = Arc::new(TaskContext::from(&state));
    let memory = MemoryConsumer::new("rows of a part of the query").register(task.memory_pool());
    let kept = Arc::new(Kept {
        memory,
        bytes_max: session.memory_bytes / KEPT_SHARE,
    });

    let mut running = JoinSet::new();
    for (at, stream) in execute_stream_partitioned(physical, task)
        .map_err(failed)?
        .into_iter()
        .enumerate()
    {
        let kept = Arc::clone(&kept);
        running.spawn(async move { (at, kept.collect(stream).await) });
    }
    let mut partitions: Vec<Vec<RecordBatch>> = vec![Vec::new(); running.len()];
    while let Some(done) = running.join_next().await {
        let (at, batches) = done
            .map_err(|e| Error::new(ErrorKind::Bug, "a part of the query panicked").because(e))?;
        match batches.map_err(failed)? {
            Some(batches) => partitions[at] = batches,
            None => return Ok(None),
        }
    }
    let table = MemTable::try_new(schema, partitions).map_err(failed)?;
    let name = format!("materialized_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    parts
        .schema
        .register_table(name.clone(), Arc::new(table))
        .map_err(failed)?;
    let path = format!("{PARTS_CATALOG}.{SCHEMA}.{name}");
    parts.names.push(name);
    parts.kept.push(kept);
    Ok(Some(path))
}

/// The memory of one part.
#[derive(Debug)]
struct Kept {
    memory: MemoryReservation,
    bytes_max: usize,
}

impl Kept {
    /// All rows of one stream; `None` if the part does not fit.
    async fn collect(
        &self,
        mut stream: SendableRecordBatchStream,
    ) -> Result<Option<Vec<RecordBatch>>, DataFusionError> {
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch = compacted(batch?)?;
            let bytes = batch.get_array_memory_size();
            if self.memory.size() + bytes > self.bytes_max || self.memory.try_grow(bytes).is_err() {
                return Ok(None);
            }
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        Ok(Some(batches))
    }
}

/// Texts that are views keep whole pages of files alive: those that are left are copied.
fn compacted(batch: RecordBatch) -> Result<RecordBatch, DataFusionError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
            _ => Arc::clone(column),
        });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}
