//! The only printer: record batches go out as a table for people, JSON lines, CSV, Parquet or an
//! Arrow stream, to stdout or a file; and single lines to stdout or stderr. In: a schema and a stream
//! of batches. Promised: rows are written as they come (a table holds back its first thousand to find
//! column widths), times are shown in the zone asked for, a reader that goes away ends the output
//! quietly, and a file appears only when it is complete.

pub mod audit_json;
mod cells;
pub mod chart;
mod table;
pub mod terminal;
mod zone;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::LineDelimited;
use chrono_tz::Tz;
use futures::StreamExt;
use futures::stream::BoxStream;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::{Context, Result};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Columns side by side for people; long cells are cut.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header line.
    Csv,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("table", Self::Table),
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("parquet", Self::Parquet),
        ("arrow", Self::Arrow),
    ];
}

/// Where and how rows are written.
#[derive(Debug, Clone)]
pub struct Output {
    /// The format.
    pub format: Format,
    /// Zone in which times are shown.
    pub zone: Tz,
    /// Width of the terminal; `None`: the output is no terminal.
    pub width: Option<usize>,
    /// The file; `None`: stdout.
    pub file: Option<PathBuf>,
}

type Sink = BufWriter<Watched>;

/// Writes all rows and returns how many there were.
///
/// # Errors
/// The error of the stream, or of the file. A closed pipe is none.
pub async fn write(
    schema: SchemaRef,
    mut batches: BoxStream<'static, Result<RecordBatch>>,
    output: &Output,
) -> Result<u64> {
    let gone = Arc::new(AtomicBool::new(false));
    let (inner, target) = terminal::open(output.file.as_deref())?;
    let sink = BufWriter::new(Watched {
        inner,
        gone: Arc::clone(&gone),
    });
    let shown = cells::shown_schema(&zone::schema_in(&schema, output.zone), output.format);
    let mut rows = 0;
    let act = "cannot write the answer";
    let mut writer = match Writer::new(sink, &shown, output).context(act) {
        Err(_) if gone.load(Ordering::Relaxed) => return Ok(0),
        writer => writer?,
    };
    while let Some(batch) = batches.next().await {
        let batch = zone::batch_in(&batch?, output.zone).context(act)?;
        let batch = cells::shown_batch(&batch, &shown).context(act)?;
        rows += batch.num_rows() as u64;
        match writer.write(&batch).context(act) {
            Err(_) if gone.load(Ordering::Relaxed) => return Ok(rows),
            done => done?,
        }
    }
    match writer.finish().context(act) {
        Err(_) if gone.load(Ordering::Relaxed) => Ok(rows),
        done => {
            done?;
            target.keep()?;
            Ok(rows)
        }
    }
}

enum Writer {
    Table(table::TableWriter<Sink>),
    Json(LineDelimitedWriter<Sink>),
    Csv(Box<arrow::csv::Writer<Sink>>, bool, SchemaRef),
    Parquet(Box<ArrowWriter<Sink>>),
    Arrow(Box<StreamWriter<Sink>>),
}

impl Writer {
    fn new(sink: Sink, schema: &SchemaRef, output: &Output) -> Result<Self, ArrowError> {
        Ok(match output.format {
            Format::Table => Self::Table(table::TableWriter::new(sink, schema, output)),
            Format::Json => Self::Json(
                arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, LineDelimited>(sink),
            ),
            Format::Csv => Self::Csv(
                Box::new(
                    arrow::csv::WriterBuilder::new()
                        .with_header(true)
                        .build(sink),
                ),
                false,
                Arc::clone(schema),
            ),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(sink, Arc::clone(schema), Some(properties))?;
                Self::Parquet(Box::new(writer))
            }
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(sink, schema)?)),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Table(writer) => writer.write(batch),
            Self::Json(writer) => writer.write(batch),
            Self::Csv(writer, begun, _) => {
                *begun = true;
                writer.write(batch)
            }
            Self::Parquet(writer) => Ok(writer.write(batch)?),
            Self::Arrow(writer) => writer.write(batch),
        }
    }

    fn finish(self) -> Result<(), ArrowError> {
        match self {
            Self::Table(writer) => writer.finish()?,
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            Self::Csv(mut writer, begun, schema) => {
                if !begun {
                    writer.write(&RecordBatch::new_empty(schema))?;
                }
                writer.into_inner().flush()?;
            }
            Self::Parquet(writer) => writer.into_inner()?.flush()?,
            Self::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?.flush()?;
            }
        }
        Ok(())
    }
}

/// Notices that the reader of the output went away.
struct Watched {
    inner: Box<dyn Write + Send>,
    gone: Arc<AtomicBool>,
}

impl Watched {
    fn noticed<T>(&self, done: std::io::Result<T>) -> std::io::Result<T> {
        if let Err(e) = &done
            && e.kind() == std::io::ErrorKind::BrokenPipe
        {
            self.gone.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let done = self.inner.write(bytes);
        self.noticed(done)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let done = self.inner.flush();
        self.noticed(done)
    }
}
