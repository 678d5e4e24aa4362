//! Puts an encoded file where its table keeps its files. A staged file is visible to nobody until
//! it is published.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use deltalake_core::{DeltaTable, kernel::Add};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, path::Path};

use crate::{
    encode::write::EncodedFile,
    error::{Context as _, Error, ErrorKind, Result},
    layout::{columns::TableName, sort::SORT_TAG},
};

/// A file in its place, not yet in the log.
#[derive(Debug, Clone)]
pub struct StagedFile {
    /// The action that will publish it.
    pub add: Add,
    /// Number of rows.
    pub rows: usize,
}

/// Where a file goes and how the log describes it.
#[derive(Debug)]
pub struct Placement {
    /// The table.
    pub table: TableName,
    /// Folder below the table: `cluster=c/date=d`.
    pub folder: String,
    /// Partition values.
    pub values: HashMap<String, Option<String>>,
    /// Statistics, Delta's JSON.
    pub statistics: String,
    /// When the batch was planned: the same in every redo, so that the log entry is too.
    pub planned_at: DateTime<Utc>,
    /// Tags beside the sort order.
    pub tags: Vec<(&'static str, String)>,
}

/// Uploads a file.
///
/// # Errors
/// Errors of the store; the batch can be done again.
pub async fn stage(table: &DeltaTable, file: EncodedFile, at: Placement) -> Result<StagedFile> {
    stage_in(&table.log_store().object_store(None), file, at).await
}

/// Uploads a file into the store of a table, rooted at the table.
///
/// # Errors
/// As [`stage`].
pub async fn stage_in(
    store: &Arc<dyn ObjectStore>,
    file: EncodedFile,
    at: Placement,
) -> Result<StagedFile> {
    let path = format!("{}/{}", at.folder, file.name());
    let place = Path::parse(&path).map_err(|e| {
        Error::new(ErrorKind::Bug, format!("cannot use {path} as a path")).because(e)
    })?;
    let size = i64::try_from(file.bytes.len()).unwrap_or(i64::MAX);
    store
        .put(&place, PutPayload::from(file.bytes))
        .await
        .context(format!(
            "cannot write {path} of table {}",
            at.table.as_str()
        ))?;
    let sort = at.table.sort_columns().join(",");
    let sort = (!sort.is_empty()).then_some((SORT_TAG, sort));
    let tags: HashMap<String, Option<String>> = at
        .tags
        .into_iter()
        .chain(sort)
        .map(|(name, value)| (name.to_owned(), Some(value)))
        .collect();
    let add = Add {
        path,
        partition_values: at.values,
        size,
        modification_time: at.planned_at.timestamp_millis(),
        data_change: true,
        stats: Some(at.statistics),
        tags: (!tags.is_empty()).then_some(tags),
        ..Add::default()
    };
    Ok(StagedFile {
        add,
        rows: file.rows,
    })
}
