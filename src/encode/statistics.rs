//! Per-file statistics for the Delta log, by which readers skip whole files: row count, and bounds
//! and null counts of the columns in `TableName::bounded_columns`.
//! Format: Delta protocol, "Per-file Statistics". Times are cut to milliseconds there, so readers
//! must widen an upper bound; texts are cut to 64 bytes, an upper bound rounded up.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use crate::{
    error::{Context as _, Result},
    layout::{build::row_schema, columns::TableName, sort::SortedRows},
};

/// Bytes of a text bound.
const TEXT_BOUND_BYTES: usize = 64;

/// The statistics of a file as the JSON text of a Delta `add` action.
///
/// # Errors
/// `Bug` if a bounded column is not in the rows.
pub fn delta_statistics(rows: &SortedRows<'_>) -> Result<String> {
    let schema = row_schema(rows.table());
    let mut gathered = StatisticsBuilder::new(rows.table());
    for name in rows.table().bounded_columns() {
        let index = schema
            .index_of(name)
            .context("cannot find a bounded column")?;
        gathered.add_column(name, &rows.column(index, 0, rows.len())?);
    }
    gathered.rows = rows.len();
    Ok(gathered.finish())
}

/// Gathers the statistics of a file whose rows come batch by batch.
#[derive(Debug)]
pub struct StatisticsBuilder {
    table: TableName,
    rows: usize,
    nulls: BTreeMap<&'static str, usize>,
    bounds: BTreeMap<&'static str, Bounds>,
}

#[derive(Debug)]
enum Bounds {
    Time(i64, i64),
    Number(i64, i64),
    Flag(bool, bool),
    Text(String, String),
}

impl StatisticsBuilder {
    /// Of no rows yet.
    pub fn new(table: TableName) -> Self {
        Self {
            table,
            rows: 0,
            nulls: BTreeMap::new(),
            bounds: BTreeMap::new(),
        }
    }

    /// Takes rows.
    pub fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for name in self.table.bounded_columns() {
            if let Some(column) = batch.column_by_name(name) {
                self.add_column(name, column);
            }
        }
    }

    fn add_column(&mut self, name: &'static str, array: &ArrayRef) {
        *self.nulls.entry(name).or_default() += array.null_count();
        let Some(new) = bounds(array) else { return };
        match self.bounds.entry(name) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(new);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => place.get_mut().widen(new),
        }
    }

    /// The statistics as JSON text.
    pub fn finish(self) -> String {
        let (mut lower, mut upper) = (Map::new(), Map::new());
        for (name, bounds) in self.bounds {
            let (least, greatest) = match bounds {
                Bounds::Time(a, b) => (time_value(a), Some(time_value(b))),
                Bounds::Number(a, b) => (json!(a), Some(json!(b))),
                Bounds::Flag(a, b) => (json!(a), Some(json!(b))),
                // A text too long to have an upper bound has none.
                Bounds::Text(a, b) => (json!(cut(&a)), text_upper_bound(&b).map(|u| json!(u))),
            };
            lower.insert(name.to_owned(), least);
            greatest.map(|g| upper.insert(name.to_owned(), g));
        }
        let statistics = json!({
            "numRecords": self.rows,
            "minValues": lower,
            "maxValues": upper,
            "nullCount": self.nulls,
        });
        statistics.to_string()
    }
}

impl Bounds {
    fn widen(&mut self, other: Self) {
        match (self, other) {
            (Self::Time(a, b), Self::Time(c, d)) | (Self::Number(a, b), Self::Number(c, d)) => {
                (*a, *b) = ((*a).min(c), (*b).max(d));
            }
            (Self::Flag(a, b), Self::Flag(c, d)) => (*a, *b) = (*a & c, *b | d),
            (Self::Text(a, b), Self::Text(c, d)) => {
                if c < *a {
                    *a = c;
                }
                if d > *b {
                    *b = d;
                }
            }
            // A column has one type.
            _ => {}
        }
    }
}

/// The bounds of the values, if there are any.
fn bounds(array: &ArrayRef) -> Option<Bounds> {
    use arrow::compute::{max, max_boolean, max_string_view, min, min_boolean, min_string_view};
    match array.data_type() {
        DataType::Timestamp(..) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            Some(Bounds::Time(min(times)?, max(times)?))
        }
        DataType::Int64 => {
            let numbers = array.as_primitive::<Int64Type>();
            Some(Bounds::Number(min(numbers)?, max(numbers)?))
        }
        DataType::Boolean => {
            let flags = array.as_boolean();
            Some(Bounds::Flag(min_boolean(flags)?, max_boolean(flags)?))
        }
        DataType::Utf8View => {
            let texts = array.as_string_view();
            Some(Bounds::Text(
                min_string_view(texts)?.to_owned(),
                max_string_view(texts)?.to_owned(),
            ))
        }
        _ => None,
    }
}

fn time_value(micros: i64) -> Value {
    let text = DateTime::from_timestamp_micros(micros)
        .map(|t| t.to_rfc3339_opts(SecondsFormat::Millis, true));
    json!(text)
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BOUND_BYTES.min(text.len()))
        .rev()
        .find(|i| text.is_char_boundary(*i));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// A short text that is not less than the given one.
fn text_upper_bound(text: &str) -> Option<String> {
    let short = cut(text);
    if short.len() == text.len() {
        return Some(text.to_owned());
    }
    // The next character in place of the last one makes the cut text greater than the whole.
    let mut chars: Vec<char> = short.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = char::from_u32(u32::from(last) + 1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
