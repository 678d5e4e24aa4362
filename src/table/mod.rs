//! An archive on disk and its Delta tables at one version: the hinge between the writing path
//! (`commit`) and the reading path (`query`).
//!
//! In: the URL of an archive, or an object store and a URL. Out: [`DeltaTable`]s, loaded at their
//! newest version, all on the one store of the archive, so that a test can put a faulty store
//! under everything. A table is created when it is first written to.

pub mod log;
pub mod provider;
pub mod search;
mod wanted;

use std::sync::Arc;

use deltalake_core::{
    DeltaTable, DeltaTableBuilder, DeltaTableError,
    kernel::{StructField, engine::arrow_conversion::TryIntoKernel as _},
    logstore::{LogStoreRef, StorageConfig, logstore_with},
    operations::create::CreateBuilder,
};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, path::Path};
use url::Url;

use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    layout::columns::TableName,
    store::{self, StoreSettings},
};

/// A folder or bucket prefix that holds the tables of an archive.
#[derive(Debug, Clone)]
pub struct Archive {
    url: Url,
    display: String,
    store: Arc<dyn ObjectStore>,
}

impl Archive {
    /// Opens an archive that exists.
    ///
    /// # Errors
    /// `Missing` if there is no archive at the URL, `Usage` for a URL of no known store, and the
    /// errors of the store.
    pub async fn open(url: &Url) -> Result<Self> {
        Self::open_at(url, &StoreSettings::default()).await
    }

    /// As [`Archive::open`], on a store that needs settings.
    ///
    /// # Errors
    /// As [`Archive::open`], and `Usage` for settings that are wrong or not safe for an archive.
    pub async fn open_at(url: &Url, settings: &StoreSettings) -> Result<Self> {
        let archive = Self::at(url, settings)?;
        if archive.exists().await? {
            Ok(archive)
        } else {
            Err(Error::new(
                ErrorKind::Missing,
                format!("no archive at {}", archive.display_url()),
            )
            .hint("name one with --archive or KOLUMN_ARCHIVE, or make one: kolumn ingest SOURCE"))
        }
    }

    /// Opens an archive, or prepares to make one in a folder that does not exist or is empty.
    ///
    /// # Errors
    /// `Usage` if the folder holds other things than an archive, and the errors of the store.
    pub async fn open_or_create(url: &Url) -> Result<Self> {
        Self::open_or_create_at(url, &StoreSettings::default()).await
    }

    /// As [`Archive::open_or_create`], on a store that needs settings.
    ///
    /// # Errors
    /// As [`Archive::open_or_create`], and `Usage` for settings that are wrong or not safe for an
    /// archive.
    pub async fn open_or_create_at(url: &Url, settings: &StoreSettings) -> Result<Self> {
        let archive = Self::at(url, settings)?;
        if archive.exists().await? {
            return Ok(archive);
        }
        let mut entries = archive.store.list(Some(&archive.root()?));
        let stranger = loop {
            match entries.try_next().await {
                // An archive whose first run died before its first commit holds our folders only.
                Ok(Some(entry)) if archive.is_ours(&entry.location) => {}
                Ok(entry) => break entry,
                Err(object_store::Error::NotFound { .. }) => break None,
                Err(e) => {
                    return Err(e).context(format!("cannot list {}", archive.display_url()));
                }
            }
        };
        match stranger {
            None => Ok(archive),
            Some(entry) => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "{} is no archive and is not empty: it holds {}",
                    archive.display_url(),
                    entry.location
                ),
            )
            .hint("name an empty or new folder with --archive")),
        }
    }

    /// An archive on a store that is given, rooted at the URL's scheme and host.
    pub fn with_store(url: &Url, store: Arc<dyn ObjectStore>) -> Self {
        let mut url = url.clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let display = display_url(&url);
        Self {
            url,
            display,
            store,
        }
    }

    /// The URL becomes one whose path is the path in the store; people see what they typed.
    fn at(url: &Url, settings: &StoreSettings) -> Result<Self> {
        let (store, table_url) = store::open_archive(url, settings)?;
        let mut archive = Self::with_store(&table_url, store);
        archive.display = display_url(url);
        Ok(archive)
    }

    /// The URL, with a slash at its end.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL as people write it: a path for a local folder.
    pub fn display_url(&self) -> String {
        self.display.clone()
    }

    /// The store, rooted at the URL's scheme and host.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The archive's path in [`Archive::store`].
    ///
    /// # Errors
    /// `Usage` if the URL's path is not one the store can hold.
    pub fn root(&self) -> Result<Path> {
        Path::from_url_path(self.url.path()).map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                format!("cannot use {} as a path", self.url),
            )
            .because(e)
        })
    }

    /// Loads a table at its newest version; `None` if nothing was written to it yet.
    ///
    /// # Errors
    /// `Corrupt` if its log cannot be read, and the errors of the store.
    pub async fn load(&self, name: TableName) -> Result<Option<DeltaTable>> {
        let log_store = self.log_store(name)?;
        let is_table = log_store
            .is_delta_table_location()
            .await
            .map_err(|e| self.error(name, e))?;
        if !is_table {
            return Ok(None);
        }
        let table = DeltaTableBuilder::from_url(self.table_url(name)?)
            .map_err(|e| self.error(name, e))?
            .with_storage_backend(self.store(), self.table_url(name)?)
            .load()
            .await
            .map_err(|e| self.error(name, e))?;
        Ok(Some(table))
    }

    /// Loads a table, making it first if it does not exist. Two makers at once are no error.
    ///
    /// # Errors
    /// As [`Archive::load`].
    pub async fn load_or_create(&self, name: TableName) -> Result<DeltaTable> {
        if let Some(table) = self.load(name).await? {
            return Ok(table);
        }
        let columns = name
            .schema()
            .fields()
            .iter()
            .map(|f| f.as_ref().try_into_kernel())
            .collect::<std::result::Result<Vec<StructField>, _>>()
            .context(format!(
                "cannot express the columns of {} in Delta",
                name.as_str()
            ))?;
        let created = CreateBuilder::new()
            .with_log_store(self.log_store(name)?)
            .with_table_name(name.as_str())
            .with_comment(name.title())
            .with_columns(columns)
            .with_partition_columns(name.partition_columns().iter().copied())
            .with_configuration([(
                "delta.dataSkippingStatsColumns",
                Some(name.bounded_columns().join(",")),
            )])
            .await;
        match created {
            Ok(table) => Ok(table),
            // Somebody else may have made it at the same moment, or the answer was lost.
            Err(e) => match self.load(name).await? {
                Some(table) => Ok(table),
                None => Err(self.error(name, e)),
            },
        }
    }

    /// The object store of one table, rooted at the table.
    ///
    /// # Errors
    /// `Usage` for a URL of no known store.
    pub fn log_store(&self, name: TableName) -> Result<LogStoreRef> {
        logstore_with(
            self.store(),
            &self.table_url(name)?,
            StorageConfig::default(),
        )
        .map_err(|e| self.error(name, e))
    }

    /// The URL of one table.
    ///
    /// # Errors
    /// None for a URL that an archive was opened with.
    pub fn table_url(&self, name: TableName) -> Result<Url> {
        self.url.join(&format!("{}/", name.as_str())).map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                format!("cannot use {} as a folder", self.url),
            )
            .because(e)
        })
    }

    async fn exists(&self) -> Result<bool> {
        for name in [TableName::Ledger, TableName::Audit] {
            let is_table = self
                .log_store(name)?
                .is_delta_table_location()
                .await
                .map_err(|e| self.error(name, e))?;
            if is_table {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_ours(&self, location: &Path) -> bool {
        let Some(rest) = self.root().ok().and_then(|root| {
            location
                .prefix_match(&root)
                .map(|mut parts| parts.next().map(|p| p.as_ref().to_owned()))
        }) else {
            return false;
        };
        rest.is_some_and(|first| TableName::ALL.iter().any(|t| t.as_str() == first))
    }

    /// Names the table and says who must act on an error of the table log.
    pub fn error(&self, name: TableName, e: DeltaTableError) -> Error {
        let act = format!(
            "cannot use table {} of {}",
            name.as_str(),
            self.display_url()
        );
        match e {
            DeltaTableError::ObjectStore { source } => {
                let failed: std::result::Result<(), _> = Err(source);
                match failed.context(act) {
                    Err(e) => e,
                    Ok(()) => Error::new(ErrorKind::Bug, "an error became none"),
                }
            }
            // Other layers wrap the error of the store, which says who must act.
            other => match store_error_kind(&other) {
                Some(kind) => Error::new(kind, act).because(other),
                None => Error::new(ErrorKind::Corrupt, act).because(other),
            },
        }
    }
}

/// The URL as people write it: a path for a local folder.
pub fn display_url(url: &Url) -> String {
    match url.to_file_path() {
        Ok(path) if url.scheme() == "file" => path.display().to_string(),
        // A shared access signature is nobody's business.
        _ => match store::address::Address::parse(url.as_str()) {
            Ok(Some(address)) => address.to_string(),
            _ => url.to_string(),
        },
    }
}

/// Who must act on the error of a store that lies below another error.
fn store_error_kind(e: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut cause = Some(e);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<object_store::Error>() {
            return match found {
                // A file of the log that is gone is damage, not a wrong name.
                object_store::Error::NotFound { .. } => None,
                found => Some(
                    store::failure::told(found)
                        .map_or_else(|| crate::error::store_kind(found), |(kind, _)| kind),
                ),
            };
        }
        cause = error.source();
    }
    None
}
