//! `kolumn export`: the events as they were received, one JSON object a line, for replay into any
//! other tool for audit logs.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use futures::StreamExt as _;

use super::plan::{LimitArgs, Plan};
use crate::{
    error::{Context as _, Result},
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
    let sql = export_sql(&args, plan)?;
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let session = Session::open(&archive, &plan.session(&args.limits)?).await?;
    super::interruptible(async {
        let mut batches = session.query(&sql).await?.batches;
        let (out, target) = terminal::open(args.output_file.as_deref())?;
        let mut out = BufWriter::with_capacity(1 << 20, out);
        while let Some(batch) = batches.next().await {
            if !written(audit_json::write_events(&batch?, &mut out))? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        written(out.flush())?;
        drop(out);
        target.keep()?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// False if the reader went away, which is no error.
fn written(done: io::Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e).context("cannot write events"),
    }
}

fn export_sql(args: &ExportArgs, plan: &Plan) -> Result<String> {
    let literal = |t: DateTime<Utc>| {
        format!(
            "TIMESTAMP '{}'",
            t.to_rfc3339_opts(SecondsFormat::Micros, true)
        )
    };
    let times = plan.times();
    let mut conditions = vec!["true".to_owned()];
    if let Some(since) = &args.since {
        conditions.push(format!(
            "stage_timestamp >= {}",
            literal(times.parse(since)?)
        ));
    }
    if let Some(until) = &args.until {
        conditions.push(format!(
            "stage_timestamp < {}",
            literal(times.parse(until)?)
        ));
    }
    if let Some(cluster) = &args.cluster {
        // A checked name holds no quotes.
        conditions.push(format!("cluster = '{}'", ClusterName::parse(cluster)?));
    }
    let order = match args.order {
        Order::Time => " ORDER BY stage_timestamp, source_uri, source_offset",
        Order::Stored => "",
    };
    Ok(format!(
        "SELECT {} FROM audit WHERE {}{order}",
        audit_json::COLUMNS.join(", "),
        conditions.join(" AND ")
    ))
}
