//! What files hold, told without their bodies: the number of their rows and a digest of them that
//! does not depend on their order, taken before files are merged and after. And which events lost a
//! body and have a fuller copy, as the view `events` defines it.

use std::collections::{BTreeMap, HashMap};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array},
    compute::{cast, filter_record_batch, nullif},
    datatypes::{DataType, TimestampMicrosecondType},
    error::ArrowError,
    row::{RowConverter, SortField},
};

use crate::{
    error::{Context as _, Result},
    layout::{build::row_schema, columns::TableName},
};

/// The columns by which rows are told apart: what an event is, and where it was read.
pub(super) fn told_columns(table: TableName) -> &'static [&'static str] {
    match table {
        TableName::Audit => &[
            "stage_timestamp",
            "request_received_timestamp",
            "audit_id",
            "stage",
            "verb",
            "request_uri",
            "username",
            "resource",
            "namespace",
            "name",
            "response_code",
            "source_uri",
            "source_offset",
            "request_object_state",
            "response_object_state",
            "request_object_bytes",
            "response_object_bytes",
        ],
        TableName::Component => &[
            "time",
            "component",
            "record",
            "record_bytes",
            "source_uri",
            "source_offset",
        ],
        TableName::Inventory => &[
            "time",
            "source_table",
            "namespace",
            "name",
            "record",
            "source_uri",
            "source_offset",
        ],
        TableName::Rejected => &["reason", "record_digest", "source_uri", "source_offset"],
        TableName::Ledger => &[
            "batch",
            "state",
            "recorded_at",
            "object_uri",
            "range_start",
            "range_end",
            "range_digest",
            "records",
            "rows",
        ],
    }
}

/// The columns that tell whether a copy is superseded.
pub(super) const SUPERSEDING: [&str; 3] = [
    "supersedes",
    "request_object_state",
    "response_object_state",
];

/// A number of rows and a digest of them.
#[derive(Debug)]
pub(super) struct Content {
    table: TableName,
    converter: Option<RowConverter>,
    pub(super) rows: u64,
    digest: u128,
}

impl Content {
    pub(super) fn new(table: TableName) -> Self {
        Self {
            table,
            converter: None,
            rows: 0,
            digest: 0,
        }
    }

    /// Takes rows.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let act = "cannot compare rows";
        let schema = row_schema(self.table);
        let columns = told_columns(self.table).iter().map(|name| {
            // Text comes as it was read or as views; a row of either is compared as one of views.
            let known = match schema.field_with_name(name)?.data_type() {
                DataType::Utf8 => &DataType::Utf8View,
                known => known,
            };
            match batch.column_by_name(name) {
                Some(column) => cast(column, known),
                // A file that is older than the column has no value there.
                None => Ok(new_null_array(known, batch.num_rows())),
            }
        });
        let columns: Vec<ArrayRef> = columns
            .collect::<std::result::Result<_, ArrowError>>()
            .context(act)?;
        let converter = match &mut self.converter {
            Some(converter) => converter,
            place => {
                let fields = columns
                    .iter()
                    .map(|c| SortField::new(c.data_type().clone()));
                place.insert(RowConverter::new(fields.collect()).context(act)?)
            }
        };
        let rows = converter.convert_columns(&columns).context(act)?;
        for row in &rows {
            let hash = blake3::hash(row.as_ref());
            let mut half = [0; 16];
            half.copy_from_slice(&hash.as_bytes()[..16]);
            self.digest = self.digest.wrapping_add(u128::from_le_bytes(half));
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// True if these are the rows of both others.
    pub(super) fn is_sum_of(&self, one: &Self, other: &Self) -> bool {
        self.rows == one.rows + other.rows && self.digest == one.digest.wrapping_add(other.digest)
    }
}

/// How much the fullest marked copy of an event has lost, by a digest of the event.
#[derive(Debug, Default)]
pub(super) struct Fuller(HashMap<[u8; 16], u8>);

impl Fuller {
    /// Takes the rows that are marked.
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        let Some(marked) = flags(batch) else { return };
        for row in (0..batch.num_rows()).filter(|row| marked.is_valid(*row) && marked.value(*row)) {
            if let Some(key) = key_of(batch, row) {
                let lost = lost(batch, row);
                let least = self.0.entry(key).or_insert(lost);
                *least = lost.min(*least);
            }
        }
    }

    /// Splits rows into those that stay, unmarked, and those of which a fuller copy is marked.
    pub(super) fn split(&self, batch: RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
        if self.0.is_empty() {
            return Ok((batch, None));
        }
        let stays: Vec<bool> = (0..batch.num_rows())
            .map(|row| {
                let lost = lost(&batch, row);
                let least = || self.0.get(&key_of(&batch, row)?);
                lost == 0 || least().is_none_or(|least| lost <= *least)
            })
            .collect();
        let act = "cannot choose rows";
        let gone: BooleanArray = stays.iter().map(|s| Some(!s)).collect();
        let gone = filter_record_batch(&batch, &gone).context(act)?;
        let kept = filter_record_batch(&batch, &BooleanArray::from(stays)).context(act)?;
        let gone = (gone.num_rows() > 0).then_some(gone);
        Ok((unmarked(&kept)?, gone))
    }
}

/// The same rows, none of them marked: nothing is left that they supersede.
fn unmarked(batch: &RecordBatch) -> Result<RecordBatch> {
    let act = "cannot unmark rows";
    let Some(marked) = flags(batch) else {
        return Ok(batch.clone());
    };
    let index = batch.schema().index_of(SUPERSEDING[0]).context(act)?;
    let mut columns = batch.columns().to_vec();
    columns[index] = nullif(&columns[index], marked).context(act)?;
    RecordBatch::try_new(batch.schema(), columns).context(act)
}

fn flags(batch: &RecordBatch) -> Option<&BooleanArray> {
    batch.column_by_name(SUPERSEDING[0])?.as_boolean_opt()
}

/// As in the view `events`: 2 for a body that was skipped, 1 for one that was cut.
fn lost(batch: &RecordBatch, row: usize) -> u8 {
    SUPERSEDING[1..]
        .iter()
        .map(|column| match text(batch, column, row) {
            Some("skipped") => 2,
            Some("truncated") => 1,
            _ => 0,
        })
        .sum()
}

/// A digest of what makes two rows copies of one event, as in the view `events`.
fn key_of(batch: &RecordBatch, row: usize) -> Option<[u8; 16]> {
    let time = batch
        .column_by_name("stage_timestamp")?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    if time.is_null(row) {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&time.value(row).to_le_bytes());
    let mut put = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    put(text(batch, "audit_id", row)?);
    put(text(batch, "stage", row)?);
    for column in ["verb", "request_uri", "username"] {
        put(text(batch, column, row).unwrap_or_default());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Some(key)
}

fn text<'b>(batch: &'b RecordBatch, column: &str, row: usize) -> Option<&'b str> {
    let column = batch.column_by_name(column)?;
    if column.is_null(row) {
        return None;
    }
    match column.as_string_view_opt() {
        Some(views) => Some(views.value(row)),
        None => Some(column.as_string_opt::<i32>()?.value(row)),
    }
}

/// How many rows were read from each object.
pub(super) fn count_origins(batch: &RecordBatch, counts: &mut BTreeMap<String, u64>) {
    for row in 0..batch.num_rows() {
        let origin = text(batch, "source_uri", row).unwrap_or_default();
        match counts.get_mut(origin) {
            Some(count) => *count += 1,
            None => {
                counts.insert(origin.to_owned(), 1);
            }
        }
    }
}
