//! Sorted files into one sorted stream of rows, with bounded memory: each run is decoded as far as
//! the merge needs it. Files that are not sorted are sorted first, on disk where memory is short.

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::SortOptions};
use chrono::DateTime;
use datafusion::{
    catalog::memory::DataSourceExec,
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        table_schema::TableSchema,
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        disk_manager::DiskManagerBuilder,
        memory_pool::{FairSpillPool, UnboundedMemoryPool},
        object_store::ObjectStoreUrl,
        runtime_env::RuntimeEnvBuilder,
    },
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        common::spawn_buffered,
        execute_stream,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        union::UnionExec,
    },
    prelude::SessionConfig,
};
use deltalake_core::logstore::parquet_reader::ParquetObjectReader;
use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore, path::Path};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
        async_reader::ParquetRecordBatchStreamBuilder,
    },
    file::metadata::{PageIndexPolicy, ParquetMetaData},
};
use url::Position;

use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    layout::{build::row_schema, columns::TableName},
    table::Archive,
};

/// Rows taken from a run at a time, at most and at least.
const BATCH_ROWS_MAX: usize = 4096;
const BATCH_ROWS_MIN: usize = 16;

/// No page is held that is larger decoded, but for rows that are.
const PAGE_BYTES: usize = 4 << 20;

/// A file of a run.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Where it lies below the table.
    pub(super) path: Path,
    /// Where it lies in the store.
    pub(super) location: Path,
    pub(super) bytes: u64,
}

/// Files that follow each other.
#[derive(Debug, Clone)]
pub(super) struct InputRun {
    pub(super) files: Vec<Input>,
    /// False: they are in no order.
    pub(super) sorted: bool,
}

/// What reading a run takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Bytes held while it is read.
    pub(super) bytes: usize,
    /// Rows that may be taken at a time.
    pub(super) rows: usize,
}

fn open(store: &Arc<dyn ObjectStore>, file: &Input) -> ParquetObjectReader {
    ParquetObjectReader::new(Arc::clone(store), file.location.clone()).with_file_size(file.bytes)
}

/// Looks at the footers of a run.
pub(super) async fn needs(archive: &Archive, run: &InputRun) -> Result<Needs> {
    let mut needs = Needs {
        bytes: 0,
        rows: BATCH_ROWS_MAX,
    };
    for file in &run.files {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let mut reader = open(&archive.store(), file);
        let footer = ArrowReaderMetadata::load_async(&mut reader, options)
            .await
            .context(format!("cannot read the footer of {}", file.path))?;
        let of_file = needs_of(footer.metadata());
        needs.bytes = needs.bytes.max(of_file.bytes);
        needs.rows = needs.rows.min(of_file.rows);
    }
    Ok(needs)
}

/// A page was ended by its bytes or by its rows, so the shortest tells how dense rows are at most.
fn needs_of(footer: &ParquetMetaData) -> Needs {
    let mut rows = BATCH_ROWS_MAX;
    for group in footer.offset_index().into_iter().flatten() {
        for column in group {
            let starts = column.page_locations().iter().map(|p| p.first_row_index);
            let ends = starts.clone().skip(1);
            let counts = starts
                .zip(ends)
                .map(|(from, to)| usize::try_from(to - from));
            rows = counts.flatten().fold(rows, usize::min);
        }
    }
    let held = |group: &parquet::file::metadata::RowGroupMetaData| {
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        let pages = group
            .columns()
            .iter()
            .map(|c| size(c.uncompressed_size()).min(PAGE_BYTES));
        // The page being read, and those to which rows that wait for the merge still refer.
        size(group.compressed_size()) + 3 * pages.sum::<usize>()
    };
    Needs {
        bytes: footer.row_groups().iter().map(held).max().unwrap_or(0),
        rows: rows.max(BATCH_ROWS_MIN),
    }
}

/// Reads some columns of all rows of a file.
pub(super) async fn read_columns(
    archive: &Archive,
    file: &Input,
    columns: &[&str],
    sink: &mut (dyn FnMut(&RecordBatch) -> Result<()> + Send),
) -> Result<()> {
    let act = || format!("cannot read {}", file.path);
    let builder = ParquetRecordBatchStreamBuilder::new(open(&archive.store(), file))
        .await
        .context(act())?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let mut batches = builder.with_projection(mask).build().context(act())?;
    while let Some(batch) = batches.try_next().await.context(act())? {
        sink(&batch)?;
    }
    Ok(())
}

/// Merges runs into the order of their table. Rows that are equal in all sort columns stand in the
/// order of the runs, so that the same runs give the same rows (K7).
pub(super) fn merge(
    archive: &Archive,
    table: TableName,
    runs: &[InputRun],
    batch_rows: usize,
    memory_bytes: usize,
) -> Result<SendableRecordBatchStream> {
    let act = format!("cannot merge files of {}", table.as_str());
    let bug = |e| Error::new(ErrorKind::Bug, act.clone()).because(e);
    let url = ObjectStoreUrl::parse(&archive.url()[..Position::BeforePath]).map_err(bug)?;
    let order = ordering(table);
    let one_after_the_other = [InputRun {
        files: runs.iter().flat_map(|run| run.files.clone()).collect(),
        sorted: false,
    }];
    let runs = if order.is_some() {
        runs
    } else {
        &one_after_the_other
    };
    let (sorted, unsorted): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.sorted);
    let disk = DiskManagerBuilder::default();
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk);
    // What a merge holds is bounded by its inputs; only a sort has to be told.
    let runtime = if unsorted.is_empty() {
        runtime.with_memory_pool(Arc::new(UnboundedMemoryPool::default()))
    } else {
        runtime.with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
    };
    let runtime = runtime.build_arc().map_err(bug)?;
    runtime.register_object_store(url.as_ref(), archive.store());
    let config = SessionConfig::new()
        .with_batch_size(batch_rows)
        .with_target_partitions(1);
    let task = Arc::new(
        TaskContext::default()
            .with_session_config(config)
            .with_runtime(runtime),
    );
    let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
    if !sorted.is_empty() {
        inputs.push(scan(&url, table, &sorted, order.clone()));
    }
    for run in unsorted {
        let read = scan(&url, table, &[run], None);
        inputs.push(match &order {
            Some(order) => Arc::new(SortExec::new(order.clone(), read)),
            None => read,
        });
    }
    let all = match inputs.len() {
        1 => inputs.swap_remove(0),
        _ => UnionExec::try_new(inputs).map_err(bug)?,
    };
    let plan: Arc<dyn ExecutionPlan> = match order {
        Some(order) => {
            Arc::new(SortPreservingMergeExec::new(order, all).with_round_robin_repartition(false))
        }
        None => all,
    };
    let stream = execute_stream(plan, task).map_err(bug)?;
    Ok(spawn_buffered(stream, 1))
}

/// One partition a run.
fn scan(
    url: &ObjectStoreUrl,
    table: TableName,
    runs: &[&InputRun],
    order: Option<LexOrdering>,
) -> Arc<dyn ExecutionPlan> {
    let groups = runs.iter().map(|run| {
        let files = run.files.iter();
        FileGroup::new(
            files
                .map(|f| {
                    PartitionedFile::new_from_meta(ObjectMeta {
                        location: f.location.clone(),
                        last_modified: DateTime::UNIX_EPOCH,
                        size: f.bytes,
                        e_tag: None,
                        version: None,
                    })
                })
                .collect(),
        )
    });
    let source = ParquetSource::new(TableSchema::builder(row_schema(table)).build());
    let config = FileScanConfigBuilder::new(url.clone(), Arc::new(source))
        .with_file_groups(groups.collect())
        .with_output_ordering(order.into_iter().collect())
        .build();
    DataSourceExec::from_data_source(config)
}

fn ordering(table: TableName) -> Option<LexOrdering> {
    let schema = row_schema(table);
    let options = SortOptions {
        descending: false,
        nulls_first: false,
    };
    LexOrdering::new(table.sort_columns().iter().filter_map(|name| {
        let column = Column::new(name, schema.index_of(name).ok()?);
        Some(PhysicalSortExpr::new(Arc::new(column), options))
    }))
}

/// The error of a merge that broke off.
pub(super) fn failed(table: TableName, e: datafusion::error::DataFusionError) -> Error {
    use datafusion::common::DataFusionError as Cause;
    let act = format!("cannot merge files of {}", table.as_str());
    match e {
        Cause::ObjectStore(e) => {
            let failed: std::result::Result<(), _> = Err(*e);
            match failed.context(act) {
                Err(e) => e,
                Ok(()) => Error::new(ErrorKind::Bug, "an error became none"),
            }
        }
        Cause::ParquetError(e) => Error::new(ErrorKind::Corrupt, act).because(e),
        Cause::ResourcesExhausted(text) => Error::new(ErrorKind::Limit, act)
            .because(text)
            .hint("raise --memory"),
        e => Error::new(ErrorKind::Bug, act).because(e),
    }
}
