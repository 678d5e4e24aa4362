//! Prepares columns for formats that are text: bytes become text if they are UTF-8, else hex; JSON
//! values of the JSON functions become text; for CSV, lists and structs become JSON text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::EncoderOptions;
use arrow::json::writer::make_encoder;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Format;

/// The schema in which a format gets its columns: where a type differs, the column is converted.
pub(super) fn shown_schema(schema: &SchemaRef, format: Format) -> SchemaRef {
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let text = match field.data_type() {
                DataType::Union(..) => true,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                    !matches!(format, Format::Parquet | Format::Arrow)
                }
                DataType::List(_)
                | DataType::LargeList(_)
                | DataType::FixedSizeList(..)
                | DataType::ListView(_)
                | DataType::Struct(_)
                | DataType::Map(..) => format == Format::Csv,
                // Parquet has no type for these spans that can be read back everywhere.
                DataType::Duration(_) | DataType::Interval(_) => {
                    matches!(format, Format::Parquet | Format::Csv)
                }
                _ => false,
            };
            let data_type = if text {
                DataType::Utf8
            } else {
                field.data_type().clone()
            };
            Arc::new(Field::new(field.name(), data_type, true))
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// The batch in that schema.
pub(super) fn shown_batch(
    batch: &RecordBatch,
    shown: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(shown.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                text_of(column)
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(shown), columns, &options)
}

fn text_of(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts: StringArray = match array.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = cast(array, &DataType::BinaryView)?;
            bytes
                .as_binary_view()
                .iter()
                .map(|b| b.map(bytes_text))
                .collect()
        }
        data_type if data_type.is_nested() && !matches!(data_type, DataType::Union(..)) => {
            json_texts(array)?
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
            (0..array.len())
                .map(|row| array.is_valid(row).then(|| union_text(&formatter, row)))
                .collect()
        }
    };
    Ok(Arc::new(texts))
}

/// The formatter writes a union as `{field=value}`; the value alone is what was asked for.
fn union_text(formatter: &ArrayFormatter<'_>, row: usize) -> String {
    let text = formatter.value(row).to_string();
    match text
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .and_then(|t| t.split_once('='))
    {
        Some((_, value)) => value.to_owned(),
        None => text,
    }
}

fn json_texts(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let field: FieldRef = Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, array.as_ref(), &options)?;
    (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return Ok(None);
            }
            let mut text = Vec::new();
            encoder.encode(row, &mut text);
            String::from_utf8(text)
                .map(Some)
                .map_err(|e| ArrowError::JsonError(format!("JSON that is no UTF-8: {e}")))
        })
        .collect()
}

/// Bytes for people: text if it is UTF-8, else hex.
fn bytes_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes
            .iter()
            .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
    }
}
