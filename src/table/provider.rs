//! One version of a Delta table as a DataFusion table. In: the list of its files. Out: a stock
//! `DataSourceExec` over the files that a query may need, so plans need no code of ours to run
//! elsewhere. Files are skipped by partition values and by the bounds in the log; files, row groups and
//! rows by search indexes where a filter looks for text; row groups, pages and rows by the Parquet
//! source. Order is declared only for files whose tag says they are sorted.
//! Filters are always `Inexact`: skipping is conservative, DataFusion checks every row again.
//! Column order is the table's (partition columns first); Parquet's is the file's, then partitions.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::compute::{SortOptions, max, max_string, min, min_string, take};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Schema, SchemaRef, TimeUnit};
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
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, ParquetAccessPlan,
};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use object_store::{ObjectMeta, ObjectStore};
use serde_json::value::RawValue;
use url::Position;

use super::log::{FileList, FileStatistics, corrupt};
use super::search::{Directories, ScanLog, Scanned, Searcher};
use super::wanted::wanted;
use crate::encode::properties::REST_TAG;
use crate::error::Result;
use crate::layout::columns::TableName;

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

/// Makes the table provider of one version of a table.
///
/// # Errors
/// `Corrupt` when the table lies where no store can be.
pub fn provider(files: FileList, pruning: Pruning) -> Result<Arc<TableFiles>> {
    Ok(Arc::new(TableFiles::new(files, pruning)?))
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
    files: Arc<FileList>,
    /// Those of the files that are seen.
    seen: Arc<[usize]>,
    pruning: Pruning,
    schema: SchemaRef,
    partition_fields: Vec<FieldRef>,
    store_url: ObjectStoreUrl,
    directories: Arc<Directories>,
}

/// A file that a scan opens, and which of its rows; `None`: all.
type Opened = (usize, Option<ParquetAccessPlan>);

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

/// Statistics of this many files are held at a time.
const FILES_AT_ONCE: usize = 4096;

impl TableFiles {
    fn new(files: FileList, pruning: Pruning) -> Result<Self> {
        let name = files.name();
        let partition_fields: Vec<FieldRef> = name
            .schema()
            .fields()
            .iter()
            .take(name.partition_columns().len())
            .cloned()
            .collect();
        let store_url = ObjectStoreUrl::parse(&files.url()[..Position::BeforePath])
            .map_err(|e| corrupt(name, "its location is no store").because(e))?;
        Ok(Self {
            seen: (0..files.len()).collect(),
            files: Arc::new(files),
            pruning,
            schema: query_schema(name),
            partition_fields,
            store_url,
            directories: Arc::default(),
        })
    }

    /// The same files without those of other clusters: a file holds rows of one cluster.
    #[must_use]
    pub fn of_clusters(&self, clusters: &BTreeSet<String>) -> Self {
        let at = self
            .partition_fields
            .iter()
            .position(|f| f.name() == "cluster");
        let names = at.and_then(|at| self.files.partition(at).as_string_opt::<i32>());
        let is_one = |file: usize| {
            names.is_some_and(|n| n.is_valid(file) && clusters.contains(n.value(file)))
        };
        Self {
            seen: self.seen.iter().copied().filter(|f| is_one(*f)).collect(),
            ..self.clone()
        }
    }

    /// Which table this is.
    pub fn name(&self) -> TableName {
        self.files.name()
    }

    /// The version of the table.
    pub fn version(&self) -> u64 {
        self.files.version()
    }

    /// Sums over the active files.
    pub fn size(&self) -> TableSize {
        TableSize {
            files: self.seen.len(),
            rows: self.seen.iter().map(|f| self.files.rows(*f)).sum(),
            bytes: self.seen.iter().map(|f| self.files.size(*f)).sum(),
        }
    }

    /// Whether a row in which the flag is true may exist, as far as the log tells.
    pub fn may_hold_true(&self, flag: &str) -> bool {
        let name = format!("\"{flag}\":");
        let may_hold = |file: usize| {
            let Some(text) = self.files.statistics(file) else {
                return true;
            };
            // As kolumn writes them: the flag stands there once, with the number of its nulls, which
            // is that of all rows.
            let mut places = text.match_indices(&name);
            if let (Some((at, _)), None, Some(rows)) =
                (places.next(), places.next(), self.files.rows(file))
                && let rest = &text[at + name.len()..]
                && let Some(end) = rest.find(|c: char| !c.is_ascii_digit())
                && rest[..end].parse() == Ok(rows)
            {
                return false;
            }
            let told = FileStatistics::parse(Some(text));
            let is_null =
                number(told.null_count.get(flag)).is_some_and(|n| Some(n) == told.num_records);
            let is_false = told
                .max_values
                .get(flag)
                .is_some_and(|max| max.get() == "false");
            !is_null && !is_false
        };
        self.pruning == Pruning::Off || self.seen.iter().copied().any(may_hold)
    }

    /// The files that may hold a row for which all `filters` are true.
    fn kept(
        &self,
        session: &dyn Session,
        filters: &[Expr],
    ) -> datafusion::error::Result<Vec<usize>> {
        let all = self.seen.to_vec();
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(all);
        };
        if self.pruning == Pruning::Off {
            return Ok(all);
        }
        let df_schema: DFSchema = Arc::clone(&self.schema).to_dfschema()?;
        let filter: Arc<dyn PhysicalExpr> = session.create_physical_expr(filter, &df_schema)?;
        let is_partition = |column: &str| self.partition_fields.iter().any(|f| f.name() == column);
        let asks_partitions_only = collect_columns(&filter)
            .iter()
            .all(|c| is_partition(c.name()));
        // A filter too odd for pruning keeps every file.
        let Ok(predicate) = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .try_build(filter)
        else {
            return Ok(all);
        };
        // By partition first, so that the statistics of few files have to be read.
        let kept = predicate.prune(&LogBounds {
            table: self,
            files: &all,
            told: None,
        })?;
        let found = chosen(all, kept);
        if asks_partitions_only {
            return Ok(found);
        }
        let mut kept = Vec::with_capacity(found.len());
        for files in found.chunks(FILES_AT_ONCE) {
            let told: Vec<_> = files
                .iter()
                .map(|f| FileStatistics::parse(self.files.statistics(*f)))
                .collect();
            kept.extend(predicate.prune(&LogBounds {
                table: self,
                files,
                told: Some(&told),
            })?);
        }
        Ok(chosen(found, kept))
    }

    /// Asks the search indexes of files which of them, and which of their rows, are left. Only files
    /// that were written for rest have one: the footers of others are not read for it.
    async fn searched(
        &self,
        kept: Vec<usize>,
        filters: &[Expr],
        store: &Arc<dyn ObjectStore>,
        session: &dyn Session,
    ) -> datafusion::error::Result<(Vec<Opened>, Scanned)> {
        let size = self.size();
        let mut scanned = Scanned {
            table: self.name().as_str(),
            files: size.files,
            bytes: size.bytes,
            opened: kept.len(),
            searched: 0,
            left_out: 0,
            rows: 0,
            rows_left: 0,
            index_bytes: 0,
        };
        let wanted = wanted(filters, &self.schema);
        if self.pruning == Pruning::Off || wanted.is_vague() {
            let all = kept.into_iter().map(|file| (file, None));
            return Ok((all.collect(), scanned));
        }
        let is_at_rest = |file: &usize| self.files.tag(*file, REST_TAG).is_some();
        let (at_rest, others): (Vec<usize>, Vec<usize>) = kept.into_iter().partition(is_at_rest);
        let searcher = Searcher {
            store: Arc::clone(store),
            footers: session
                .runtime_env()
                .cache_manager
                .get_file_metadata_cache(),
            directories: Arc::clone(&self.directories),
            partition_columns: self.name().partition_columns(),
            wanted: Arc::new(wanted),
        };
        let metas = at_rest.iter().map(|file| self.meta(*file));
        let said = searcher.ask(metas.collect::<Result<_, _>>()?).await;
        let mut opened: Vec<Opened> = others.into_iter().map(|file| (file, None)).collect();
        for (file, said) in at_rest.into_iter().zip(said) {
            let Some(said) = said else {
                opened.push((file, None));
                continue;
            };
            scanned.searched += 1;
            scanned.left_out += usize::from(said.plan.is_none());
            scanned.rows += said.rows;
            scanned.rows_left += said.rows_left;
            scanned.index_bytes += said.bytes_read;
            if said.plan.is_some() {
                opened.push((file, said.plan));
            }
        }
        opened.sort_unstable_by_key(|(file, _)| *file);
        scanned.opened = opened.len();
        Ok((opened, scanned))
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

    fn groups(
        &self,
        kept: Vec<Opened>,
        target: usize,
    ) -> datafusion::error::Result<(Vec<FileGroup>, bool)> {
        let sorted =
            kept.len() <= SORTED_FILES_MAX && kept.iter().all(|(f, _)| self.files.is_sorted(*f));
        let count = if sorted {
            kept.len()
        } else {
            kept.len().min(target.max(1))
        };
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
        for (file, plan) in kept {
            // The emptiest group gets the next file; with one group a file, an empty one is first.
            if let Some(group) = groups
                .iter_mut()
                .min_by_key(|(bytes, files)| (*bytes, files.len()))
            {
                group.0 += self.files.size(file).max(1);
                let partitioned = self.partitioned(file)?;
                group.1.push(match plan {
                    Some(plan) => partitioned.with_extension(plan),
                    None => partitioned,
                });
            }
        }
        let groups = groups.into_iter().map(|(_, files)| FileGroup::new(files));
        Ok((groups.collect(), sorted))
    }

    /// A file as the store knows it, always the same: footers are remembered by it.
    fn meta(&self, file: usize) -> datafusion::error::Result<ObjectMeta> {
        let location = self
            .files
            .location(file)
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(ObjectMeta {
            location,
            last_modified: DateTime::from_timestamp_millis(self.files.modified(file))
                .unwrap_or_default(),
            size: self.files.size(file),
            e_tag: None,
            version: None,
        })
    }

    fn partitioned(&self, file: usize) -> datafusion::error::Result<PartitionedFile> {
        let values = (0..self.partition_fields.len())
            .map(|at| ScalarValue::try_from_array(self.files.partition(at), file));
        let mut partitioned = PartitionedFile::new_from_meta(self.meta(file)?)
            .with_partition_values(values.collect::<datafusion::error::Result<_>>()?);
        if self.pruning == Pruning::On {
            // Not `with_statistics`: it would say that a null partition value is not null.
            partitioned.statistics = Some(Arc::new(self.statistics(&[file])?));
        }
        Ok(partitioned)
    }

    /// What is exactly known about `files`, in the Parquet source's column order.
    fn statistics(&self, files: &[usize]) -> datafusion::error::Result<Statistics> {
        let file_columns = self.schema.fields().len() - self.partition_fields.len();
        let mut columns = vec![ColumnStatistics::new_unknown(); file_columns];
        let rows_of = |file: usize| {
            let rows = self.files.rows(file)?;
            usize::try_from(rows).ok()
        };
        let rows: Option<usize> = files.iter().map(|f| rows_of(*f)).sum();
        let known = |n: Option<usize>| n.map_or(Precision::Absent, Precision::Exact);
        let chosen: UInt64Array = files.iter().map(|f| Some(*f as u64)).collect();
        for at in 0..self.partition_fields.len() {
            let all = self.files.partition(at);
            let nulls: Option<usize> = files
                .iter()
                .filter(|f| all.is_null(**f))
                .map(|f| rows_of(*f))
                .sum();
            let mut column = ColumnStatistics {
                null_count: known(nulls),
                ..ColumnStatistics::new_unknown()
            };
            let values = take(all, &chosen, None)?;
            if let Some((least, greatest)) = least_and_greatest(&values) {
                column.min_value = Precision::Exact(least);
                column.max_value = Precision::Exact(greatest);
            }
            columns.push(column);
        }
        Ok(Statistics {
            num_rows: known(rows),
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        })
    }

    fn ordering(&self) -> Option<LexOrdering> {
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        LexOrdering::new(self.name().sort_columns().iter().filter_map(|column| {
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
        let mut statistics = Self::statistics(self, &self.seen).ok()?;
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
        let store = session.runtime_env().object_store(&self.store_url)?;
        let kept = self.kept(session, filters)?;
        let (opened, scanned) = self.searched(kept, filters, &store, session).await?;
        if let Some(log) = session.config().get_extension::<ScanLog>() {
            log.add(scanned);
        }
        if opened.is_empty() {
            // A DataSourceExec without files panics in EXPLAIN ANALYZE.
            return Ok(Arc::new(EmptyExec::new(Arc::new(
                self.schema.project(&columns)?,
            ))));
        }
        let source_schema = TableSchema::builder(self.file_fields())
            .with_table_partition_cols(self.partition_fields.clone())
            .build();
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
        let files: Vec<usize> = opened.iter().map(|(file, _)| *file).collect();
        let partly = opened.iter().any(|(_, plan)| plan.is_some());
        let (groups, sorted) = self.groups(opened, session.config().target_partitions())?;
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
            let statistics = Self::statistics(self, &files)?;
            config = config.with_statistics(match partly {
                true => statistics.to_inexact(),
                false => statistics,
            });
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
        let bodies = files.name().body_columns();
        let fields = files.schema.fields().iter();
        Self {
            hidden: fields
                .map(|f| bodies.contains(&f.name().as_str()))
                .collect(),
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
        let shown: Vec<usize> = columns
            .iter()
            .copied()
            .filter(|at| !self.hidden[*at])
            .collect();
        let filters: Vec<Expr> = filters
            .iter()
            .filter(|filter| !self.asks_hidden(filter))
            .cloned()
            .collect();
        let below = self
            .files
            .scan(session, Some(&shown), &filters, limit)
            .await?;
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

/// What the log holds of some files, for skipping them.
struct LogBounds<'a> {
    table: &'a TableFiles,
    files: &'a [usize],
    /// Statistics of the files; none: only partitions are looked at.
    told: Option<&'a [FileStatistics<'a>]>,
}

impl LogBounds<'_> {
    fn partition(&self, column: &Column) -> Option<ArrayRef> {
        let fields = &self.table.partition_fields;
        let at = fields.iter().position(|f| *f.name() == column.name)?;
        let chosen: UInt64Array = self.files.iter().map(|f| Some(*f as u64)).collect();
        take(self.table.files.partition(at), &chosen, None).ok()
    }

    /// One bound of a column in each file. Delta cuts times to milliseconds, so that a greatest time
    /// may be up to 999 µs later than it says.
    fn bounds(
        &self,
        column: &Column,
        of: fn(&FileStatistics<'_>, &str) -> Option<String>,
        later: i64,
    ) -> Option<ArrayRef> {
        let field = self.table.schema.field_with_name(&column.name).ok()?;
        let texts = self.told?.iter().map(|t| of(t, &column.name));
        Some(match field.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let times = texts.map(|t| {
                    let text: String = serde_json::from_str(&t?).ok()?;
                    let time = DateTime::parse_from_rfc3339(&text).ok()?;
                    Some(time.timestamp_micros().saturating_add(later))
                });
                let times: TimestampMicrosecondArray = times.collect();
                Arc::new(times.with_timezone_opt(zone.clone()))
            }
            DataType::Utf8 | DataType::Utf8View => {
                let texts = texts.map(|t| serde_json::from_str::<String>(&t?).ok());
                Arc::new(texts.collect::<StringViewArray>())
            }
            DataType::Int64 => Arc::new(texts.map(|t| t?.parse().ok()).collect::<Int64Array>()),
            DataType::Boolean => Arc::new(texts.map(|t| t?.parse().ok()).collect::<BooleanArray>()),
            _ => return None,
        })
    }
}

impl PruningStatistics for LogBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let least =
            |t: &FileStatistics<'_>, name: &str| t.min_values.get(name).map(|v| v.get().to_owned());
        self.partition(column)
            .or_else(|| self.bounds(column, least, 0))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let greatest =
            |t: &FileStatistics<'_>, name: &str| t.max_values.get(name).map(|v| v.get().to_owned());
        self.partition(column)
            .or_else(|| self.bounds(column, greatest, 999))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        if let Some(values) = self.partition(column) {
            let counts = self.files.iter().enumerate().map(|(at, file)| {
                if values.is_null(at) {
                    self.table.files.rows(*file)
                } else {
                    Some(0)
                }
            });
            return Some(Arc::new(counts.collect::<UInt64Array>()));
        }
        let counts = self.told?.iter();
        let counts = counts.map(|t| number(t.null_count.get(column.name.as_str())));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = self.files.iter().map(|f| self.table.files.rows(*f));
        Some(Arc::new(rows.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn number(value: Option<&&RawValue>) -> Option<u64> {
    value?.get().parse().ok()
}

fn chosen(files: Vec<usize>, keep: Vec<bool>) -> Vec<usize> {
    let kept = files.into_iter().zip(keep);
    kept.filter_map(|(file, keep)| keep.then_some(file))
        .collect()
}

/// The bounds of the values of a partition column.
fn least_and_greatest(values: &ArrayRef) -> Option<(ScalarValue, ScalarValue)> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        return Some((min_string(texts)?.into(), max_string(texts)?.into()));
    }
    let days = values.as_primitive_opt::<Date32Type>()?;
    let day = |day| ScalarValue::Date32(Some(day));
    Some((day(min(days)?), day(max(days)?)))
}
