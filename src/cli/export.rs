//! `kolumn export`: the events as they were received, one JSON object a line, for replay into any
//! other tool for audit logs.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use futures::StreamExt as _;

use super::plan::{LimitArgs, Plan};
use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    layout::partition::ClusterName,
    output::{audit_json, terminal},
    query::Session,
    table::Archive,
};

/// Arguments of `kolumn export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kolumn export > audit.log
  kolumn export --since 2026-03-01 --until 2026-04-01 --cluster prod | gzip > march.log.gz")]
pub struct ExportArgs {
    /// Form of the events
    #[arg(long, value_enum, default_value_t = ExportFormat::AuditJson)]
    format: ExportFormat,
    /// From this stage time on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this stage time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of this cluster only
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Order of the events: of their stage time, or as stored, which needs no sorting
    #[arg(long, value_enum, default_value_t = Order::Time)]
    order: Order,
    /// File to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Form of the exported events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// JSON lines as kube-apiserver writes them (audit.k8s.io/v1)
    AuditJson,
}

/// Order of the exported events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// By stage time
    Time,
    /// As stored: by object, then time
    Stored,
}

/// Runs the command.
///
/// # Errors
/// `Usage` for a wrong time, and the errors of reading and writing.
pub async fn run(args: ExportArgs, plan: &Plan) -> Result<ExitCode> {
    let ExportFormat::AuditJson = args.format;
    let chosen = conditions(&args, plan)?;
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let session = Session::open(&archive, &plan.session(&args.limits)?).await?;
    super::interruptible(async {
        let (out, target) = terminal::open(args.output_file.as_deref())?;
        let mut out = BufWriter::with_capacity(1 << 20, out);
        let is_read = match args.order {
            Order::Stored => write_as_stored(&session, &chosen, &mut out).await?,
            Order::Time => write_by_time(&session, &chosen, &mut out).await?,
        };
        if is_read && written(out.flush())? {
            drop(out);
            target.keep()?;
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Writes events as they come. False if nobody reads any more.
async fn write_as_stored(session: &Session, chosen: &str, out: &mut impl Write) -> Result<bool> {
    let columns = audit_json::COLUMNS.join(", ");
    let sql = format!("SELECT {columns} FROM audit WHERE {chosen}");
    let mut batches = session.query(&sql).await?.batches;
    while let Some(batch) = batches.next().await {
        if !written(audit_json::write_events(&batch?, out))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes events by their stage time, slice by slice, so that a year needs no more memory than the
/// largest slice. False if nobody reads any more.
async fn write_by_time(session: &Session, chosen: &str, out: &mut impl Write) -> Result<bool> {
    let columns = audit_json::COLUMNS.join(", ");
    for (from, until) in slices(session, chosen).await? {
        let (from, until) = (literal(from), literal(until));
        let sql = format!(
            "SELECT {columns}, source_uri, source_offset FROM audit WHERE {chosen} \
             AND stage_timestamp >= {from} AND stage_timestamp < {until}"
        );
        let mut events = Vec::new();
        let mut batches = session.query(&sql).await?.batches;
        while let Some(batch) = batches.next().await {
            take_events(&batch?, &mut events)?;
        }
        events.sort_by(|a: &Event, b| a.place.cmp(&b.place));
        for event in &events {
            if !written(out.write_all(&event.line))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Raw bytes of a slice, about.
const SLICE_BYTES: i64 = 256 << 20;

/// Times of slices of the chosen events, first and end, in order.
async fn slices(session: &Session, chosen: &str) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    let sql = format!(
        "SELECT CAST(to_unixtime(date_trunc('second', stage_timestamp)) AS BIGINT) AS second, \
         CAST(sum(record_bytes) AS BIGINT) AS bytes FROM audit WHERE {chosen} GROUP BY 1 ORDER BY 1"
    );
    let mut slices: Vec<(i64, i64, i64)> = Vec::new();
    let mut batches = session.query(&sql).await?.batches;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let seconds = batch.column(0).as_primitive::<Int64Type>();
        let sizes = batch.column(1).as_primitive::<Int64Type>();
        for (second, bytes) in seconds.values().iter().zip(sizes.values()) {
            match slices.last_mut() {
                Some((_, end, sum)) if *sum + bytes <= SLICE_BYTES => {
                    (*end, *sum) = (second + 1, *sum + bytes);
                }
                _ => slices.push((*second, second + 1, *bytes)),
            }
        }
    }
    let time = |second| DateTime::from_timestamp_secs(second).unwrap_or_default();
    Ok(slices
        .into_iter()
        .map(|(from, end, _)| (time(from), time(end)))
        .collect())
}

/// An event that waits to be sorted.
struct Event {
    /// Stage time, object and offset: the order of events.
    place: (i64, Arc<str>, i64),
    line: Box<[u8]>,
}

fn take_events(batch: &RecordBatch, events: &mut Vec<Event>) -> Result<()> {
    let bug = || Error::new(ErrorKind::Bug, "an exported batch lacks a column");
    let column = |name| batch.column_by_name(name).ok_or_else(bug);
    let times = column("stage_timestamp")?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(bug)?;
    let offsets = column("source_offset")?
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(bug)?;
    let uris = arrow::compute::cast(column("source_uri")?, &DataType::Utf8)
        .context("cannot read source_uri")?;
    let uris = uris.as_string_opt::<i32>().ok_or_else(bug)?;
    let mut last: Arc<str> = Arc::from("");
    let taken = audit_json::for_each_event(batch, &mut |row, line| {
        if *last != *uris.value(row) {
            last = Arc::from(uris.value(row));
        }
        events.push(Event {
            place: (times.value(row), Arc::clone(&last), offsets.value(row)),
            line: line.into(),
        });
        Ok(())
    });
    taken.context("cannot build events")
}

/// False if the reader went away, which is no error.
fn written(done: io::Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e).context("cannot write events"),
    }
}

fn literal(time: DateTime<Utc>) -> String {
    let text = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    format!("TIMESTAMP '{text}'")
}

/// Which events are chosen, as an SQL condition.
fn conditions(args: &ExportArgs, plan: &Plan) -> Result<String> {
    let times = plan.times();
    let mut conditions = vec!["true".to_owned()];
    if let Some(since) = &args.since {
        let since = literal(times.parse(since)?);
        conditions.push(format!("stage_timestamp >= {since}"));
    }
    if let Some(until) = &args.until {
        let until = literal(times.parse(until)?);
        conditions.push(format!("stage_timestamp < {until}"));
    }
    if let Some(cluster) = &args.cluster {
        // A checked name holds no quotes.
        conditions.push(format!("cluster = '{}'", ClusterName::parse(cluster)?));
    }
    Ok(conditions.join(" AND "))
}
