//! One Delta commit: staged files and the transactions that mark them, in one table version; or files
//! that take the place of others.
//!
//! A caller that loses the answer may call again: the transaction makes the second call a no-op.
//! Does not delete files and does not decide what is in them.

use std::collections::HashMap;

use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{
        Action, LogicalFileView, Transaction,
        transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError},
    },
    protocol::{DeltaOperation, SaveMode},
};
use object_store::path::Path;
use serde_json::Value;

use crate::{
    commit::{checkpoint::checkpoint_if_due, stage::StagedFile},
    error::{Error, ErrorKind, Result},
    layout::columns::TableName,
    table::Archive,
};

/// Other writers may win the race for a table version this often before the run gives up.
const COMMIT_RETRIES_MAX: usize = 200;

/// A name and a number under which a commit counts once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionMark {
    /// Application id.
    pub app_id: String,
    /// Version; rises within one application id.
    pub version: i64,
}

/// What is to be made visible together.
#[derive(Debug)]
pub struct Publication {
    /// The table.
    pub table: TableName,
    /// The transaction that says that this batch is in.
    pub mark: TransactionMark,
    /// Transactions that make writers of the same partition conflict.
    pub mutexes: Vec<TransactionMark>,
    /// The files.
    pub files: Vec<StagedFile>,
    /// What a redo needs to know, kept in the commit.
    pub metadata: Vec<(String, Value)>,
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is in, by this call.
    Committed,
    /// It was in already.
    Already,
    /// Another writer touched the same partition; look again at what has landed.
    Overtaken,
}

/// The version of an application's last transaction on a table's snapshot.
///
/// # Errors
/// Errors of the store.
pub async fn transaction_version(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
    app_id: &str,
) -> Result<Option<i64>> {
    let snapshot = table
        .snapshot()
        .map_err(|e| archive.error(name, e))?
        .snapshot();
    let log_store = table.log_store();
    snapshot
        .transaction_version(log_store.as_ref(), app_id)
        .await
        .map_err(|e| archive.error(name, e))
}

/// Commits on the snapshot that `table` holds.
///
/// # Errors
/// `Unavailable` if the store gives no clear answer; then nothing is known to be lost, and the next
/// run finds out what happened.
pub async fn publish(
    archive: &Archive,
    table: &DeltaTable,
    publication: Publication,
) -> Result<Published> {
    let name = publication.table;
    let Publication {
        mark,
        mutexes,
        files,
        metadata,
        ..
    } = publication;
    if is_in(archive, name, table, &mark).await? {
        return Ok(Published::Already);
    }
    let marks: Vec<_> = std::iter::once(&mark).chain(&mutexes).cloned().collect();
    let actions = files.into_iter().map(|f| Action::Add(f.add)).collect();
    let metadata = metadata
        .into_iter()
        .chain([("isBlindAppend".to_owned(), Value::Bool(true))]);
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: Some(
            name.partition_columns()
                .iter()
                .map(|c| (*c).to_owned())
                .collect(),
        ),
        predicate: None,
    };
    match commit(
        archive,
        table,
        name,
        (marks, metadata.collect()),
        actions,
        operation,
    )
    .await
    {
        Ok(()) => Ok(Published::Committed),
        Err(e) => resolve(archive, name, &mark, e).await,
    }
}

/// Commits on the snapshot that `table` holds, and makes the checkpoint that may be due then.
async fn commit(
    archive: &Archive,
    table: &DeltaTable,
    name: TableName,
    (marks, metadata): (Vec<TransactionMark>, Vec<(String, Value)>),
    actions: Vec<Action>,
    operation: DeltaOperation,
) -> Result<(), DeltaTableError> {
    let snapshot = table.snapshot()?.snapshot();
    let properties = CommitProperties::default()
        .with_application_transactions(
            marks
                .iter()
                .map(|m| Transaction::new(&m.app_id, m.version))
                .collect(),
        )
        .with_metadata(metadata)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false))
        .with_max_retries(COMMIT_RETRIES_MAX);
    let committed = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(
            Some(snapshot as &dyn TableReference),
            table.log_store(),
            operation,
        )
        .await?;
    checkpoint_if_due(archive, name, committed.version).await;
    Ok(())
}

/// Files that go, and those that hold their rows from now on.
#[derive(Debug)]
pub struct Replacement {
    /// The table.
    pub table: TableName,
    /// Transactions that make whoever takes the same files away conflict.
    pub mutexes: Vec<TransactionMark>,
    /// Paths of files that go, as [`crate::table::log::FileList::path`] gives them.
    pub removed: Vec<Path>,
    /// Files that come.
    pub added: Vec<StagedFile>,
    /// False: the rows are the same as before, in other files.
    pub changes_rows: bool,
    /// What is told of it in the commit.
    pub metadata: Vec<(String, Value)>,
}

/// Takes files away, and puts others in their place, on the snapshot that `table` holds. Nothing is
/// done if one of the files is not active there, or is taken away by another at the same time.
///
/// # Errors
/// As [`publish`].
pub async fn replace(
    archive: &Archive,
    table: &DeltaTable,
    replacement: Replacement,
) -> Result<Published> {
    let name = replacement.table;
    let active = active_files(archive, name, table)?;
    let mut actions = Vec::new();
    for path in &replacement.removed {
        let Some(file) = active.get(path) else {
            return Ok(Published::Overtaken);
        };
        actions.push(Action::Remove(file.remove_action(replacement.changes_rows)));
    }
    for file in &replacement.added {
        let mut add = file.add.clone();
        add.data_change = replacement.changes_rows;
        actions.push(Action::Add(add));
    }
    let operation = if replacement.changes_rows {
        DeltaOperation::Delete { predicate: None }
    } else {
        DeltaOperation::Optimize {
            predicate: None,
            target_size: 0,
        }
    };
    let marks = replacement.mutexes.clone();
    let told = (marks, replacement.metadata.clone());
    let error = match commit(archive, table, name, told, actions, operation).await {
        Ok(()) => return Ok(Published::Committed),
        Err(e) => e,
    };
    let fresh = reload(archive, name).await?;
    let now = active_files(archive, name, &fresh)?;
    let came = |f: &StagedFile| {
        let path = Path::parse(&f.add.path);
        path.is_ok_and(|path| now.contains_key(&path))
    };
    let went = |path: &Path| !now.contains_key(path);
    if replacement.added.iter().all(came) && replacement.removed.iter().all(went) {
        return Ok(Published::Committed);
    }
    unresolved(archive, name, error)
}

fn active_files(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
) -> Result<HashMap<Path, LogicalFileView>> {
    let state = table.snapshot().map_err(|e| archive.error(name, e))?;
    let files = state.snapshot().log_data();
    Ok(files.iter().map(|f| (f.object_store_path(), f)).collect())
}

async fn reload(archive: &Archive, name: TableName) -> Result<DeltaTable> {
    archive.load(name).await?.ok_or_else(|| {
        Error::new(
            ErrorKind::Corrupt,
            format!("table {} is gone", name.as_str()),
        )
    })
}

/// Finds out whether a commit that reported an error is in after all.
async fn resolve(
    archive: &Archive,
    name: TableName,
    mark: &TransactionMark,
    error: DeltaTableError,
) -> Result<Published> {
    let fresh = reload(archive, name).await?;
    if is_in(archive, name, &fresh, mark).await? {
        return Ok(Published::Committed);
    }
    unresolved(archive, name, error)
}

/// A commit that is not in: another writer was faster, or the store failed.
fn unresolved(archive: &Archive, name: TableName, error: DeltaTableError) -> Result<Published> {
    if is_overtaken(&error) {
        return Ok(Published::Overtaken);
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!(
            "cannot commit to table {} of {}",
            name.as_str(),
            archive.display_url()
        ),
    )
    .because(error)
    .hint("nothing is lost and nothing is half done: run the same command again"))
}

async fn is_in(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
    mark: &TransactionMark,
) -> Result<bool> {
    let version = transaction_version(archive, name, table, &mark.app_id).await?;
    Ok(version.is_some_and(|v| v >= mark.version))
}

/// Any conflict is with a commit that landed since the snapshot was read: a batch of the same
/// partition, or the table being made by two first runs at once. On a fresh snapshot it is gone.
fn is_overtaken(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_)
        }
    )
}

/// The metadata of the newest commits, newest first, that carry a key.
///
/// # Errors
/// Errors of the store.
pub async fn commit_metadata(
    archive: &Archive,
    name: TableName,
    table: &DeltaTable,
    key: &str,
) -> Result<Vec<Value>> {
    use futures::TryStreamExt as _;
    let commits: Vec<_> = table
        .history(None)
        .try_collect()
        .await
        .map_err(|e| archive.error(name, e))?;
    let pick = |info: HashMap<String, Value>| info.get(key).cloned();
    Ok(commits.into_iter().filter_map(|c| pick(c.info)).collect())
}
