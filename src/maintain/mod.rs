//! What keeps an archive small and quick over years: files are merged and written for rest
//! ([`optimize`]), old partitions go ([`expire`]), and what nothing refers to any more is deleted
//! ([`vacuum`]). Safe beside running ingests and questions, and beside itself.
//!
//! A rewrite is one commit that removes files and adds others. What it removes must be active in the
//! version it commits on, and the transaction `rewrite` of the table makes two rewrites conflict that
//! commit at the same moment, so that no row is lost or doubled. Ingests only add files, so that they
//! and rewrites do not stand in each other's way: duplicates are looked for in the files of one
//! version, whose rows stay the same whichever files hold them.

pub mod expire;
mod merge;
pub mod optimize;
mod removed;
mod survey;
pub mod vacuum;

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray},
    datatypes::Date32Type,
};
use deltalake_core::DeltaTable;
use object_store::path::Path;
use serde_json::Value;

use crate::{
    commit::{
        publish::{Published, Replacement, TransactionMark, replace},
        stage::StagedFile,
    },
    error::{Error, ErrorKind, Result},
    layout::{
        columns::TableName,
        partition::{ClusterName, date_of_day},
    },
    table::{Archive, log::FileList},
};
use removed::Removed;

/// Which partitions are meant.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Tables; none: all.
    pub tables: Vec<TableName>,
    /// Cluster; none: all.
    pub cluster: Option<ClusterName>,
    /// First day, in days since 1970-01-01; none: the oldest.
    pub since: Option<i32>,
    /// Day behind the last one; none: the newest is the last.
    pub until: Option<i32>,
}

impl Scope {
    fn holds_table(&self, table: TableName) -> bool {
        self.tables.is_empty() || self.tables.contains(&table)
    }

    /// A partition without a date is meant if no days are.
    fn holds(&self, place: &Place) -> bool {
        let of_cluster = self
            .cluster
            .as_ref()
            .is_none_or(|c| place.cluster.as_deref() == Some(c.as_str()));
        let after = self.since.is_none_or(|s| place.day.is_some_and(|d| d >= s));
        let before = self.until.is_none_or(|u| place.day.is_some_and(|d| d < u));
        of_cluster && after && before
    }
}

/// A partition of any table: of the ledger it has a source in place of cluster and day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Days since 1970-01-01.
    day: Option<i32>,
    cluster: Option<String>,
    source: Option<String>,
}

impl Place {
    fn values(&self) -> Vec<(&'static str, String)> {
        let day = self.day.map(|d| date_of_day(d).to_string());
        [
            ("cluster", self.cluster.clone()),
            ("date", day),
            ("source", self.source.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// Its folder below the table.
    fn path(&self) -> String {
        let parts: Vec<String> = self
            .values()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        parts.join("/")
    }
}

/// The partitions of a table with their files, oldest first. Partitions whose values no ingest
/// writes are left out.
fn places(list: &FileList) -> BTreeMap<Place, Vec<usize>> {
    let mut found: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    let text = |column: usize, file: usize| {
        let texts = list.partition(column).as_string_opt::<i32>()?;
        (!texts.is_null(file)).then(|| texts.value(file).to_owned())
    };
    for file in 0..list.len() {
        let place = match list.name() {
            TableName::Ledger => Place {
                day: None,
                cluster: None,
                source: text(0, file).filter(|s| is_plain(s)),
            },
            _ => {
                let days = list.partition(1).as_primitive_opt::<Date32Type>();
                let day = days.filter(|d| d.is_valid(file)).map(|d| d.value(file));
                Place {
                    day,
                    cluster: text(0, file).filter(|c| ClusterName::parse(c).is_ok()),
                    source: None,
                }
            }
        };
        let is_whole = place.source.is_some() || (place.day.is_some() && place.cluster.is_some());
        if is_whole {
            found.entry(place).or_default().push(file);
        }
    }
    found
}

/// True for what is the same in a path, in a URL and in the log.
fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.chars().all(fits)
}

/// One rewrite, before it is committed.
struct Rewrite {
    table: TableName,
    removed: Vec<Path>,
    added: Vec<StagedFile>,
    /// Rows that are gone, by the object they were read from.
    counts: Removed,
    changes_rows: bool,
}

/// Other rewrites of a table may win the race for a version this often.
const OVERTAKEN_MAX: usize = 50;

/// Commits a rewrite. False: a file that it removes is not there any more.
async fn commit(archive: &Archive, rewrite: &Rewrite) -> Result<bool> {
    let table = rewrite.table;
    for attempt in 0..OVERTAKEN_MAX {
        let fresh = load(archive, table).await?;
        if attempt > 0 && !all_active(archive, table, &fresh, &rewrite.removed)? {
            return Ok(false);
        }
        let number = fresh
            .version()
            .map_or(0, |v| i64::try_from(v).unwrap_or(i64::MAX))
            + 1;
        let mark = |app_id: &str| TransactionMark {
            app_id: app_id.to_owned(),
            version: number,
        };
        let mut mutexes = vec![mark("rewrite")];
        let mut metadata: Vec<(String, Value)> = Vec::new();
        if !rewrite.counts.is_empty() {
            mutexes.push(mark(removed::MARK));
            metadata.push(rewrite.counts.told(number)?);
        }
        let replacement = Replacement {
            table,
            mutexes,
            removed: rewrite.removed.clone(),
            added: rewrite.added.clone(),
            changes_rows: rewrite.changes_rows,
            metadata,
        };
        if replace(archive, &fresh, replacement).await? == Published::Committed {
            if !rewrite.counts.is_empty() {
                removed::note(archive, table).await?;
            }
            return Ok(true);
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "other writers overtook a rewrite of table {} {OVERTAKEN_MAX} times",
            table.as_str()
        ),
    )
    .hint("run the same command again, with fewer at the same time"))
}

async fn load(archive: &Archive, table: TableName) -> Result<DeltaTable> {
    archive.load(table).await?.ok_or_else(|| {
        Error::new(
            ErrorKind::Corrupt,
            format!("table {} is gone", table.as_str()),
        )
    })
}

fn all_active(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
    paths: &[Path],
) -> Result<bool> {
    let state = table.snapshot().map_err(|e| archive.error(name, e))?;
    let active: std::collections::HashSet<Path> = state
        .snapshot()
        .log_data()
        .iter()
        .map(|f| f.object_store_path())
        .collect();
    Ok(paths.iter().all(|p| active.contains(p)))
}
