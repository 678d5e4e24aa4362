//! `kolumn optimize`, `expire` and `vacuum`: what was typed into which partitions, progress, and a
//! report as text or JSON.

use std::{
    fmt::Write as _,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, builder::PossibleValuesParser};
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    ingest::ReportFormat,
    ingest_report::peak_memory,
    plan::{Plan, parse_bytes},
    report,
};
use crate::{
    clock,
    error::{Context as _, Error, ErrorKind, Result},
    layout::{columns::TableName, partition::ClusterName},
    maintain::{Scope, expire, optimize, vacuum},
    output::terminal,
    query::time::parse_duration,
    table::Archive,
};

/// Which partitions are meant.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which partitions")]
pub struct ScopeArgs {
    /// Only this table; may be given more than once [default: all]
    #[arg(long = "table", value_name = "TABLE", value_parser = table_parser())]
    pub tables: Vec<TableName>,
    /// Only this cluster [default: all]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
}

fn table_parser() -> impl clap::builder::TypedValueParser<Value = TableName> {
    use clap::builder::TypedValueParser as _;
    PossibleValuesParser::new(TableName::ALL.map(TableName::as_str)).map(|name| {
        let mut all = TableName::ALL.into_iter();
        all.find(|t| t.as_str() == name).unwrap_or(TableName::Audit)
    })
}

impl ScopeArgs {
    fn scope(&self) -> Result<Scope> {
        Ok(Scope {
            tables: self.tables.clone(),
            cluster: self
                .cluster
                .as_deref()
                .map(ClusterName::parse)
                .transpose()?,
            ..Scope::default()
        })
    }
}

/// Arguments of `kolumn optimize`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kolumn optimize
  kolumn optimize --dry-run
  kolumn optimize --table audit --cluster prod --since 30d

Run it after the nightly ingest; beside running ingests and questions it is safe. A second run finds nothing
to do. Replaced files stay until `kolumn vacuum`.")]
pub struct OptimizeArgs {
    /// Which partitions
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Only partitions of this day and later, such as 7d or 2026-03-01
    #[arg(long, value_name = "TIME", help_heading = "Which partitions")]
    pub since: Option<String>,
    /// Only partitions of days before this one
    #[arg(long, value_name = "TIME", help_heading = "Which partitions")]
    pub until: Option<String>,
    /// Also partitions of today, which still grow, and those to which little was added since
    #[arg(long, help_heading = "Which partitions")]
    pub all: bool,
    /// Show what would be rewritten; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report at the end, on stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub report: ReportFormat,
    /// Memory, such as 1GiB [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Size of a data file, about; at most a quarter of the memory [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub file_size: Option<String>,
}

/// Arguments of `kolumn expire`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kolumn expire --older-than 400d --dry-run
  kolumn expire --older-than 90d --table component --cluster staging

A partition is a UTC day of a cluster. What expired is not ingested again, and its files stay until
`kolumn vacuum`.")]
pub struct ExpireArgs {
    /// Age from which days go, such as 400d
    #[arg(long, value_name = "DURATION")]
    pub older_than: String,
    /// Which partitions
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Show what would go; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report at the end, on stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub report: ReportFormat,
}

/// Arguments of `kolumn vacuum`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kolumn vacuum --dry-run
  kolumn vacuum --older-than 30d

Deletes files that were replaced or expired, that a killed run left behind, and versions of the log that are
older than 30 days and not needed any more.")]
pub struct VacuumArgs {
    /// Age from which files go that nothing refers to
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub older_than: String,
    /// Allow less than 7 days: questions and ingests that run at this moment may fail
    #[arg(long)]
    pub force: bool,
    /// Only this table; may be given more than once [default: all]
    #[arg(long = "table", value_name = "TABLE", value_parser = table_parser())]
    pub tables: Vec<TableName>,
    /// Show what would be deleted; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report at the end, on stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub report: ReportFormat,
}

fn day_of(time: DateTime<Utc>) -> i32 {
    i32::try_from(time.timestamp().div_euclid(86_400)).unwrap_or(i32::MAX)
}

fn age(text: &str) -> Result<TimeDelta> {
    parse_duration(text).context("--older-than")
}

/// Runs `kolumn optimize`.
///
/// # Errors
/// `Missing` if there is no archive, and the errors of [`optimize::optimize`].
pub async fn run_optimize(args: OptimizeArgs, plan: &Plan) -> Result<ExitCode> {
    let started = clock::now();
    let times = plan.times();
    let day = |text: &Option<String>, flag: &str| -> Result<Option<i32>> {
        let time = text.as_ref().map(|t| times.parse(t).context(flag));
        Ok(time.transpose()?.map(day_of))
    };
    let defaults = optimize::Options::new(day_of(plan.now));
    let bytes = |text: &Option<String>, default: usize| -> Result<usize> {
        text.as_ref().map_or(Ok(default), |t| parse_bytes(t))
    };
    let options = optimize::Options {
        scope: Scope {
            since: day(&args.since, "--since")?,
            until: day(&args.until, "--until")?,
            ..args.scope.scope()?
        },
        all: args.all,
        dry_run: args.dry_run,
        memory_bytes: bytes(&args.memory, defaults.memory_bytes).context("--memory")?,
        file_bytes: bytes(&args.file_size, defaults.file_bytes).context("--file-size")?,
        ..defaults
    };
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let progress = Progress::new();
    let work = optimize::optimize(&archive, &options, &progress);
    let done = super::interruptible(work).await;
    progress.bar.finish_and_clear();
    let done = done.map_err(|e| match e.kind() {
        ErrorKind::Interrupted => {
            e.hint("nothing is half done: the next run goes on where this one was")
        }
        _ => e,
    })?;
    for (partition, e) in &done.failures {
        terminal::note(&format!("{partition} was left as it was"));
        report::show(e);
    }
    let seconds = (clock::now() - started).as_seconds_f64();
    match args.report {
        ReportFormat::Text => print(|out| optimize_text(out, &done, &options, seconds))?,
        ReportFormat::Json => terminal::print(&optimize_json(&done, &options, seconds).to_string()),
    }
    let worst = done.failures.first().map(|(_, e)| e.kind().exit_code());
    Ok(worst.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Runs `kolumn expire`.
///
/// # Errors
/// `Missing` if there is no archive, and the errors of [`expire::expire`].
pub async fn run_expire(args: ExpireArgs, plan: &Plan) -> Result<ExitCode> {
    let keep_from = plan
        .now
        .checked_sub_signed(age(&args.older_than)?)
        .ok_or_else(|| Error::new(ErrorKind::Usage, "--older-than reaches beyond all time"))?;
    let options = expire::Options {
        scope: args.scope.scope()?,
        keep_from: day_of(keep_from),
        dry_run: args.dry_run,
    };
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let done = super::interruptible(expire::expire(&archive, &options)).await?;
    match args.report {
        ReportFormat::Text => print(|out| expire_text(out, &done, &options))?,
        ReportFormat::Json => {
            let partitions = done.partitions.iter().map(|p| {
                json!({"partition": p.partition, "files": p.files, "rows": p.rows, "bytes": p.bytes})
            });
            let told = json!({
                "dry_run": options.dry_run,
                "keep_from": done.keep_from.to_string(),
                "partitions": partitions.collect::<Vec<Value>>(),
            });
            terminal::print(&told.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `kolumn vacuum`.
///
/// # Errors
/// `Missing` if there is no archive, and the errors of [`vacuum::vacuum`].
pub async fn run_vacuum(args: VacuumArgs, plan: &Plan) -> Result<ExitCode> {
    let options = vacuum::Options {
        tables: args.tables.clone(),
        older_than: age(&args.older_than)?,
        force: args.force,
        dry_run: args.dry_run,
        now: plan.now,
    };
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let done = super::interruptible(vacuum::vacuum(&archive, &options)).await?;
    let bytes: u64 = done.files.iter().map(|f| f.bytes).sum();
    match args.report {
        ReportFormat::Text => print(|out| vacuum_text(out, &done, &options, bytes))?,
        ReportFormat::Json => {
            let files = done
                .files
                .iter()
                .map(|f| json!({"path": f.path, "bytes": f.bytes, "was_active": f.was_active}));
            let told = json!({
                "dry_run": options.dry_run,
                "files": files.collect::<Vec<Value>>(),
                "bytes": bytes,
                "log_files": done.log_files,
                "kept_files": done.kept_files,
                "kept_bytes": done.kept_bytes,
            });
            terminal::print(&told.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(write: impl FnOnce(&mut String) -> std::fmt::Result) -> Result<()> {
    let mut text = String::new();
    write(&mut text)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot write the report").because(e))?;
    terminal::print_bytes(text.as_bytes())
}

/// Partitions and files that are listed one by one in a report for people.
const SHOWN: usize = 20;

fn and_more(out: &mut String, all: usize) -> std::fmt::Result {
    match all.checked_sub(SHOWN) {
        Some(more) if more > 0 => writeln!(out, "  and {} more", HumanCount(more as u64)),
        _ => Ok(()),
    }
}

fn optimize_text(
    out: &mut String,
    done: &optimize::Report,
    options: &optimize::Options,
    seconds: f64,
) -> std::fmt::Result {
    for p in done.partitions.iter().take(SHOWN) {
        let before = format!("{} files {}", p.files_before, BinaryBytes(p.bytes_before));
        if options.dry_run {
            writeln!(out, "{}: {before}", p.partition)?;
        } else {
            let after = format!("{} files {}", p.files_after, BinaryBytes(p.bytes_after));
            writeln!(out, "{}: {before} -> {after}", p.partition)?;
        }
    }
    and_more(out, done.partitions.len())?;
    let sum =
        |of: fn(&optimize::PartitionReport) -> u64| done.partitions.iter().map(of).sum::<u64>();
    let (before, after) = (sum(|p| p.bytes_before), sum(|p| p.bytes_after));
    let count = HumanCount(done.partitions.len() as u64);
    match (done.partitions.is_empty(), options.dry_run) {
        (true, _) => writeln!(out, "Nothing to optimize.")?,
        (false, true) => writeln!(
            out,
            "would rewrite {count} partitions, {}",
            BinaryBytes(before)
        )?,
        (false, false) => {
            writeln!(
                out,
                "rewritten   {count} partitions, {} rows",
                HumanCount(sum(|p| p.rows))
            )?;
            let superseded = sum(|p| p.superseded);
            if superseded > 0 {
                writeln!(
                    out,
                    "  dropped   {} copies of events of which a fuller one is kept",
                    HumanCount(superseded)
                )?;
            }
            writeln!(
                out,
                "files       {} -> {}",
                HumanCount(sum(|p| p.files_before as u64)),
                HumanCount(sum(|p| p.files_after as u64))
            )?;
            writeln!(
                out,
                "bytes       {} -> {}",
                BinaryBytes(before),
                BinaryBytes(after)
            )?;
        }
    }
    for (count, what) in [
        (done.at_rest, "are as they should be"),
        (done.growing, "of today still grow; --all takes them too"),
        (done.little_new, "got little since; --all takes them too"),
        (done.failures.len() as u64, "failed and are as they were"),
    ] {
        if count > 0 {
            writeln!(out, "{} partitions {what}.", HumanCount(count))?;
        }
    }
    if !options.dry_run {
        writeln!(
            out,
            "time        {seconds:.1} s, peak memory {}",
            peak_memory().map_or("unknown".to_owned(), |b| BinaryBytes(b).to_string())
        )?;
    }
    Ok(())
}

fn optimize_json(done: &optimize::Report, options: &optimize::Options, seconds: f64) -> Value {
    let partitions = done.partitions.iter().map(|p| {
        json!({
            "partition": p.partition,
            "files_before": p.files_before,
            "files_after": p.files_after,
            "bytes_before": p.bytes_before,
            "bytes_after": p.bytes_after,
            "rows": p.rows,
            "superseded": p.superseded,
        })
    });
    let failures = done
        .failures
        .iter()
        .map(|(partition, e)| json!({"partition": partition, "error": e.to_chain()}));
    json!({
        "dry_run": options.dry_run,
        "partitions": partitions.collect::<Vec<Value>>(),
        "at_rest": done.at_rest,
        "growing": done.growing,
        "little_new": done.little_new,
        "failures": failures.collect::<Vec<Value>>(),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory(),
    })
}

fn expire_text(
    out: &mut String,
    done: &expire::Report,
    options: &expire::Options,
) -> std::fmt::Result {
    for p in done.partitions.iter().take(SHOWN) {
        let rows = p
            .rows
            .map_or("unknown".to_owned(), |r| HumanCount(r).to_string());
        writeln!(
            out,
            "{}: {rows} rows, {} files, {}",
            p.partition,
            p.files,
            BinaryBytes(p.bytes)
        )?;
    }
    and_more(out, done.partitions.len())?;
    let bytes = done.partitions.iter().map(|p| p.bytes).sum();
    let verb = if options.dry_run {
        "would go"
    } else {
        "are gone"
    };
    if done.partitions.is_empty() {
        return writeln!(out, "Nothing is older than {}.", done.keep_from);
    }
    writeln!(
        out,
        "{} partitions before {} {verb}: {}",
        HumanCount(done.partitions.len() as u64),
        done.keep_from,
        BinaryBytes(bytes)
    )?;
    if !options.dry_run {
        writeln!(
            out,
            "Their files are deleted by `kolumn vacuum`, after 7 days."
        )?;
    }
    Ok(())
}

fn vacuum_text(
    out: &mut String,
    done: &vacuum::Report,
    options: &vacuum::Options,
    bytes: u64,
) -> std::fmt::Result {
    for file in done.files.iter().take(SHOWN) {
        let stray = if file.was_active { "" } else { ", in no log" };
        writeln!(out, "{}: {}{stray}", file.path, BinaryBytes(file.bytes))?;
    }
    and_more(out, done.files.len())?;
    let count = HumanCount(done.files.len() as u64);
    match (done.files.is_empty(), options.dry_run) {
        (true, _) => writeln!(out, "Nothing to delete.")?,
        (false, true) => writeln!(out, "would delete {count} files, {}", BinaryBytes(bytes))?,
        (false, false) => writeln!(out, "deleted {count} files, {}", BinaryBytes(bytes))?,
    }
    if done.log_files > 0 {
        writeln!(
            out,
            "deleted {} files of the log",
            HumanCount(done.log_files as u64)
        )?;
    }
    if done.kept_files > 0 {
        writeln!(
            out,
            "{} files, {}, are replaced or in no log, and too young.",
            HumanCount(done.kept_files as u64),
            BinaryBytes(done.kept_bytes)
        )?;
    }
    Ok(())
}

/// A plain line is written this often.
const LINE_SECONDS: i64 = 10;

/// Progress of an optimize: a bar on a terminal, a plain line now and then elsewhere, on stderr.
struct Progress {
    bar: ProgressBar,
    rows: AtomicU64,
    last_line: Mutex<DateTime<Utc>>,
}

impl Progress {
    fn new() -> Self {
        let bar = if terminal::stderr_is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8))
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} ETA {eta}  {msg}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            rows: AtomicU64::new(0),
            last_line: Mutex::new(clock::now()),
        }
    }
}

impl optimize::Observer for Progress {
    fn planned(&self, _partitions: usize, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn began(&self, partition: &str, files: usize, bytes: u64) {
        let text = format!("{partition}: {files} files, {}", BinaryBytes(bytes));
        self.bar.set_message(text.clone());
        if let Ok(mut last) = self.last_line.lock()
            && self.bar.is_hidden()
            && (clock::now() - *last).num_seconds() >= LINE_SECONDS
        {
            *last = clock::now();
            let rows = HumanCount(self.rows.load(Ordering::Relaxed));
            terminal::note(&format!("optimize: {rows} rows written; {text}"));
        }
    }

    fn wrote(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.bar.tick();
    }

    fn ended(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}
