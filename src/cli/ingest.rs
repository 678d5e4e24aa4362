//! `kolumn ingest`: from locations typed by a person to a report. Decides where the redaction key
//! comes from, spools standard input, shows progress, and turns what happened into an exit code:
//! 0 everything is in, 1 finished but something was rejected or could not be read.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};

use super::{
    ingest_metrics,
    ingest_progress::Progress,
    ingest_report,
    plan::Plan,
    sources::{self, RedactionArgs, SourceArgs, SourcePlan},
};
use crate::{
    clock,
    error::{Context as _, Error, ErrorKind, Result},
    output::terminal,
    pipeline::{self, Options, Redaction, Source, horizon::Known, plan::spooled},
    source::{
        dates::Window,
        list::{ListOptions, Listing, Located},
    },
    table::Archive,
};

/// Arguments of `kolumn ingest`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kolumn ingest /var/log/kubernetes/audit
  kolumn ingest --cluster prod 'audit/*.log.gz'
  kolumn ingest insights-logs-kube-audit insights-logs-kube-audit-admin
  kolumn ingest --cluster prod s3://logs/AWSLogs/eks --since 7d
  kolumn ingest --dry-run
  ssh master cat /var/log/audit.log | kolumn ingest --cluster prod -

Run it as often as you like: what is stored already is not stored again.")]
pub struct IngestArgs {
    /// Files, folders, globs, s3:// or az:// URLs, or - for standard input; plain, gzip or zstd
    /// [default: the sources of kolumn.toml]
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// What is known and wanted of the sources
    #[command(flatten)]
    pub source: SourceArgs,
    /// Show what would be read, what it is told to be and why things are skipped; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report at the end, on stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub report: ReportFormat,
    /// Where the redaction key comes from
    #[command(flatten)]
    pub redaction: RedactionArgs,
    /// Memory for sorting rows, such as 256MiB; a larger one makes fewer, smaller files
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Write the run's figures to this file in Prometheus' text format, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
}

/// How to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// One JSON object, for monitoring.
    Json,
}

/// Runs the command.
///
/// # Errors
/// `Missing` for a source that does not exist, and the errors of [`pipeline::ingest`].
pub async fn run(args: IngestArgs, plan: &Plan) -> Result<ExitCode> {
    let started = clock::now();
    let options = options(&args, plan)?;
    let sources = sources::resolve(&args.sources, &args.source, &args.redaction, plan)?;
    let archive = match args.dry_run {
        false => Some(Archive::open_or_create_at(&plan.archive, &plan.archive_stores()).await?),
        true => match Archive::open_at(&plan.archive, &plan.archive_stores()).await {
            Err(e) if e.kind() == ErrorKind::Missing => None,
            archive => Some(archive?),
        },
    };
    let known = match &archive {
        Some(archive) => Known::load(archive).await?,
        None => None,
    };
    let mut spools = Vec::new();
    let mut listed = Vec::new();
    for source in sources {
        let listing = match source.location.as_str() {
            "-" => spool_stdin(&mut spools)?,
            _ => list_source(&source, known.as_ref(), plan).await?,
        };
        let open = matches!(source.settings.redaction, Redaction::Off);
        if open && !args.dry_run {
            terminal::note(&format!(
                "warning: Secrets and tokens of {} are stored readable in the archive",
                source.name
            ));
        }
        listed.push(Source {
            listing,
            settings: source.settings,
        });
    }
    let Some(archive) = archive.filter(|_| !args.dry_run) else {
        let previews = pipeline::preview::preview(known.as_ref(), &listed).await?;
        ingest_report::print_previews(&previews, args.report)?;
        return Ok(ExitCode::SUCCESS);
    };
    let progress = Arc::new(Progress::new());
    let work = pipeline::ingest(archive, listed, options, Arc::clone(&progress) as _);
    let done = super::interruptible(work).await;
    progress.finish();
    let report = done.map_err(|e| match e.kind() {
        ErrorKind::Interrupted => {
            e.hint("nothing is half done: the next run goes on where this one was")
        }
        _ => e,
    })?;
    let seconds = (clock::now() - started).as_seconds_f64();
    match args.report {
        ReportFormat::Text => ingest_report::print_text(&report, seconds, &plan.archive)?,
        ReportFormat::Json => ingest_report::print_json(&report, seconds)?,
    }
    let configured = plan.config.ingest.metrics_file.as_deref();
    let metrics_file = args
        .metrics_file
        .clone()
        .or_else(|| configured.map(|path| plan.config.path(path)));
    if let Some(path) = metrics_file {
        ingest_metrics::write(&path, &report, seconds, started)?;
    }
    Ok(if ingest_report::is_clean(&report) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn options(args: &IngestArgs, plan: &Plan) -> Result<Options> {
    let defaults = Options::default();
    let memory = args.memory.as_ref().or(plan.config.ingest.memory.as_ref());
    Ok(Options {
        threads: std::thread::available_parallelism().map_or(defaults.threads, usize::from),
        buffer_bytes: memory
            .map(|m| super::plan::parse_bytes(m))
            .transpose()?
            .unwrap_or(defaults.buffer_bytes),
        ..defaults
    })
}

/// Lists a source as far back as it has to be.
async fn list_source(source: &SourcePlan, known: Option<&Known>, plan: &Plan) -> Result<Listing> {
    let settings = plan.stores.with_options(source.options.clone());
    let located = Located::of(&source.location, &settings)?;
    let not_before = match (&located, known) {
        (Located::Remote { source: name, .. }, Some(known)) if !source.relist => known
            .listed_at(name)
            .await?
            .map(|listed| listed - source.look_back),
        _ => None,
    };
    let cluster = source.settings.cluster.as_ref().map(|c| c.as_str());
    let is_new = |uri: &str, version: &str| !known.is_some_and(|k| k.holds(cluster, uri, version));
    let listing = located
        .list(&ListOptions {
            settings,
            exclude: Some(&plan.archive),
            window: Window {
                since: source.since,
                until: source.until,
            },
            not_before,
            keep: matches!(located, Located::Remote { .. }).then_some(&is_new),
        })
        .await?;
    if plan.verbose > 0 {
        let back = not_before.map_or("everything".to_owned(), |t| format!("back to {t}"));
        terminal::note(&format!(
            "{}: {} keys in {} requests, {} known, listed {back}",
            source.name, listing.keys, listing.requests, listing.known
        ));
    }
    Ok(listing)
}

/// The key under which redacted values are digested: flag, `kolumn.toml`, else this machine's own.
///
/// # Errors
/// `Usage` or `Missing` if there is no key, or none that can be read.
pub fn redaction_of(args: &RedactionArgs, plan: &Plan) -> Result<Redaction> {
    let configured = plan.config.ingest.redaction_key.as_deref();
    let given = args
        .redaction_key
        .clone()
        .or_else(|| configured.map(|path| plan.config.path(path)));
    let key = match (given, &plan.state_folder) {
        (Some(path), _) => read_key(&path)?,
        (None, Some(folder)) => own_key(&folder.join("redaction.key"))?,
        (None, None) => {
            return Err(Error::new(
                ErrorKind::Usage,
                "cannot keep a redaction key: there is no home folder",
            )
            .hint("name a key file with --redaction-key, 64 hex digits"));
        }
    };
    Ok(Redaction::On(key))
}

fn read_key(path: &Path) -> Result<[u8; 32]> {
    let text = fs::read_to_string(path)
        .context(format!("cannot read redaction key {}", path.display()))?;
    blake3::Hash::from_hex(text.trim())
        .map(|h| *h.as_bytes())
        .map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                format!("{} is no redaction key", path.display()),
            )
            .because(e)
            .hint("a key is 64 hex digits, as `openssl rand -hex 32` makes")
        })
}

/// Reads this machine's key, making it first if there is none. Two makers at once use the same one.
fn own_key(path: &Path) -> Result<[u8; 32]> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).context(format!("cannot make {}", folder.display()))?;
    }
    let mut new = fs::OpenOptions::new();
    new.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    // Written aside and linked into place, so that nobody ever reads half a key.
    let aside = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    if !fs::exists(path).unwrap_or(false) {
        let act = || format!("cannot make redaction key {}", path.display());
        let random: [uuid::Uuid; 3] = std::array::from_fn(|_| uuid::Uuid::new_v4());
        let key = blake3::hash(&random.map(uuid::Uuid::into_bytes).concat());
        let mut file = new.open(&aside).context(act())?;
        writeln!(file, "{key}").context(act())?;
        let linked = fs::hard_link(&aside, path);
        fs::remove_file(&aside).context(act())?;
        if let Err(e) = linked
            && e.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(e).context(act());
        }
    }
    read_key(path)
}

/// Copies standard input to a file, so that it can be told by content and read like any object.
fn spool_stdin(spools: &mut Vec<tempfile::NamedTempFile>) -> Result<Listing> {
    let act = "cannot copy standard input to a temporary file";
    let mut spool = tempfile::Builder::new()
        .prefix("kolumn-stdin-")
        .tempfile()
        .context(act)?;
    io::copy(&mut io::stdin().lock(), &mut spool).context(act)?;
    // Each stream is a source of its own: it cannot be read again, so nobody else may wait for it.
    let source = format!("stdin-{}", uuid::Uuid::new_v4().simple());
    let object = spooled(spool.path(), format!("stdin:{source}"))?;
    spools.push(spool);
    Ok(Listing {
        source,
        objects: vec![object],
        ..Listing::default()
    })
}
