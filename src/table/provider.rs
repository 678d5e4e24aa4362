//! One version of a Delta table as a DataFusion table. In: a loaded Delta snapshot. Out: a stock
//! `DataSourceExec` over the files that a query may need, so plans need no code of ours to run
//! elsewhere. Files are skipped by partition values and by the bounds in the log; row groups, pages
//! and rows by the Parquet source. Order is declared only for files whose tag says they are sorted.
//! Filters are always `Inexact`: skipping is conservative, DataFusion checks every row again.
//! Column order is the table's (partition columns first); Parquet's is the file's, then partitions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{
    Column, ColumnStatistics, DFSchema, DataFusionError, ScalarValue, Statistics, ToDFSchema,
};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{EagerSnapshot, LogDataHandler};
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::Deserialize;
use url::{Position, Url};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{columns::TableName, sort::SORT_TAG};

/// At most so many files are read side by side to keep their order: each is one open stream, whose
/// buffers are a row group's column chunks. Above it the files are shared out over the cores, read
/// one after the other, and a query that needs the order sorts.
const SORTED_FILES_MAX: usize = 32;

/// Whether what is known about files may be used to skip them. `Off` exists to check that the
/// answers are the same (K8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pruning {
    /// Skip what cannot hold a matching row.
    #[default]
    On,
    /// Read every file in full.
    Off,
}

/// Makes the table provider of one loaded Delta table.
///
/// # Errors
/// `Corrupt` when the table uses a Delta feature that would make answers wrong (deletion vectors,
/// column mapping) or its log cannot be understood.
pub fn provider(name: TableName, delta: &DeltaTable, pruning: Pruning) -> Result<Arc<TableFiles>> {
    Ok(Arc::new(TableFiles::load(name, delta, pruning)?))
}

/// The schema queries see: the table's, with text as views, which the Parquet reader fills without
/// copying. Text inside lists and structs stays as it is: the reader would have to cast it.
pub fn query_schema(name: TableName) -> SchemaRef {
    let partitions = name.partition_columns().len();
    let schema = name.schema();
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        if at >= partitions {
            viewed(field)
        } else {
            Arc::clone(field)
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn viewed(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Utf8 => Arc::new(Field::clone(field).with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    }
}

/// What of an archive someone may see. Views are built on what is seen of the tables, so they show no
/// more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Sight {
    /// The clusters whose rows are seen; `None`: all of them, and tables without a partition a cluster.
    pub clusters: Option<BTreeSet<String>>,
    /// True: columns that hold what was sent, answered or written are null.
    pub no_bodies: bool,
}

/// The active files of one version of one table.
#[derive(Debug, Clone)]
pub struct TableFiles {
    name: TableName,
    snapshot: EagerSnapshot,
    pruning: Pruning,
    schema: SchemaRef,
    partition_fields: Vec<FieldRef>,
    store_url: ObjectStoreUrl,
    files: Arc<[DataFile]>,
    /// Which of the files are seen, by position.
    seen: Vec<bool>,
}

/// What the log says about one data file.
#[derive(Debug)]
struct DataFile {
    meta: ObjectMeta,
    partition_values: Vec<ScalarValue>,
    rows: Option<usize>,
    /// How many rows have no value, by column, as far as the log tells.
    nulls: HashMap<String, u64>,
    sorted: bool,
}

/// Sums over the active files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Data files.
    pub files: usize,
    /// Rows; `None` if a file does not tell.
    pub rows: Option<u64>,
    /// Bytes of the data files.
    pub bytes: u64,
}

impl TableFiles {
    fn load(name: TableName, delta: &DeltaTable, pruning: Pruning) -> Result<Self> {
        let snapshot = delta
            .snapshot()
            .map_err(|e| corrupt(name, "its version cannot be read").because(e))?
            .snapshot()
            .clone();
        refuse_unreadable(name, &snapshot)?;
        let partition_fields: Vec<FieldRef> = name
            .schema()
            .fields()
            .iter()
            .take(name.partition_columns().len())
            .cloned()
            .collect();
        let root = root_path(name, delta.table_url())?;
        let tag = name.sort_columns().join(",");
        let log = snapshot
            .try_log_data()
            .map_err(|e| corrupt(name, "its list of files cannot be read").because(e))?;
        let mut files = Vec::with_capacity(log.num_files());
        for view in log.iter() {
            #[expect(deprecated, reason = "nothing else gives the tags of a file")]
            let add = view.add_action();
            let partition_values = partition_fields
                .iter()
                .map(|f| partition_value(name, f, add.partition_values.get(f.name())))
                .collect::<Result<_>>()?;
            let sorted = !tag.is_empty()
                && add
                    .tags
                    .as_ref()
                    .and_then(|tags| tags.get(SORT_TAG))
                    .is_some_and(|sort| sort.as_deref() == Some(tag.as_str()));
            files.push(DataFile {
                meta: ObjectMeta {
                    location: join(&root, &view.object_store_path()),
                    last_modified: DateTime::from_timestamp_millis(add.modification_time)
                        .unwrap_or_default(),
                    size: u64::try_from(add.size)
                        .map_err(|e| corrupt(name, "a file has a negative size").because(e))?,
                    e_tag: None,
                    version: None,
                },
                partition_values,
                rows: view.num_records(),
                nulls: null_counts(add.stats.as_deref()),
                sorted,
            });
        }
        let store_url = ObjectStoreUrl::parse(&delta.table_url()[..Position::BeforePath])
            .map_err(|e| corrupt(name, "its location is no store").because(e))?;
        let schema = query_schema(name);
        Ok(Self {
            name,
            snapshot,
            pruning,
            schema,
            partition_fields,
            store_url,
            seen: vec![true; files.len()],
            files: files.into(),
        })
    }

    /// The same files without those of other clusters: a file holds rows of one cluster.
    #[must_use]
    pub fn of_clusters(&self, clusters: &BTreeSet<String>) -> Self {
        let at = self.partition_fields.iter().position(|f| f.name() == "cluster");
        let is_one = |file: &DataFile| match at.map(|at| &file.partition_values[at]) {
            Some(value) => value
                .try_as_str()
                .flatten()
                .is_some_and(|cluster| clusters.contains(cluster)),
            None => false,
        };
        Self {
            seen: self.files.iter().map(is_one).collect(),
            ..self.clone()
        }
    }

    fn seen_files(&self) -> impl Iterator<Item = &DataFile> {
        let files = self.files.iter().zip(&self.seen);
        files.filter_map(|(file, seen)| seen.then_some(file))
    }

    /// Which table this is.
    pub fn name(&self) -> TableName {
        self.name
    }

    /// The version of the table.
    pub fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// Sums over the active files.
    pub fn size(&self) -> TableSize {
        TableSize {
            files: self.seen_files().count(),
            rows: self.seen_files().map(|f| f.rows.map(|r| r as u64)).sum(),
            bytes: self.seen_files().map(|f| f.meta.size).sum(),
        }
    }

    /// Whether a row for which `filter` is true may exist, as far as the log tells.
    ///
    /// # Errors
    /// Those of planning the filter.
    pub fn may_hold(
        &self,
        session: &dyn Session,
        filter: &Expr,
    ) -> datafusion::error::Result<bool> {
        Ok(self
            .kept(session, std::slice::from_ref(filter))?
            .contains(&true))
    }

    /// For each file, whether it may hold a row for which all `filters` are true.
    fn kept(
        &self,
        session: &dyn Session,
        filters: &[Expr],
    ) -> datafusion::error::Result<Vec<bool>> {
        let all = || self.seen.clone();
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(all());
        };
        if self.pruning == Pruning::Off {
            return Ok(all());
        }
        let df_schema: DFSchema = Arc::clone(&self.schema).to_dfschema()?;
        let filter: Arc<dyn PhysicalExpr> = session.create_physical_expr(filter, &df_schema)?;
        // A filter too odd for pruning keeps every file.
        let Ok(predicate) = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .try_build(filter)
        else {
            return Ok(all());
        };
        let log = self.snapshot.log_data();
        let mut kept = predicate.prune(&LogBounds {
            files: self,
            log: &log,
        })?;
        for (kept, seen) in kept.iter_mut().zip(&self.seen) {
            *kept &= seen;
        }
        Ok(kept)
    }

    fn file_fields(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.schema.fields()[self.partition_fields.len()..].to_vec(),
        ))
    }

    /// The index of a column of this table in the Parquet source's schema: file columns come first.
    fn source_index(&self, index: usize) -> usize {
        let partitions = self.partition_fields.len();
        if index < partitions {
            self.schema.fields().len() - partitions + index
        } else {
            index - partitions
        }
    }

    fn groups(&self, kept: &[&DataFile], target: usize) -> (Vec<FileGroup>, bool) {
        let sorted = kept.len() <= SORTED_FILES_MAX && kept.iter().all(|f| f.sorted);
        let count = if sorted {
            kept.len()
        } else {
            kept.len().min(target.max(1))
        };
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
        for file in kept {
            // The emptiest group gets the next file; with one group a file, an empty one is first.
            if let Some(group) = groups
                .iter_mut()
                .min_by_key(|(bytes, files)| (*bytes, files.len()))
            {
                group.0 += file.meta.size.max(1);
                group.1.push(self.partitioned(file));
            }
        }
        (
            groups
                .into_iter()
                .map(|(_, files)| FileGroup::new(files))
                .collect(),
            sorted,
        )
    }

    fn partitioned(&self, file: &DataFile) -> PartitionedFile {
        let mut partitioned = PartitionedFile::new_from_meta(file.meta.clone())
            .with_partition_values(file.partition_values.clone());
        if self.pruning == Pruning::On {
            // Not `with_statistics`: it would say that a null partition value is not null.
            partitioned.statistics = Some(Arc::new(self.statistics(&[file])));
        }
        partitioned
    }

    /// What is exactly known about `files`, in the Parquet source's column order.
    fn statistics(&self, files: &[&DataFile]) -> Statistics {
        let file_columns = self.schema.fields().len() - self.partition_fields.len();
        let mut columns = vec![ColumnStatistics::new_unknown(); file_columns];
        let rows: Option<usize> = files.iter().map(|f| f.rows).sum();
        for at in 0..self.partition_fields.len() {
            let values = || {
                files
                    .iter()
                    .map(|f| &f.partition_values[at])
                    .filter(|v| !v.is_null())
            };
            let nulls: Option<usize> = files
                .iter()
                .filter(|f| f.partition_values[at].is_null())
                .map(|f| f.rows)
                .sum();
            let bound = |v: Option<&ScalarValue>| match v {
                Some(v) => Precision::Exact(v.clone()),
                None => Precision::Absent,
            };
            let order = |a: &&ScalarValue, b: &&ScalarValue| {
                a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)
            };
            columns.push(ColumnStatistics {
                null_count: nulls.map_or(Precision::Absent, Precision::Exact),
                min_value: bound(values().min_by(order)),
                max_value: bound(values().max_by(order)),
                ..ColumnStatistics::new_unknown()
            });
        }
        Statistics {
            num_rows: rows.map_or(Precision::Absent, Precision::Exact),
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        }
    }

    fn ordering(&self) -> Option<LexOrdering> {
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        LexOrdering::new(self.name.sort_columns().iter().filter_map(|column| {
            let index = self.source_index(self.schema.index_of(column).ok()?);
            Some(PhysicalSortExpr::new(
                Arc::new(PhysicalColumn::new(column, index)),
                options,
            ))
        }))
    }
}

#[async_trait]
impl TableProvider for TableFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        // In the order of this table's columns, which is not the Parquet source's.
        if self.pruning == Pruning::Off {
            return None;
        }
        let mut statistics = Self::statistics(self, &self.seen_files().collect::<Vec<_>>());
        let file_columns = self.schema.fields().len() - self.partition_fields.len();
        statistics.column_statistics.rotate_left(file_columns);
        Some(statistics)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let kept: Vec<&DataFile> = self
            .files
            .iter()
            .zip(self.kept(session, filters)?)
            .filter_map(|(file, keep)| keep.then_some(file))
            .collect();
        if kept.is_empty() {
            // A DataSourceExec without files panics in EXPLAIN ANALYZE.
            return Ok(Arc::new(EmptyExec::new(Arc::new(
                self.schema.project(&columns)?,
            ))));
        }
        let source_schema = TableSchema::builder(self.file_fields())
            .with_table_partition_cols(self.partition_fields.clone())
            .build();
        let store = session.runtime_env().object_store(&self.store_url)?;
        let metadata = session
            .runtime_env()
            .cache_manager
            .get_file_metadata_cache();
        // No `with_predicate`: the FilterPushdown rule hands the filters to the source itself.
        let source = ParquetSource::new(source_schema)
            .with_table_parquet_options(TableParquetOptions {
                global: session.config().options().execution.parquet.clone(),
                ..TableParquetOptions::default()
            })
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                store, metadata,
            )));
        let (groups, sorted) = self.groups(&kept, session.config().target_partitions());
        let ordering = if sorted { self.ordering() } else { None };
        let mut config = FileScanConfigBuilder::new(self.store_url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_output_ordering(ordering.into_iter().collect())
            .with_limit(limit)
            .with_projection_indices(Some(
                columns
                    .iter()
                    .map(|index| self.source_index(*index))
                    .collect(),
            ))?;
        if self.pruning == Pruning::On {
            config = config.with_statistics(Self::statistics(self, &kept));
        }
        Ok(DataSourceExec::from_data_source(config.build()))
    }
}

/// What is seen of a table without its bodies: the columns are there, their values are null.
#[derive(Debug)]
pub struct Bodiless {
    files: Arc<TableFiles>,
    hidden: Vec<bool>,
}

impl Bodiless {
    /// Hides the bodies of a table.
    pub fn new(files: Arc<TableFiles>) -> Self {
        let bodies = files.name.body_columns();
        let fields = files.schema.fields().iter();
        Self {
            hidden: fields.map(|f| bodies.contains(&f.name().as_str())).collect(),
            files,
        }
    }

    fn asks_hidden(&self, filter: &Expr) -> bool {
        let schema = &self.files.schema;
        filter
            .column_refs()
            .iter()
            .any(|c| schema.index_of(&c.name).is_ok_and(|at| self.hidden[at]))
    }
}

#[async_trait]
impl TableProvider for Bodiless {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        // A filter on what is hidden sees the null, not the file.
        Ok(filters
            .iter()
            .map(|filter| match self.asks_hidden(filter) {
                true => TableProviderFilterPushDown::Unsupported,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        TableProvider::statistics(self.files.as_ref())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.hidden.len()).collect(),
        };
        let shown: Vec<usize> = columns.iter().copied().filter(|at| !self.hidden[*at]).collect();
        let filters: Vec<Expr> = filters
            .iter()
            .filter(|filter| !self.asks_hidden(filter))
            .cloned()
            .collect();
        let below = self.files.scan(session, Some(&shown), &filters, limit).await?;
        if shown.len() == columns.len() {
            return Ok(below);
        }
        let mut place = 0;
        let mut exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(columns.len());
        for at in columns {
            let field = self.files.schema.field(at);
            let expr: Arc<dyn PhysicalExpr> = if self.hidden[at] {
                Arc::new(Literal::new(ScalarValue::try_new_null(field.data_type())?))
            } else {
                place += 1;
                Arc::new(PhysicalColumn::new(field.name(), place - 1))
            };
            exprs.push((expr, field.name().clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(exprs, below)?))
    }
}

/// The bounds that the log holds for each file, for skipping files.
struct LogBounds<'a> {
    files: &'a TableFiles,
    log: &'a LogDataHandler<'a>,
}

impl LogBounds<'_> {
    fn partition(&self, column: &Column) -> Option<ArrayRef> {
        let at = self
            .files
            .partition_fields
            .iter()
            .position(|f| *f.name() == column.name)?;
        ScalarValue::iter_to_array(
            self.files
                .files
                .iter()
                .map(|f| f.partition_values[at].clone()),
        )
        .ok()
    }
}

impl PruningStatistics for LogBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.partition(column)
            .or_else(|| self.log.min_values(column))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.partition(column)
            .or_else(|| self.log.max_values(column).map(widened))
    }

    fn num_containers(&self) -> usize {
        self.files.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        if let Some(values) = self.partition(column) {
            let counts = self.files.files.iter().enumerate().map(|(at, file)| {
                if values.is_null(at) {
                    file.rows.map(|r| r as u64)
                } else {
                    Some(0)
                }
            });
            return Some(Arc::new(counts.collect::<UInt64Array>()));
        }
        // Not the log handler's: it gives the counts the type of the column.
        let counts = self
            .files
            .files
            .iter()
            .map(|f| f.nulls.get(&column.name).copied());
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = self.files.files.iter().map(|f| f.rows.map(|r| r as u64));
        Some(Arc::new(rows.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// Delta cuts timestamp bounds to milliseconds: a maximum may be up to 999 µs later than it says.
fn widened(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let zone = zone.clone();
            let later = values
                .as_primitive::<TimestampMicrosecondType>()
                .unary::<_, TimestampMicrosecondType>(|v| v.saturating_add(999));
            Arc::new(later.with_timezone_opt(zone))
        }
        _ => values,
    }
}

/// The null counts in the statistics of one `Add`. Statistics that cannot be read say nothing.
fn null_counts(stats: Option<&str>) -> HashMap<String, u64> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Stats {
        null_count: HashMap<String, serde_json::Value>,
    }
    let stats: Stats = stats
        .and_then(|s| serde_json::from_str(s).ok())
        .unwrap_or_default();
    stats
        .null_count
        .into_iter()
        .filter_map(|(name, n)| Some((name, n.as_u64()?)))
        .collect()
}

fn corrupt(name: TableName, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("cannot read table {}: {what}", name.as_str()),
    )
}

/// Deletion vectors and column mapping change what a file's rows mean; both are never written here.
fn refuse_unreadable(name: TableName, snapshot: &EagerSnapshot) -> Result<()> {
    let protocol = serde_json::to_string(snapshot.protocol())
        .map_err(|e| corrupt(name, "its protocol cannot be read").because(e))?;
    let mapped = snapshot
        .metadata()
        .configuration()
        .get("delta.columnMapping.mode")
        .is_some_and(|mode| mode != "none");
    for (feature, used) in [
        ("deletion vectors", protocol.contains("\"deletionVectors\"")),
        (
            "column mapping",
            mapped || protocol.contains("\"columnMapping\""),
        ),
    ] {
        if used {
            return Err(
                corrupt(name, &format!("another program switched on {feature}"))
                    .hint("rewrite the table without it; kolumn never uses it"),
            );
        }
    }
    Ok(())
}

/// The table's folder as a path of its store.
fn root_path(name: TableName, url: &Url) -> Result<Path> {
    Path::from_url_path(url.path()).map_err(|e| corrupt(name, "its location is no path").because(e))
}

/// `Add.path` is relative to the table's folder; its characters are those of the object's name.
fn join(root: &Path, file: &Path) -> Path {
    root.parts().chain(file.parts()).collect()
}

fn partition_value(
    name: TableName,
    field: &Field,
    text: Option<&Option<String>>,
) -> Result<ScalarValue> {
    let value = match text {
        Some(Some(text)) => ScalarValue::try_from_string(text.clone(), field.data_type()),
        _ => ScalarValue::try_new_null(field.data_type()),
    };
    value.map_err(|e: DataFusionError| {
        corrupt(
            name,
            &format!(
                "a file has an odd value of partition column {}",
                field.name()
            ),
        )
        .because(e)
    })
}
