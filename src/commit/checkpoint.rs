//! Checkpoints of a table's log, so that opening it reads one file and few commits however many
//! there were. A checkpoint holds what the log says and nothing else: without one, everything works
//! and takes longer, so that an error in making one is nobody's.

use crate::{layout::columns::TableName, table::Archive};

/// Commits between two checkpoints: each is a small file that opening the table reads.
pub const CHECKPOINT_EVERY: u64 = 20;

/// Makes a checkpoint if `version`, which was just committed, is due for one.
pub async fn checkpoint_if_due(archive: &Archive, name: TableName, version: u64) {
    if version == 0 || !version.is_multiple_of(CHECKPOINT_EVERY) {
        return;
    }
    if let Ok(Some(table)) = archive.load(name).await {
        // The next one that is due takes its place.
        let _ = deltalake_core::checkpoints::create_checkpoint(&table, None).await;
    }
}
