//! Rows that are gone on purpose, counted by the object they were read from, so that the ledger goes
//! on telling how many rows of each object there are.
//!
//! The commit that removes them carries the counts and the transaction `removed`; the ledger gets
//! them under the transaction `removed:<table>` of the same number. After a crash in between, the
//! next rewrite finds that the ledger is behind and makes it up from the commits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock,
    commit::{
        ledger::{BatchState, RangeRecord, signed, stage_records},
        publish::{
            Publication, Published, TransactionMark, commit_metadata, publish, transaction_version,
        },
    },
    error::{Error, ErrorKind, Result},
    layout::columns::TableName,
    table::Archive,
};

/// Transaction of a table under which rows were removed last.
pub(super) const MARK: &str = "removed";

/// Key of the counts in the metadata of a commit.
const KEY: &str = "kolumnRemoved";

/// Ledger source of the rows that tell of removals.
const SOURCE: &str = "kolumn.removed";

/// Rows that are gone, by object.
#[derive(Debug, Clone, Default)]
pub(super) struct Removed(pub(super) BTreeMap<String, u64>);

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    number: i64,
    rows: BTreeMap<String, u64>,
}

impl Removed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the commit tells.
    pub(super) fn told(&self, number: i64) -> Result<(String, Value)> {
        let told = Told {
            number,
            rows: self.0.clone(),
        };
        let told = serde_json::to_value(told)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot write counts as JSON").because(e))?;
        Ok((KEY.to_owned(), told))
    }
}

/// Brings what the commits of a table tell into the ledger, once.
///
/// # Errors
/// Errors of the store.
pub(super) async fn note(archive: &Archive, name: TableName) -> Result<()> {
    let app_id = format!("removed:{}", name.as_str());
    loop {
        let Some(table) = archive.load(name).await? else {
            return Ok(());
        };
        let Some(last) = transaction_version(archive, name, &table, MARK).await? else {
            return Ok(());
        };
        let ledger = archive.load_or_create(TableName::Ledger).await?;
        let noted = transaction_version(archive, TableName::Ledger, &ledger, &app_id)
            .await?
            .unwrap_or(0);
        if noted >= last {
            return Ok(());
        }
        let told = commit_metadata(archive, name, &table, KEY).await?;
        let told = told
            .into_iter()
            .filter_map(|value| serde_json::from_value::<Told>(value).ok())
            .filter(|told| told.number > noted && told.number <= last);
        let records: Vec<RangeRecord> = told.flat_map(|t| records_of(name, &t)).collect();
        let publication = Publication {
            table: TableName::Ledger,
            mark: TransactionMark {
                app_id: app_id.clone(),
                version: last,
            },
            mutexes: Vec::new(),
            files: stage_records(&ledger, &records).await?,
            metadata: Vec::new(),
        };
        if publish(archive, &ledger, publication).await? != Published::Overtaken {
            return Ok(());
        }
    }
}

fn records_of(table: TableName, told: &Told) -> Vec<RangeRecord> {
    let at = clock::now().timestamp_micros();
    let record = |(uri, count): (&String, &u64)| {
        let count = signed(*count);
        let (rows, rejected) = match table {
            TableName::Rejected => (0, count),
            _ => (count, 0),
        };
        RangeRecord {
            source: SOURCE.to_owned(),
            batch: told.number,
            state: BatchState::Removed,
            recorded_at: at,
            planned_at: at,
            object_uri: uri.clone(),
            object_version: String::new(),
            object_size: 0,
            cluster: None,
            compression: String::new(),
            head_digest: String::new(),
            range_start: 0,
            range_end: None,
            range_digest: None,
            records: count,
            rows,
            duplicates: 0,
            rejected,
            waiting_bytes: 0,
            ended_early: None,
            redaction: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            first_rows_file: None,
            filtered: 0,
            continuations: 0,
        }
    };
    told.rows.iter().map(record).collect()
}
