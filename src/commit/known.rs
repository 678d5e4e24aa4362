//! Which of the events at hand are stored already (K2 across routes: kube-audit and kube-audit-admin,
//! webhook and log file, a rotated file under a new name).
//!
//! Costs nothing when no file of the partition overlaps in time. Where one does, only the columns
//! that make up an identity are read, only from row groups that overlap, and only fingerprints that
//! are being asked for are kept: memory is bounded by the rows at hand, not by the archive.

use std::{collections::HashMap, hash::BuildHasherDefault, ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use deltalake_core::{DeltaTable, logstore::parquet_reader::ParquetObjectReader};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, path::Path};
use parquet::{
    arrow::{ProjectionMask, async_reader::ParquetRecordBatchStreamBuilder},
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use serde::Deserialize;

use crate::{
    error::{Context as _, Result},
    event::{
        identity::{Fingerprint, Identity, LineIdentity, SampleIdentity},
        time::Micros,
    },
    layout::{columns::TableName, partition::Partition},
    table::Archive,
};

/// Whether a copy of an event holds all of its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// A body was skipped or truncated; a fuller copy is worth keeping.
    Incomplete,
    /// Nothing is missing.
    Complete,
}

/// Fingerprints are uniformly distributed already: hashing them again would be waste.
#[derive(Debug, Default)]
pub struct FingerprintHasher(u64);

impl std::hash::Hasher for FingerprintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut first = [0; 8];
        let n = bytes.len().min(8);
        first[..n].copy_from_slice(&bytes[..n]);
        self.0 ^= u64::from_le_bytes(first);
    }
}

/// Events by fingerprint, with the best copy that is known.
pub type Copies = HashMap<Fingerprint, Copy, BuildHasherDefault<FingerprintHasher>>;

/// A data file that may hold events of some time.
#[derive(Debug)]
struct Candidate {
    path: Path,
    size: u64,
}

#[derive(Deserialize)]
struct FileBounds {
    #[serde(rename = "minValues", default)]
    min: TimeBounds,
    #[serde(rename = "maxValues", default)]
    max: TimeBounds,
}

#[derive(Deserialize, Default)]
struct TimeBounds {
    #[serde(alias = "stage_timestamp")]
    time: Option<String>,
}

/// What is looked up.
#[derive(Debug)]
pub struct Lookup<'l> {
    /// The table.
    pub table: TableName,
    /// Partition in which the rows at hand lie.
    pub partition: &'l Partition,
    /// Range of their times.
    pub times: RangeInclusive<Micros>,
    /// Their fingerprints.
    pub asked: &'l Copies,
}

/// The rows at hand that are stored in a partition already.
///
/// # Errors
/// `Corrupt` if a data file cannot be read, and the errors of the store.
pub async fn stored_copies(
    archive: &Archive,
    table: &DeltaTable,
    lookup: &Lookup<'_>,
) -> Result<Copies> {
    let mut found = Copies::default();
    let cluster = lookup.partition.cluster.as_str();
    for file in candidates(archive, table, lookup)? {
        let act = format!(
            "cannot read {} of table {}",
            file.path,
            lookup.table.as_str()
        );
        let store = table.log_store().object_store(None);
        read_identities(store, &file, lookup, &mut |batch| {
            for_each_identity(lookup.table, batch, cluster, &mut |fingerprint, copy| {
                if lookup.asked.contains_key(&fingerprint)
                    && found.get(&fingerprint) != Some(&Copy::Complete)
                {
                    found.insert(fingerprint, copy);
                }
            });
        })
        .await
        .context(act)?;
    }
    Ok(found)
}

fn candidates(
    archive: &Archive,
    table: &DeltaTable,
    lookup: &Lookup<'_>,
) -> Result<Vec<Candidate>> {
    let values = lookup.partition.values();
    let state = table
        .snapshot()
        .map_err(|e| archive.error(lookup.table, e))?;
    let mut found = Vec::new();
    for file in state.snapshot().log_data().iter() {
        if file.partition_values_map() == values && overlaps(file.stats().as_deref(), &lookup.times)
        {
            found.push(Candidate {
                path: file.object_store_path(),
                size: u64::try_from(file.size()).unwrap_or(0),
            });
        }
    }
    Ok(found)
}

/// A file without readable bounds overlaps everything. Upper bounds are cut to milliseconds in the log.
fn overlaps(statistics: Option<&str>, times: &RangeInclusive<Micros>) -> bool {
    let bounds: Option<FileBounds> = statistics.and_then(|s| serde_json::from_str(s).ok());
    let time = |b: &TimeBounds| b.time.as_deref().and_then(Micros::parse);
    let Some((least, greatest)) = bounds.and_then(|b| time(&b.min).zip(time(&b.max))) else {
        return true;
    };
    least <= *times.end() && Micros(greatest.0.saturating_add(999)) >= *times.start()
}

/// The column whose bounds tell the times of a file, and the columns that make up an identity.
fn identity_columns(table: TableName) -> (&'static str, &'static [&'static str]) {
    match table {
        TableName::Component => (
            "time",
            &[
                "time",
                "component",
                "source_pod",
                "source_container",
                "stream",
                "wrapper",
                "envelope_time",
                "record",
            ],
        ),
        TableName::Inventory => ("time", &["source_table", "record"]),
        _ => (
            "stage_timestamp",
            &[
                "stage_timestamp",
                "request_received_timestamp",
                "audit_id",
                "stage",
                "verb",
                "request_uri",
                "username",
                "request_object_state",
                "response_object_state",
            ],
        ),
    }
}

async fn read_identities(
    store: Arc<dyn ObjectStore>,
    file: &Candidate,
    lookup: &Lookup<'_>,
    sink: &mut (dyn FnMut(&RecordBatch) + Send),
) -> Result<()> {
    let (time, columns) = identity_columns(lookup.table);
    let reader = ParquetObjectReader::new(store, file.path.clone()).with_file_size(file.size);
    let builder = ParquetRecordBatchStreamBuilder::new(reader)
        .await
        .context("cannot read the footer")?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let groups = builder.metadata().row_groups().iter().enumerate();
    let groups = groups
        .filter(|(_, g)| group_overlaps(g, time, &lookup.times))
        .map(|(i, _)| i)
        .collect();
    let mut batches = builder
        .with_projection(mask)
        .with_row_groups(groups)
        .with_batch_size(16_384)
        .build()
        .context("cannot read rows")?;
    while let Some(batch) = batches.try_next().await.context("cannot read rows")? {
        sink(&batch);
    }
    Ok(())
}

fn group_overlaps(group: &RowGroupMetaData, time: &str, times: &RangeInclusive<Micros>) -> bool {
    let column = group
        .columns()
        .iter()
        .find(|c| c.column_path().string() == time);
    match column.and_then(|c| c.statistics()) {
        Some(Statistics::Int64(s)) => match (s.min_opt(), s.max_opt()) {
            (Some(least), Some(greatest)) => {
                *least <= times.end().0 && *greatest >= times.start().0
            }
            _ => true,
        },
        _ => true,
    }
}

fn for_each_identity(
    table: TableName,
    batch: &RecordBatch,
    cluster: &str,
    sink: &mut dyn FnMut(Fingerprint, Copy),
) {
    let text = |name: &str, row: usize| -> Option<&str> {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        (!column.is_null(row)).then(|| column.value(row))
    };
    let time = |name: &str, row: usize| -> Option<Micros> {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()?;
        (!column.is_null(row)).then(|| Micros(column.value(row)))
    };
    let audit = |row: usize, buffer: &mut Vec<u8>| {
        let identity = Identity {
            cluster,
            audit_id: text("audit_id", row),
            stage: text("stage", row),
            stage_timestamp: time("stage_timestamp", row).unwrap_or_default(),
            request_received_timestamp: time("request_received_timestamp", row),
            verb: text("verb", row),
            request_uri: text("request_uri", row),
            username: text("username", row),
        };
        let is_incomplete = ["request_object_state", "response_object_state"]
            .iter()
            .any(|c| matches!(text(c, row), Some("skipped" | "truncated")));
        let copy = if is_incomplete {
            Copy::Incomplete
        } else {
            Copy::Complete
        };
        (identity.fingerprint(buffer), copy)
    };
    let line = |row: usize, buffer: &mut Vec<u8>| {
        let identity = LineIdentity {
            cluster,
            component: text("component", row),
            pod: text("source_pod", row),
            container: text("source_container", row),
            stream: text("stream", row),
            envelope_time: text("envelope_time", row),
            time: time("time", row).unwrap_or_default(),
            record: text("record", row),
        };
        identity.fingerprint(buffer)
    };
    let mut buffer: Vec<u8> = Vec::new();
    for row in 0..batch.num_rows() {
        match table {
            TableName::Component if text("wrapper", row) == Some("plain") => {}
            TableName::Component => sink(line(row, &mut buffer), Copy::Complete),
            TableName::Inventory => {
                let identity = SampleIdentity {
                    cluster,
                    table: text("source_table", row),
                    record: text("record", row),
                };
                sink(identity.fingerprint(&mut buffer), Copy::Complete);
            }
            _ => {
                let (fingerprint, copy) = audit(row, &mut buffer);
                sink(fingerprint, copy);
            }
        }
    }
}
