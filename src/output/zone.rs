//! Shows times in a zone: every timestamp column that knows its instant, also inside lists and
//! structs, is given that zone as its type. The instants stay the same.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use chrono_tz::Tz;

/// The schema with all times in `zone`.
pub(super) fn schema_in(schema: &SchemaRef, zone: Tz) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(|f| field_in(f, zone)).collect();
    Arc::new(Schema::new(fields))
}

fn field_in(field: &FieldRef, zone: Tz) -> FieldRef {
    Arc::new(Field::new(
        field.name(),
        type_in(field.data_type(), zone),
        field.is_nullable(),
    ))
}

fn type_in(data_type: &DataType, zone: Tz) -> DataType {
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(zone.name().into())),
        DataType::List(item) => DataType::List(field_in(item, zone)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| field_in(f, zone)).collect())
        }
        other => other.clone(),
    }
}

/// The batch with all times in `zone`.
pub(super) fn batch_in(batch: &RecordBatch, zone: Tz) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(|c| array_in(c, zone))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema_in(&batch.schema(), zone), columns, &options)
}

fn array_in(array: &ArrayRef, zone: Tz) -> Result<ArrayRef, ArrowError> {
    let name = zone.name();
    Ok(match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => match unit {
            TimeUnit::Second => Arc::new(
                array
                    .as_primitive::<TimestampSecondType>()
                    .clone()
                    .with_timezone(name),
            ),
            TimeUnit::Millisecond => Arc::new(
                array
                    .as_primitive::<TimestampMillisecondType>()
                    .clone()
                    .with_timezone(name),
            ),
            TimeUnit::Microsecond => Arc::new(
                array
                    .as_primitive::<TimestampMicrosecondType>()
                    .clone()
                    .with_timezone(name),
            ),
            TimeUnit::Nanosecond => Arc::new(
                array
                    .as_primitive::<TimestampNanosecondType>()
                    .clone()
                    .with_timezone(name),
            ),
        },
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            Arc::new(ListArray::try_new(
                field_in(item, zone),
                list.offsets().clone(),
                array_in(list.values(), zone)?,
                list.nulls().cloned(),
            )?)
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let parts = array.as_struct();
            Arc::new(StructArray::try_new(
                fields.iter().map(|f| field_in(f, zone)).collect(),
                parts
                    .columns()
                    .iter()
                    .map(|c| array_in(c, zone))
                    .collect::<Result<_, _>>()?,
                parts.nulls().cloned(),
            )?)
        }
        _ => Arc::clone(array),
    })
}
