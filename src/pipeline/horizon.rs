//! How far back a place must be listed: what a run has listed and ingested completely need not be
//! listed again, but for a look-back in which blobs grow and data comes late.
//!
//! A run that ends well commits a transaction `listed:<source>` to the ledger whose version is the
//! time of its listing, in seconds. A run that failed does not, and the next one looks back as far.

use chrono::{DateTime, TimeDelta, Utc};
use deltalake_core::DeltaTable;

use crate::{
    commit::{
        ledger::Ledger,
        publish::{Publication, TransactionMark, publish, transaction_version},
    },
    error::Result,
    layout::columns::TableName,
    pipeline::Run,
    source::list::Listing,
    table::Archive,
};

/// Marks closer together than this are not worth a commit.
const MARK_EVERY: TimeDelta = TimeDelta::hours(1);

fn app_id(source: &str) -> String {
    format!("listed:{source}")
}

/// What an archive knows of the places that it was filled from.
#[derive(Debug)]
pub struct Known {
    archive: Archive,
    table: DeltaTable,
    ledger: Ledger,
}

impl Known {
    /// Reads the ledger; `None` if nothing was ingested yet.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn load(archive: &Archive) -> Result<Option<Self>> {
        let Some(table) = archive.load(TableName::Ledger).await? else {
            return Ok(None);
        };
        let ledger = Ledger::load(archive, &table).await?;
        Ok(Some(Self {
            archive: archive.clone(),
            table,
            ledger,
        }))
    }

    /// When a place was last listed and ingested completely.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn listed_at(&self, source: &str) -> Result<Option<DateTime<Utc>>> {
        listed_at(&self.archive, &self.table, source).await
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// True if an object is in the tables at this version.
    pub fn holds(&self, cluster: Option<&str>, uri: &str, version: &str) -> bool {
        let known = self.ledger.object(cluster, uri);
        known.is_some_and(|k| k.version == version && k.waiting_bytes == 0)
    }
}

async fn listed_at(
    archive: &Archive,
    table: &DeltaTable,
    source: &str,
) -> Result<Option<DateTime<Utc>>> {
    let version = transaction_version(archive, TableName::Ledger, table, &app_id(source)).await?;
    Ok(version.and_then(DateTime::from_timestamp_secs))
}

/// Notes that everything of a listing is in the tables.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn note_complete(run: &Run, listing: &Listing) -> Result<()> {
    let Some(at) = listing.complete_at else {
        return Ok(());
    };
    let table = run.archive.load_or_create(TableName::Ledger).await?;
    let before = listed_at(&run.archive, &table, &listing.source).await?;
    if before.is_some_and(|before| at - before < MARK_EVERY) {
        return Ok(());
    }
    let publication = Publication {
        table: TableName::Ledger,
        mark: TransactionMark {
            app_id: app_id(&listing.source),
            version: at.timestamp(),
        },
        mutexes: Vec::new(),
        files: Vec::new(),
        metadata: Vec::new(),
    };
    // Overtaken by another writer: the next run notes it.
    publish(&run.archive, &table, publication).await?;
    Ok(())
}
