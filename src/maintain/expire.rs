//! Takes partitions older than a given age out of the tables. The ledger keeps what it knows of the
//! objects that they came from, and is told how many of their rows are gone, so that nothing of them
//! is ingested again and nothing seems to be missing. The files stay until a vacuum.

use chrono::NaiveDate;

use super::{
    Place, Rewrite, Scope, commit,
    merge::{Input, read_columns},
    places,
    removed::{self, Removed},
    survey::count_origins,
};
use crate::{
    error::{Error, ErrorKind, Result},
    layout::{columns::TableName, partition::date_of_day},
    table::{Archive, log::FileList},
};

/// How a run behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which partitions may go; its `until` is not used.
    pub scope: Scope,
    /// The first day that stays, in days since 1970-01-01.
    pub keep_from: i32,
    /// Tell what would go; change nothing.
    pub dry_run: bool,
}

/// A partition that is gone, or would be.
#[derive(Debug, Clone)]
pub struct Expired {
    /// Table and folder.
    pub partition: String,
    /// Files.
    pub files: usize,
    /// Rows, if the log tells.
    pub rows: Option<u64>,
    /// Bytes of the files.
    pub bytes: u64,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// The first day that stays.
    pub keep_from: NaiveDate,
    /// Partitions that are gone.
    pub partitions: Vec<Expired>,
}

/// Rewrites of the same table may overtake an expiry this often.
const OVERTAKEN_MAX: usize = 5;

/// Takes old partitions out of the tables, one commit a table.
///
/// # Errors
/// Errors of the store and of the table log. A table is done as a whole or not at all.
pub async fn expire(archive: &Archive, options: &Options) -> Result<Report> {
    let mut report = Report {
        keep_from: date_of_day(options.keep_from),
        partitions: Vec::new(),
    };
    for table in TableName::ALL {
        // The ledger is what keeps things from coming back.
        if table == TableName::Ledger || !options.scope.holds_table(table) {
            continue;
        }
        if !options.dry_run {
            removed::note(archive, table).await?;
        }
        report
            .partitions
            .extend(expire_table(archive, table, options).await?);
    }
    Ok(report)
}

async fn expire_table(
    archive: &Archive,
    table: TableName,
    options: &Options,
) -> Result<Vec<Expired>> {
    for _ in 0..OVERTAKEN_MAX {
        let Some(list) = archive.files(table).await? else {
            return Ok(Vec::new());
        };
        let old: Vec<(Place, Vec<usize>)> = places(&list)
            .into_iter()
            .filter(|(place, _)| {
                options.scope.holds(place) && place.day.is_some_and(|d| d < options.keep_from)
            })
            .collect();
        let expired = old.iter().map(|(place, files)| Expired {
            partition: format!("{}/{}", table.as_str(), place.path()),
            files: files.len(),
            rows: files.iter().map(|f| list.rows(*f)).sum(),
            bytes: files.iter().map(|f| list.size(*f)).sum(),
        });
        let expired: Vec<Expired> = expired.collect();
        if options.dry_run || expired.is_empty() {
            return Ok(expired);
        }
        let files: Vec<usize> = old.into_iter().flat_map(|(_, files)| files).collect();
        if commit(archive, &rewrite(archive, table, &list, &files).await?).await? {
            return Ok(expired);
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("other runs rewrote table {} meanwhile", table.as_str()),
    )
    .hint("run the same command again"))
}

async fn rewrite(
    archive: &Archive,
    table: TableName,
    list: &FileList,
    files: &[usize],
) -> Result<Rewrite> {
    let mut counts = Removed::default();
    let mut removed = Vec::new();
    for file in files {
        let input = Input {
            path: list.path(*file)?,
            location: list.location(*file)?,
            bytes: list.size(*file),
        };
        read_columns(archive, &input, &["source_uri"], &mut |batch| {
            count_origins(batch, &mut counts.0);
            Ok(())
        })
        .await?;
        removed.push(input.path);
    }
    Ok(Rewrite {
        table,
        removed,
        added: Vec::new(),
        counts,
        changes_rows: true,
    })
}
