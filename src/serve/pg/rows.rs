//! Rows as PostgreSQL's clients read them, as messages or as `COPY`. Types that PostgreSQL has no word
//! for go as text.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions as Shown};
use bytes::Bytes;
use datafusion_postgres::arrow_pg::datatypes::{field_into_pg_type, into_pg_type};
use datafusion_postgres::arrow_pg::encoder::{Encoder, encode_value};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use pgwire::api::portal::Format;
use pgwire::api::results::{
    CopyCsvOptions, CopyEncoder, CopyTextOptions, DataRowEncoder, FieldInfo,
};
use pgwire::error::PgWireResult;
use pgwire::messages::copy::CopyData;
use pgwire::types::format::FormatOptions;

use super::failure::Failure;
use super::statement::CopyFormat;
use crate::error::{Context as _, Result};
use crate::query::Answer;

fn has_a_word(data_type: &DataType) -> bool {
    into_pg_type(data_type).is_ok()
}

/// The columns of an answer as they are sent.
pub(super) fn sent_schema(schema: &Schema) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match has_a_word(field.data_type()) {
            true => Arc::clone(field),
            false => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What a client is told about the columns.
pub(super) fn columns(
    schema: &Schema,
    format: &Format,
    options: &Arc<FormatOptions>,
) -> PgWireResult<Arc<Vec<FieldInfo>>> {
    let fields = schema.fields().iter().enumerate();
    let columns: PgWireResult<Vec<FieldInfo>> = fields
        .map(|(at, field)| {
            let data_type = field_into_pg_type(field)?;
            let info = FieldInfo::new(
                field.name().clone(),
                None,
                None,
                data_type,
                format.format_for(at),
            );
            Ok(info.with_format_options(Arc::clone(options)))
        })
        .collect();
    columns.map(Arc::new)
}

fn as_sent(batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let shown = |column: &ArrayRef| -> Result<ArrayRef> {
        if has_a_word(column.data_type()) {
            return Ok(Arc::clone(column));
        }
        let options = Shown::default();
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
            .context("cannot write a column as text")?;
        let texts = (0..column.len()).map(|row| {
            column
                .is_valid(row)
                .then(|| formatter.value(row).to_string())
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    };
    batch.columns().iter().map(shown).collect()
}

/// The rows of an answer, one after the other.
pub(super) struct Rows {
    /// Never locked: a connection belongs to one task.
    batches: Mutex<BoxStream<'static, Result<RecordBatch>>>,
    schema: SchemaRef,
    columns: Arc<Vec<FieldInfo>>,
    current: Vec<ArrayRef>,
    next: usize,
    count: usize,
}

impl Rows {
    pub(super) fn new(answer: Answer, columns: Arc<Vec<FieldInfo>>) -> Self {
        Self {
            schema: sent_schema(&answer.schema),
            batches: Mutex::new(answer.batches),
            columns,
            current: Vec::new(),
            next: 0,
            count: 0,
        }
    }

    /// Encodes the next row; false: there is none.
    pub(super) async fn next<E: Encoder>(&mut self, encoder: &mut E) -> Result<bool, Failure> {
        while self.next == self.count {
            let batches = self.batches.get_mut();
            match batches.unwrap_or_else(PoisonError::into_inner).next().await {
                None => return Ok(false),
                Some(batch) => {
                    let batch = batch?;
                    self.current = as_sent(&batch)?;
                    self.count = batch.num_rows();
                    self.next = 0;
                }
            }
        }
        let columns = self.current.iter().zip(self.schema.fields());
        for ((array, field), column) in columns.zip(self.columns.iter()) {
            encode_value(encoder, array, self.next, field, column)?;
        }
        self.next += 1;
        Ok(true)
    }

    pub(super) fn columns(&self) -> Arc<Vec<FieldInfo>> {
        Arc::clone(&self.columns)
    }

    pub(super) fn encoder(&self) -> DataRowEncoder {
        DataRowEncoder::new(Arc::clone(&self.columns))
    }
}

/// Writes rows as `COPY` does.
pub(super) struct Copier {
    encoder: CopyEncoder,
    format: CopyFormat,
    begun: bool,
}

/// What comes before the first row in the binary format: a signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl Copier {
    pub(super) fn new(format: &CopyFormat, columns: &Arc<Vec<FieldInfo>>) -> Self {
        let schema = Arc::clone(columns);
        let encoder = match format {
            CopyFormat::Binary => CopyEncoder::new_binary(schema),
            CopyFormat::Text { delimiter, null } => {
                let mut options = CopyTextOptions::default();
                options.delimiter = delimiter.as_str().into();
                options.null_string = null.as_str().into();
                CopyEncoder::new_text(schema, options)
            }
            CopyFormat::Csv {
                delimiter,
                null,
                quote,
                ..
            } => {
                let mut options = CopyCsvOptions::default();
                options.delimiter = delimiter.as_str().into();
                options.null_string = null.as_str().into();
                options.quote = quote.as_str().into();
                options.escape = quote.as_str().into();
                CopyEncoder::new_csv(schema, options)
            }
        };
        Self {
            encoder,
            format: format.clone(),
            begun: false,
        }
    }

    /// What comes before the rows, if anything.
    pub(super) fn head(&self, columns: &[FieldInfo]) -> Option<CopyData> {
        match &self.format {
            CopyFormat::Csv {
                header: true,
                delimiter,
                quote,
                ..
            } => {
                let names: Vec<String> = columns
                    .iter()
                    .map(|column| {
                        let doubled = column.name().replace(quote, &quote.repeat(2));
                        format!("{quote}{doubled}{quote}")
                    })
                    .collect();
                Some(CopyData::new(Bytes::from(names.join(delimiter) + "\n")))
            }
            _ => None,
        }
    }

    /// The next row.
    pub(super) async fn next(&mut self, rows: &mut Rows) -> Result<Option<CopyData>, Failure> {
        match rows.next(&mut self.encoder).await? {
            false => Ok(None),
            true => {
                self.begun = true;
                Ok(Some(self.encoder.take_copy()))
            }
        }
    }

    /// What comes behind the rows, if anything.
    pub(super) fn tail(&self) -> Option<CopyData> {
        const END: [u8; 2] = [0xff; 2];
        match (&self.format, self.begun) {
            (CopyFormat::Binary, true) => Some(CopyEncoder::finish_copy_binary()),
            (CopyFormat::Binary, false) => {
                Some(CopyData::new([BINARY_HEADER, &END].concat().into()))
            }
            _ => None,
        }
    }
}
