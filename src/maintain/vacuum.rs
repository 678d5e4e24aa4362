//! Deletes what nothing refers to any more: data files that were replaced or expired, files that a run
//! staged and never committed, and versions of the log that a checkpoint has taken the place of.
//!
//! A file goes if no active file has its path and it was removed from the table longer ago than the
//! retention: questions that began before still read it. A file that the log does not know may be of
//! a batch that is being written or will be done again, which makes files of the same names: so it must
//! be older than every open batch, and than a day.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use deltalake_core::{DeltaTable, checkpoints};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectMeta, path::Path};

use super::removed;
use crate::{
    commit::{
        ledger::{Ledger, RangeRecord},
        publish::transaction_version,
    },
    error::{Context as _, Error, ErrorKind, Result},
    layout::columns::TableName,
    table::Archive,
};

/// Files are kept this long unless told otherwise, and no shorter unless forced.
pub const RETENTION: TimeDelta = TimeDelta::days(7);

/// Versions of the log are kept this long at least.
pub const LOG_RETENTION: TimeDelta = TimeDelta::days(30);

/// A batch of standard input that is older is dead: nobody can do it again.
const BATCH_MAX: TimeDelta = TimeDelta::days(7);

/// Files in no log are kept this long, whatever is asked for.
const STRAY_MIN: TimeDelta = TimeDelta::days(1);

/// Clocks of machines and stores differ by less.
const CLOCK_SKEW: TimeDelta = TimeDelta::hours(1);

/// How a run behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tables; none: all.
    pub tables: Vec<TableName>,
    /// Age from which files go.
    pub older_than: TimeDelta,
    /// Allows less than [`RETENTION`].
    pub force: bool,
    /// Tell what would go; change nothing.
    pub dry_run: bool,
    /// The present.
    pub now: DateTime<Utc>,
}

/// A file that is gone, or would be.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// Table and path below it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// False: no log knew it.
    pub was_active: bool,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that are gone.
    pub files: Vec<Deleted>,
    /// Files of the log that are gone; not counted in a dry run.
    pub log_files: usize,
    /// Bytes of files that nothing refers to and that are too young.
    pub kept_bytes: u64,
    /// Number of these files.
    pub kept_files: usize,
}

/// Deletes what nothing refers to.
///
/// # Errors
/// `Usage` for a retention that is too short, and the errors of the store. What was not deleted is so
/// by the next run.
pub async fn vacuum(archive: &Archive, options: &Options) -> Result<Report> {
    if options.older_than < RETENTION && !options.force {
        return Err(Error::new(
            ErrorKind::Usage,
            "files are kept for 7 days: questions that run still read them",
        )
        .hint("--force, if nobody asks and nothing is ingested at this moment"));
    }
    let open = open_batches(archive).await?;
    let mut report = Report::default();
    for name in TableName::ALL {
        if !options.tables.is_empty() && !options.tables.contains(&name) {
            continue;
        }
        if !options.dry_run {
            removed::note(archive, name).await?;
        }
        let Some(table) = archive.load(name).await? else {
            continue;
        };
        let found = dead_files(archive, name, &table, options, &open).await?;
        report.kept_files += found.kept_files;
        report.kept_bytes += found.kept_bytes;
        if !options.dry_run {
            delete(name, &table, &found.dead).await?;
            report.log_files += clean_log(archive, name, &table, options, &open).await?;
        }
        report
            .files
            .extend(found.dead.into_iter().map(|(file, was_active)| Deleted {
                path: format!("{}/{}", name.as_str(), file.location),
                bytes: file.size,
                was_active,
            }));
    }
    Ok(report)
}

async fn open_batches(archive: &Archive) -> Result<Vec<RangeRecord>> {
    let Some(table) = archive.load(TableName::Ledger).await? else {
        return Ok(Vec::new());
    };
    let ledger = Ledger::load(archive, &table).await?;
    let open = ledger.open_batches().iter();
    Ok(open.filter_map(|ranges| ranges.first().cloned()).collect())
}

/// Files of a table that nothing refers to.
struct Found {
    /// Those that go, and whether they once were active.
    dead: Vec<(ObjectMeta, bool)>,
    kept_files: usize,
    kept_bytes: u64,
}

async fn dead_files(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
    options: &Options,
    open: &[RangeRecord],
) -> Result<Found> {
    let act = format!("cannot list the files of table {}", name.as_str());
    let cutoff = options.now - options.older_than;
    let running = open
        .iter()
        .filter(|b| !b.source.starts_with("stdin-") || options.now - b.planned_time() < BATCH_MAX);
    let stray_cutoff = running
        .map(|batch| batch.planned_time() - CLOCK_SKEW)
        .chain([cutoff, options.now - STRAY_MIN])
        .min()
        .unwrap_or(cutoff);
    // Listed before the log is read: what is committed in between is in the log then.
    let store = table.log_store().object_store(None);
    let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.context(&act)?;
    let fresh = super::load(archive, name).await?;
    let state = fresh.snapshot().map_err(|e| archive.error(name, e))?;
    let log = state.snapshot().log_data();
    let active: HashSet<Path> = log.iter().map(|f| f.object_store_path()).collect();
    let log_store = fresh.log_store();
    let mut gone = state.all_tombstones(log_store.as_ref());
    let mut removed_at: HashMap<String, i64> = HashMap::new();
    while let Some(file) = gone.next().await {
        let file = file.map_err(|e| archive.error(name, e))?;
        let at = removed_at.entry(file.path().into_owned()).or_default();
        *at = file.deletion_timestamp().unwrap_or(0).max(*at);
    }
    let mut found = Found {
        dead: Vec::new(),
        kept_files: 0,
        kept_bytes: 0,
    };
    for file in listed {
        let is_data = file.location.as_ref().ends_with(".parquet");
        let is_log = file
            .location
            .parts()
            .next()
            .is_some_and(|p| p.as_ref().starts_with('_'));
        if is_log || !is_data || active.contains(&file.location) {
            continue;
        }
        let removed = removed_at
            .get(file.location.as_ref())
            .and_then(|at| DateTime::from_timestamp_millis(*at));
        let is_dead = match removed {
            Some(removed) => removed.max(file.last_modified) < cutoff,
            None => file.last_modified < stray_cutoff,
        };
        if is_dead {
            found.dead.push((file, removed.is_some()));
        } else {
            found.kept_files += 1;
            found.kept_bytes += file.size;
        }
    }
    Ok(found)
}

async fn delete(name: TableName, table: &DeltaTable, files: &[(ObjectMeta, bool)]) -> Result<()> {
    let store = table.log_store().object_store(None);
    let paths: Vec<_> = files.iter().map(|(f, _)| Ok(f.location.clone())).collect();
    let mut deleted = store.delete_stream(futures::stream::iter(paths).boxed());
    while let Some(done) = deleted.next().await {
        match done {
            // Another vacuum was faster.
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => {
                let failed: std::result::Result<(), _> = Err(e);
                failed.context(format!("cannot delete a file of table {}", name.as_str()))?;
            }
        }
    }
    Ok(())
}

/// Deletes versions of the log before a checkpoint. An open batch whose rows are in the table takes its
/// counts from the commit that brought them, so that commits since its plan stay.
async fn clean_log(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
    options: &Options,
    open: &[RangeRecord],
) -> Result<usize> {
    let mut cutoff = options.now - options.older_than.max(LOG_RETENTION);
    for batch in open {
        let app_id = format!("ingest:{}", batch.source);
        let landed = transaction_version(archive, name, table, &app_id).await?;
        if landed.is_some_and(|number| number >= batch.batch) {
            cutoff = cutoff.min(batch.planned_time() - CLOCK_SKEW);
        }
    }
    let version = table.version().unwrap_or(0);
    checkpoints::cleanup_expired_logs_for(
        version,
        table.log_store().as_ref(),
        cutoff.timestamp_millis(),
        None,
    )
    .await
    .map_err(|e| archive.error(name, e))
}
