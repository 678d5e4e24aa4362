//! Per-file statistics for the Delta log, by which readers skip whole files: row count, and bounds
//! and null counts of the columns in `TableName::bounded_columns`.
//! Format: Delta protocol, "Per-file Statistics". Times are cut to milliseconds there, so readers
//! must widen an upper bound; texts are cut to 64 bytes, an upper bound rounded up.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use crate::{
    error::{Context as _, Result},
    layout::{build::row_schema, sort::SortedRows},
};

/// Bytes of a text bound.
const TEXT_BOUND_BYTES: usize = 64;

/// The statistics of a file as the JSON text of a Delta `add` action.
///
/// # Errors
/// `Bug` if a bounded column is not in the rows.
pub fn delta_statistics(rows: &SortedRows<'_>) -> Result<String> {
    let schema = row_schema(rows.table());
    let (mut lower, mut upper, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in rows.table().bounded_columns() {
        let index = schema
            .index_of(name)
            .context("cannot find a bounded column")?;
        let array = rows.column(index, 0, rows.len())?;
        nulls.insert((*name).to_owned(), json!(array.null_count()));
        if let Some((least, greatest)) = bounds(&array) {
            lower.insert((*name).to_owned(), least);
            greatest.map(|g| upper.insert((*name).to_owned(), g));
        }
    }
    let statistics = json!({
        "numRecords": rows.len(),
        "minValues": lower,
        "maxValues": upper,
        "nullCount": nulls,
    });
    Ok(statistics.to_string())
}

/// The least value, and the greatest if it can be written down.
fn bounds(array: &ArrayRef) -> Option<(Value, Option<Value>)> {
    use arrow::compute::{max, max_boolean, max_string_view, min, min_boolean, min_string_view};
    match array.data_type() {
        DataType::Timestamp(..) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            Some((time_value(min(times)?), Some(time_value(max(times)?))))
        }
        DataType::Int64 => {
            let numbers = array.as_primitive::<Int64Type>();
            Some((json!(min(numbers)?), Some(json!(max(numbers)?))))
        }
        DataType::Boolean => {
            let flags = array.as_boolean();
            Some((json!(min_boolean(flags)?), Some(json!(max_boolean(flags)?))))
        }
        DataType::Utf8View => {
            let texts = array.as_string_view();
            let upper = text_upper_bound(max_string_view(texts)?);
            Some((json!(cut(min_string_view(texts)?)), upper.map(|u| json!(u))))
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
