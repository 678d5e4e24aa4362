//! The ledger: what was planned, read and counted, one row a range of an object, appended to and
//! never changed. [`Ledger`] is its state in memory: how far each content is known, and which batches
//! are open.
//!
//! A content is known by the digest of its first line, not by its name, so that a file that was
//! rotated, renamed or compressed is found again; the digests of its ranges prove it.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, Utc};
use deltalake_core::DeltaTable;
use object_store::ObjectStoreExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use crate::{
    commit::stage::{Placement, StagedFile, stage},
    encode::{
        properties::{INGEST_ZSTD_LEVEL, writer_properties},
        statistics::delta_statistics,
        write::encode,
    },
    error::{Context as _, Error, ErrorKind, Result},
    event::time::Micros,
    layout::{build::Rows, columns::TableName, sort::SortedRows},
    source::Compression,
    table::Archive,
};

/// State of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// Ranges are pinned; rows may or may not be in the tables.
    Planned,
    /// Rows are in the tables.
    Committed,
    /// The objects could not be read again; nothing of it is in the tables.
    Abandoned,
    /// Rows of the object were taken out of the tables: they expired, or a fuller copy is kept.
    Removed,
}

impl BatchState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Committed => "committed",
            Self::Abandoned => "abandoned",
            Self::Removed => "removed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [
            Self::Planned,
            Self::Committed,
            Self::Abandoned,
            Self::Removed,
        ]
        .into_iter()
        .find(|s| s.as_str() == text)
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRecord {
    /// Source name.
    pub source: String,
    /// Batch number within the source, from 1.
    pub batch: i64,
    /// State.
    pub state: BatchState,
    /// When this row was written, microseconds since the epoch.
    pub recorded_at: i64,
    /// When the batch was planned, microseconds since the epoch.
    pub planned_at: i64,
    /// Object.
    pub object_uri: String,
    /// Version of the object when it was listed.
    pub object_version: String,
    /// Size of the object when it was listed, bytes.
    pub object_size: i64,
    /// Cluster name given for the source.
    pub cluster: Option<String>,
    /// Compression.
    pub compression: String,
    /// Digest of the first line of the content.
    pub head_digest: String,
    /// First byte of the range, decompressed.
    pub range_start: i64,
    /// End of the range, decompressed; none while planned and not known.
    pub range_end: Option<i64>,
    /// Digest of the range.
    pub range_digest: Option<String>,
    /// Records read.
    pub records: i64,
    /// Records that became rows.
    pub rows: i64,
    /// Records stored before.
    pub duplicates: i64,
    /// Records that could not be decoded.
    pub rejected: i64,
    /// Bytes of a half-written last record.
    pub waiting_bytes: i64,
    /// Why the object could not be read to its end.
    pub ended_early: Option<String>,
    /// `on:<key id>` or `off`.
    pub redaction: String,
    /// Version of this program.
    pub version: String,
    /// First data file of the batch's rows.
    pub first_rows_file: Option<String>,
    /// Records that were dropped as the source's settings say; not among `records`.
    #[serde(default)]
    pub filtered: i64,
    /// Lines that are part of the row of an earlier line; not among `records`.
    #[serde(default)]
    pub continuations: i64,
}

/// Identity of a content: the cluster name given for it and the digest of its first line. The same
/// file ingested for two clusters is two contents.
pub type ContentKey = (Option<String>, String);

/// A content, as far as it is in the tables.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// End of what is in the tables, decompressed bytes.
    pub end: u64,
    /// Ranges in order: end and digest of each.
    pub ranges: Vec<(u64, String)>,
    /// Objects it was read from.
    pub objects: Vec<String>,
}

/// What is known of an object by its name.
#[derive(Debug, Clone)]
pub struct KnownObject {
    /// Version it had when it was last read.
    pub version: String,
    /// Cluster given for it.
    pub cluster: Option<String>,
    /// Bytes of a half-written last record.
    pub waiting_bytes: u64,
    /// Why it could not be read to its end.
    pub ended_early: Option<String>,
}

/// The ledger's state.
#[derive(Debug, Default)]
pub struct Ledger {
    contents: HashMap<ContentKey, Vec<Content>>,
    objects: HashMap<(Option<String>, String), KnownObject>,
    last_batch: HashMap<String, i64>,
    open: Vec<Vec<RangeRecord>>,
}

impl Ledger {
    /// Loads the ledger of an archive at the version of `table`.
    ///
    /// # Errors
    /// `Corrupt` if a ledger file cannot be read, and the errors of the store.
    pub async fn load(archive: &Archive, table: &DeltaTable) -> Result<Self> {
        let mut records = Vec::new();
        let store = table.log_store().object_store(None);
        let state = table
            .snapshot()
            .map_err(|e| archive.error(TableName::Ledger, e))?;
        for file in state.snapshot().log_data().iter() {
            let path = file.object_store_path();
            let act = format!("cannot read ledger file {path}");
            let bytes = store
                .get(&path)
                .await
                .context(&act)?
                .bytes()
                .await
                .context(&act)?;
            let source = file
                .partition_values_map()
                .remove("source")
                .flatten()
                .unwrap_or_default();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(ParquetRecordBatchReaderBuilder::build)
                .context(&act)?;
            for batch in reader {
                let batch = batch.context(&act)?;
                read_records(&batch, &source, &mut records).ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, act.clone())
                        .hint("a column is missing or of another type: was it written by another program?")
                })?;
            }
        }
        Ok(Self::of(records))
    }

    /// The state after all the given rows.
    pub fn of(mut records: Vec<RangeRecord>) -> Self {
        // A range continues what earlier ranges of its content left, so they go in order.
        records.sort_by(|a, b| {
            (
                a.recorded_at,
                &a.source,
                a.batch,
                a.range_start,
                &a.object_uri,
            )
                .cmp(&(
                    b.recorded_at,
                    &b.source,
                    b.batch,
                    b.range_start,
                    &b.object_uri,
                ))
        });
        let mut ledger = Self::default();
        let mut open: HashMap<(String, i64), Vec<RangeRecord>> = HashMap::new();
        let mut closed = std::collections::HashSet::new();
        for record in records {
            let key = (record.source.clone(), record.batch);
            let last = ledger.last_batch.entry(record.source.clone()).or_default();
            *last = record.batch.max(*last);
            if record.state == BatchState::Planned {
                open.entry(key).or_default().push(record);
            } else {
                closed.insert(key);
                ledger.close(&record);
            }
        }
        open.retain(|key, _| !closed.contains(key));
        let mut open: Vec<_> = open.into_iter().collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        ledger.open = open.into_iter().map(|(_, ranges)| ranges).collect();
        ledger
    }

    fn close(&mut self, record: &RangeRecord) {
        if record.state != BatchState::Committed {
            return;
        }
        let (start, end) = (
            unsigned(record.range_start),
            unsigned(record.range_end.unwrap_or(0)),
        );
        let known = KnownObject {
            version: record.object_version.clone(),
            cluster: record.cluster.clone(),
            waiting_bytes: unsigned(record.waiting_bytes),
            ended_early: record.ended_early.clone(),
        };
        self.objects
            .insert((record.cluster.clone(), record.object_uri.clone()), known);
        let contents = self
            .contents
            .entry((record.cluster.clone(), record.head_digest.clone()))
            .or_default();
        let continued = contents
            .iter_mut()
            .filter(|c| c.end == start && start > 0)
            .max_by_key(|c| c.objects.contains(&record.object_uri));
        let content = match continued {
            Some(content) => content,
            None => {
                contents.push(Content::default());
                let last = contents.len() - 1;
                &mut contents[last]
            }
        };
        if end > start {
            content
                .ranges
                .push((end, record.range_digest.clone().unwrap_or_default()));
        }
        content.end = end.max(content.end);
        if !content.objects.contains(&record.object_uri) {
            content.objects.push(record.object_uri.clone());
        }
    }

    /// What is known of an object by its name.
    pub fn object(&self, cluster: Option<&str>, uri: &str) -> Option<&KnownObject> {
        self.objects
            .get(&(cluster.map(str::to_owned), uri.to_owned()))
    }

    /// Contents that begin with the same first line, newest last.
    pub fn contents(&self, key: &ContentKey) -> &[Content] {
        self.contents.get(key).map_or(&[], Vec::as_slice)
    }

    /// Contents that were read from an object, with the digest of their first line.
    pub fn contents_of<'l>(
        &'l self,
        cluster: Option<&'l str>,
        uri: &'l str,
    ) -> impl Iterator<Item = (&'l str, &'l Content)> {
        let of_cluster = self
            .contents
            .iter()
            .filter(move |(key, _)| key.0.as_deref() == cluster);
        of_cluster
            .flat_map(|(key, contents)| contents.iter().map(|c| (key.1.as_str(), c)))
            .filter(move |(_, c)| c.objects.iter().any(|o| o == uri))
    }

    /// The batches that were planned and not closed, a source's in the order of their numbers.
    pub fn open_batches(&self) -> &[Vec<RangeRecord>] {
        &self.open
    }

    /// The number of the next batch of a source.
    pub fn next_batch(&self, source: &str) -> i64 {
        self.last_batch.get(source).copied().unwrap_or(0) + 1
    }
}

/// A number of the ledger that is never negative.
pub fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A count as the ledger holds it.
pub fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl RangeRecord {
    /// Compression of the object.
    pub fn compression(&self) -> Compression {
        Compression::from_name(&self.compression)
    }

    /// When the batch was planned.
    pub fn planned_time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.planned_at).unwrap_or_default()
    }
}

/// Writes ledger rows into a file of the ledger, to be published.
///
/// # Errors
/// Errors of the store.
pub async fn stage_records(table: &DeltaTable, records: &[RangeRecord]) -> Result<Vec<StagedFile>> {
    let Some(first) = records.first() else {
        return Ok(Vec::new());
    };
    let mut rows = Rows::new(TableName::Ledger);
    for record in records {
        push_record(&mut rows, record);
    }
    let batches = [rows.finish()];
    let order = (0..records.len()).map(|row| (0, row)).collect();
    let sorted = SortedRows::sort(TableName::Ledger, &batches, order)?;
    let properties = Arc::new(writer_properties(TableName::Ledger, INGEST_ZSTD_LEVEL)?);
    let file = encode(&sorted, &properties, 1)?;
    let at = Placement {
        table: TableName::Ledger,
        folder: format!("source={}", first.source),
        values: HashMap::from([("source".to_owned(), Some(first.source.clone()))]),
        statistics: delta_statistics(&sorted)?,
        planned_at: DateTime::from_timestamp_micros(first.recorded_at).unwrap_or_default(),
        tags: Vec::new(),
    };
    Ok(vec![stage(table, file, at).await?])
}

fn push_record(rows: &mut Rows, r: &RangeRecord) {
    rows.long("batch", Some(r.batch));
    rows.text("state", Some(r.state.as_str()));
    rows.time("recorded_at", Some(Micros(r.recorded_at)));
    rows.time("planned_at", Some(Micros(r.planned_at)));
    rows.text("object_uri", Some(&r.object_uri));
    rows.text("object_version", Some(&r.object_version));
    rows.long("object_size", Some(r.object_size));
    rows.text("cluster", r.cluster.as_deref());
    rows.text("compression", Some(&r.compression));
    rows.text("head_digest", Some(&r.head_digest));
    rows.long("range_start", Some(r.range_start));
    rows.long("range_end", r.range_end);
    rows.text("range_digest", r.range_digest.as_deref());
    let counted = matches!(r.state, BatchState::Committed | BatchState::Removed);
    rows.long("records", counted.then_some(r.records));
    rows.long("rows", counted.then_some(r.rows));
    rows.long("duplicates", counted.then_some(r.duplicates));
    rows.long("rejected", counted.then_some(r.rejected));
    rows.long("waiting_bytes", counted.then_some(r.waiting_bytes));
    rows.text("ended_early", r.ended_early.as_deref());
    rows.text("redaction", Some(&r.redaction));
    rows.text("version", Some(&r.version));
    rows.text("first_rows_file", r.first_rows_file.as_deref());
    rows.long("filtered", counted.then_some(r.filtered));
    rows.long("continuations", counted.then_some(r.continuations));
    rows.end_row();
}

/// Reads ledger rows; `None` if a column is missing or of another type.
fn read_records(batch: &RecordBatch, source: &str, out: &mut Vec<RangeRecord>) -> Option<()> {
    let text = |name: &str, row: usize| -> Option<Option<String>> {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        Some((!column.is_null(row)).then(|| column.value(row).to_owned()))
    };
    let long = |name: &str, row: usize| -> Option<Option<i64>> {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<Int64Type>()?;
        Some((!column.is_null(row)).then(|| column.value(row)))
    };
    let time = |name: &str, row: usize| -> Option<i64> {
        Some(
            batch
                .column_by_name(name)?
                .as_primitive_opt::<TimestampMicrosecondType>()?
                .value(row),
        )
    };
    for row in 0..batch.num_rows() {
        out.push(RangeRecord {
            source: source.to_owned(),
            batch: long("batch", row)??,
            state: BatchState::parse(&text("state", row)??)?,
            recorded_at: time("recorded_at", row)?,
            planned_at: time("planned_at", row)?,
            object_uri: text("object_uri", row)??,
            object_version: text("object_version", row)??,
            object_size: long("object_size", row)??,
            cluster: text("cluster", row)?,
            compression: text("compression", row)??,
            head_digest: text("head_digest", row)??,
            range_start: long("range_start", row)??,
            range_end: long("range_end", row)?,
            range_digest: text("range_digest", row)?,
            records: long("records", row)?.unwrap_or(0),
            rows: long("rows", row)?.unwrap_or(0),
            duplicates: long("duplicates", row)?.unwrap_or(0),
            rejected: long("rejected", row)?.unwrap_or(0),
            waiting_bytes: long("waiting_bytes", row)?.unwrap_or(0),
            ended_early: text("ended_early", row)?,
            redaction: text("redaction", row)??,
            version: text("version", row)??,
            first_rows_file: text("first_rows_file", row)?,
            filtered: long("filtered", row).flatten().unwrap_or(0),
            continuations: long("continuations", row).flatten().unwrap_or(0),
        });
    }
    Some(())
}
