//! Rows that come in order, batch by batch, into one Parquet file in memory, with the statistics
//! that the log holds of it and, if wanted, a search index before the footer. For files of more rows
//! than fit into memory decoded.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::SortOptions,
    datatypes::SchemaRef,
    row::{OwnedRow, RowConverter, SortField},
};
use parquet::{
    arrow::{ArrowSchemaConverter, arrow_writer::ArrowRowGroupWriterFactory},
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
};

use crate::{
    encode::{
        search_index,
        statistics::StatisticsBuilder,
        write::{EncodedFile, Task, tasks_of},
    },
    error::{Context as _, Error, ErrorKind, Result},
    layout::{build::row_schema, columns::TableName},
};

/// A file under construction.
pub struct FileWriter {
    schema: SchemaRef,
    writer: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    /// Columns of the row group under construction; none between two of them.
    columns: Vec<Task>,
    group_rows: usize,
    group_rows_max: usize,
    threads: usize,
    statistics: StatisticsBuilder,
    index: Option<search_index::Builder>,
    order: OrderCheck,
    rows: usize,
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
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
        threads: usize,
    ) -> Result<Self> {
        let act = "cannot begin a Parquet file";
        let schema = row_schema(table);
        let parquet_schema = ArrowSchemaConverter::new().convert(&schema).context(act)?;
        let writer = SerializedFileWriter::new(
            // Reserved at once: growing would need the bytes twice. What is not written costs nothing.
            Vec::with_capacity(bytes_expected),
            parquet_schema.root_schema_ptr(),
            Arc::clone(properties),
        )
        .context(act)?;
        Ok(Self {
            factory: ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema)),
            schema,
            writer,
            columns: Vec::new(),
            group_rows: 0,
            group_rows_max: properties.max_row_group_row_count().unwrap_or(usize::MAX),
            threads,
            statistics: StatisticsBuilder::new(table),
            index: None,
            order: OrderCheck::new(table)?,
            rows: 0,
        })
    }

    /// Puts a search index of all rows into the file.
    #[must_use]
    pub fn with_search_index(mut self) -> Self {
        self.index = Some(search_index::Builder::new(&self.schema));
        self
    }

    /// Appends rows, whose columns are those of [`row_schema`].
    ///
    /// # Errors
    /// `Corrupt` if they do not follow those before (K4).
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.order.check(batch)?;
        self.statistics.add(batch);
        let mut from = 0;
        while from < batch.num_rows() {
            if self.columns.is_empty() {
                let index = self.writer.flushed_row_groups().len();
                let writers = self
                    .factory
                    .create_column_writers(index)
                    .context("cannot begin a row group")?;
                self.columns = tasks_of(&self.schema, writers);
            }
            let rows = (batch.num_rows() - from).min(self.group_rows_max - self.group_rows);
            self.encode(&batch.slice(from, rows))?;
            self.group_rows += rows;
            from += rows;
            if self.group_rows == self.group_rows_max {
                self.end_group()?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Encodes the columns, and indexes their text, side by side.
    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = &self.schema;
        let columns: Vec<Mutex<&mut Task>> = self.columns.iter_mut().map(Mutex::new).collect();
        let index = self.index.as_mut().map(Mutex::new);
        // What takes longest is begun first, so that no thread is left alone with it at the end: the
        // index (`None`), then the bodies.
        let mut order: Vec<Option<usize>> = (0..columns.len()).map(Some).collect();
        order.sort_by_key(|c| c.is_some_and(|c| !schema.field(c).name().ends_with("_object")));
        order.insert(0, None);
        let next = AtomicUsize::new(0);
        let poisoned = || Error::new(ErrorKind::Bug, "a column was not encoded");
        let work = || -> Result<()> {
            while let Some(part) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(column) = part {
                    let mut task = columns[*column].lock().map_err(|_| poisoned())?;
                    task.write(schema, batch.column(*column))?;
                } else if let Some(index) = &index {
                    index.lock().map_err(|_| poisoned())?.push(batch);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            helpers.into_iter().fold(own, |done, helper| {
                let helped = helper
                    .join()
                    .map_err(|_| Error::new(ErrorKind::Bug, "a column was not encoded"));
                done.and(helped.and_then(|h| h))
            })
        })
    }

    fn end_group(&mut self) -> Result<()> {
        let act = "cannot end a row group";
        let mut group = self.writer.next_row_group().context(act)?;
        for task in std::mem::take(&mut self.columns) {
            for chunk in task.close(&self.schema)? {
                chunk.append_to_row_group(&mut group).context(act)?;
            }
        }
        group.close().context(act)?;
        if let Some(index) = &mut self.index {
            index.end_row_group();
        }
        self.group_rows = 0;
        Ok(())
    }

    /// Puts the index where only the footer's key leads to.
    fn write_index(&mut self) -> Result<()> {
        let Some(index) = self.index.take() else {
            return Ok(());
        };
        let (bytes, directory) = index.finish()?;
        let place = search_index::Place {
            offset: self.writer.bytes_written() as u64,
            directory: directory as u64,
            length: bytes.len() as u64,
        };
        self.writer
            .write_all(&bytes)
            .context("cannot write a search index")?;
        self.writer
            .append_key_value_metadata(KeyValue::new(search_index::KEY.to_owned(), place.value()));
        Ok(())
    }

    /// Bytes of the row groups that are complete.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// True if the last rows completed a row group.
    pub fn is_between_groups(&self) -> bool {
        self.group_rows == 0
    }

    /// Ends the file, with an id of who wrote it, so that nobody else writes a file of the same name;
    /// gives it with its statistics, Delta's JSON.
    ///
    /// # Errors
    /// `Bug` from Parquet.
    pub fn finish(mut self, writer_id: &str) -> Result<(EncodedFile, String)> {
        if self.group_rows > 0 {
            self.end_group()?;
        }
        self.write_index()?;
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
