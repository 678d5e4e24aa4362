//! Sorted rows into Parquet bytes, the columns of a row group encoded side by side on several
//! threads. A column is gathered, encoded and compressed in slices, so that no second copy of the
//! rows exists in memory.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use arrow::{array::ArrayRef, datatypes::SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{
            ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
        },
    },
    file::{properties::WriterProperties, writer::SerializedFileWriter},
};

use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    layout::{build::row_schema, sort::SortedRows},
};

/// Rows gathered at a time: a few MiB of bodies.
const SLICE_ROWS: usize = 2_048;

/// A data file, complete and in memory.
#[derive(Debug)]
pub struct EncodedFile {
    /// The bytes of the Parquet file.
    pub bytes: Vec<u8>,
    /// Number of rows.
    pub rows: usize,
}

impl EncodedFile {
    /// A name made of the content, so that a batch that is done again makes the same file and an
    /// auditor can check a file against its name.
    pub fn name(&self) -> String {
        let digest = blake3::hash(&self.bytes).to_hex();
        format!("part-{}.zstd.parquet", &digest.as_str()[..32])
    }
}

/// Encodes sorted rows.
///
/// # Errors
/// `Limit` or `Bug` from Arrow and Parquet; never for what the rows hold.
pub fn encode(
    rows: &SortedRows<'_>,
    properties: &Arc<WriterProperties>,
    threads: usize,
) -> Result<EncodedFile> {
    let schema = row_schema(rows.table());
    let parquet_schema = ArrowSchemaConverter::new()
        .convert(&schema)
        .context("cannot express the columns in Parquet")?;
    let mut writer = SerializedFileWriter::new(
        Vec::new(),
        parquet_schema.root_schema_ptr(),
        Arc::clone(properties),
    )
    .context("cannot begin a Parquet file")?;
    let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema));
    let group_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX);
    let mut from = 0;
    while from < rows.len() {
        let to = rows.len().min(from.saturating_add(group_rows));
        let index = writer.flushed_row_groups().len();
        let columns = factory
            .create_column_writers(index)
            .context("cannot begin a row group")?;
        let chunks = encode_group(rows, &schema, columns, (from, to), threads)?;
        let mut group = writer
            .next_row_group()
            .context("cannot begin a row group")?;
        for chunk in chunks {
            chunk
                .append_to_row_group(&mut group)
                .context("cannot write a column")?;
        }
        group.close().context("cannot end a row group")?;
        from = to;
    }
    let bytes = writer.into_inner().context("cannot end a Parquet file")?;
    Ok(EncodedFile {
        bytes,
        rows: rows.len(),
    })
}

/// One column of the schema with the writers of its leaves.
pub(super) struct Task {
    column: usize,
    leaves: Vec<ArrowColumnWriter>,
}

impl Task {
    /// Encodes more values.
    pub(super) fn write(&mut self, schema: &SchemaRef, array: &ArrayRef) -> Result<()> {
        let field = schema.field(self.column);
        let leaves = compute_leaves(field, array)
            .context(format!("cannot flatten column {}", field.name()))?;
        for (leaf, writer) in leaves.into_iter().zip(&mut self.leaves) {
            writer
                .write(&leaf)
                .context(format!("cannot encode column {}", field.name()))?;
        }
        Ok(())
    }

    /// Ends the column.
    pub(super) fn close(self, schema: &SchemaRef) -> Result<Vec<ArrowColumnChunk>> {
        let chunks = self.leaves.into_iter().map(ArrowColumnWriter::close);
        let chunks: std::result::Result<_, _> = chunks.collect();
        chunks.context(format!(
            "cannot end column {}",
            schema.field(self.column).name()
        ))
    }
}

/// Encodes the columns of one row group; the slots keep their order whoever finishes first.
fn encode_group(
    rows: &SortedRows<'_>,
    schema: &SchemaRef,
    writers: Vec<ArrowColumnWriter>,
    range: (usize, usize),
    threads: usize,
) -> Result<Vec<ArrowColumnChunk>> {
    let mut tasks = tasks_of(schema, writers);
    let slots: Vec<Mutex<Option<Result<Vec<ArrowColumnChunk>>>>> =
        tasks.iter().map(|_| Mutex::new(None)).collect();
    // The bodies take longest: begun first, so that no thread is left alone with one at the end.
    tasks.sort_by_key(|t| !schema.field(t.column).name().ends_with("_object"));
    let tasks: Vec<Mutex<Option<Task>>> = tasks.into_iter().map(|t| Mutex::new(Some(t))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tasks.len()) {
            scope.spawn(|| {
                while let Some(slot) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let task = slot.lock().ok().and_then(|mut t| t.take());
                    if let Some(task) = task {
                        let column = task.column;
                        let done = encode_column(rows, schema, task, range);
                        if let Ok(mut place) = slots[column].lock() {
                            *place = Some(done);
                        }
                    }
                }
            });
        }
    });
    let mut chunks = Vec::new();
    for slot in slots {
        let done = slot.into_inner().ok().flatten();
        chunks.extend(done.ok_or_else(|| Error::new(ErrorKind::Bug, "a column was not encoded"))??);
    }
    Ok(chunks)
}

/// Gives each column the writers of its leaves, which stand in schema order.
pub(super) fn tasks_of(schema: &SchemaRef, writers: Vec<ArrowColumnWriter>) -> Vec<Task> {
    let mut writers = writers.into_iter();
    let count = |field: &arrow::datatypes::Field| leaves_of(field.data_type());
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(column, field)| Task {
            column,
            leaves: writers.by_ref().take(count(field)).collect(),
        })
        .collect()
}

fn leaves_of(data_type: &arrow::datatypes::DataType) -> usize {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::List(element) => leaves_of(element.data_type()),
        DataType::Struct(fields) => fields.iter().map(|f| leaves_of(f.data_type())).sum(),
        _ => 1,
    }
}

fn encode_column(
    rows: &SortedRows<'_>,
    schema: &SchemaRef,
    mut task: Task,
    (from, to): (usize, usize),
) -> Result<Vec<ArrowColumnChunk>> {
    let mut at = from;
    while at < to {
        let end = to.min(at + SLICE_ROWS);
        task.write(schema, &rows.column(task.column, at, end)?)?;
        at = end;
    }
    task.close(schema)
}
