//! Rows that come in order, batch by batch, into one Parquet file in memory, with the statistics
//! that the log holds of it. For files of more rows than fit into memory decoded.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::SortOptions,
    row::{OwnedRow, RowConverter, SortField},
};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use crate::{
    encode::{statistics::StatisticsBuilder, write::EncodedFile},
    error::{Context as _, Error, ErrorKind, Result},
    layout::{build::row_schema, columns::TableName},
};

/// A file under construction.
#[derive(Debug)]
pub struct FileWriter {
    writer: ArrowWriter<Vec<u8>>,
    statistics: StatisticsBuilder,
    order: OrderCheck,
    rows: usize,
}

impl FileWriter {
    /// Begins a file of about so many bytes.
    ///
    /// # Errors
    /// `Bug` from Parquet.
    pub fn new(
        table: TableName,
        properties: &Arc<WriterProperties>,
        bytes_expected: usize,
    ) -> Result<Self> {
        // As other data files: readers get plain texts unless they ask for views.
        let options = ArrowWriterOptions::new()
            .with_properties(properties.as_ref().clone())
            .with_skip_arrow_metadata(true);
        // Reserved at once: growing would need the bytes twice. What is not written costs nothing.
        let bytes = Vec::with_capacity(bytes_expected);
        let writer = ArrowWriter::try_new_with_options(bytes, row_schema(table), options)
            .context("cannot begin a Parquet file")?;
        Ok(Self {
            writer,
            statistics: StatisticsBuilder::new(table),
            order: OrderCheck::new(table)?,
            rows: 0,
        })
    }

    /// Appends rows, whose columns are those of [`row_schema`].
    ///
    /// # Errors
    /// `Corrupt` if they do not follow those before (K4).
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.order.check(batch)?;
        self.statistics.add(batch);
        self.writer.write(batch).context("cannot encode rows")?;
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Bytes of the row groups that are complete.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// True if the last rows completed a row group.
    pub fn is_between_groups(&self) -> bool {
        self.writer.in_progress_rows() == 0
    }

    /// Ends the file, with an id of who wrote it, so that nobody else writes a file of the same name;
    /// gives it with its statistics, Delta's JSON.
    ///
    /// # Errors
    /// `Bug` from Parquet.
    pub fn finish(mut self, writer_id: &str) -> Result<(EncodedFile, String)> {
        self.writer.append_key_value_metadata(KeyValue::new(
            "kolumn.rewrite".to_owned(),
            writer_id.to_owned(),
        ));
        let bytes = self
            .writer
            .into_inner()
            .context("cannot end a Parquet file")?;
        let file = EncodedFile {
            bytes,
            rows: self.rows,
        };
        Ok((file, self.statistics.finish()))
    }
}

/// Checks that rows follow the order of their table (K4).
#[derive(Debug)]
struct OrderCheck {
    columns: &'static [&'static str],
    converter: RowConverter,
    last: Option<OwnedRow>,
}

impl OrderCheck {
    fn new(table: TableName) -> Result<Self> {
        let schema = row_schema(table);
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let fields = table
            .sort_columns()
            .iter()
            .map(|name| {
                let field = schema.field_with_name(name)?;
                Ok(SortField::new_with_options(
                    field.data_type().clone(),
                    options,
                ))
            })
            .collect::<std::result::Result<Vec<_>, arrow::error::ArrowError>>()
            .context("cannot find the sort columns")?;
        Ok(Self {
            columns: table.sort_columns(),
            converter: RowConverter::new(fields).context("cannot compare the sort columns")?,
            last: None,
        })
    }

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .filter_map(|name| batch.column_by_name(name).cloned())
            .collect();
        let keys = self
            .converter
            .convert_columns(&columns)
            .context("cannot compare the sort columns")?;
        let follows = self
            .last
            .as_ref()
            .is_none_or(|last| last.row() <= keys.row(0));
        let is_ordered = (1..keys.num_rows()).all(|row| keys.row(row - 1) <= keys.row(row));
        if !follows || !is_ordered {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "K4: rows do not stand in the order that the log says",
            ));
        }
        self.last = Some(keys.row(keys.num_rows() - 1).owned());
        Ok(())
    }
}
