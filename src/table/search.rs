//! The search indexes of data files, asked before a scan: which files, row groups and rows may hold
//! what the filters want. Nothing here decides what an answer is: rows that are left are checked
//! again, and of a file whose index is missing, damaged or does not fit every row is left.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use crate::encode::search_index::{Directory, KEY, Place, Wanted};

/// Files whose indexes are asked side by side.
const FILES_AT_ONCE: usize = 16;

/// Directories that are remembered, of a few KiB each.
const DIRECTORIES_MAX: usize = 2048;

/// Directories that were read. Data files never change.
#[derive(Debug, Default)]
pub(super) struct Directories(Mutex<HashMap<Path, Arc<Directory>>>);

impl Directories {
    fn get(&self, file: &Path) -> Option<Arc<Directory>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(file).cloned()
    }

    fn put(&self, file: &Path, directory: &Arc<Directory>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DIRECTORIES_MAX {
            known.clear();
        }
        known.insert(file.clone(), Arc::clone(directory));
    }
}

/// What is needed to ask an index.
#[derive(Debug, Clone)]
pub(super) struct Searcher {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) footers: Arc<FileMetadataCache>,
    pub(super) directories: Arc<Directories>,
    /// Columns that no file holds although they have values.
    pub(super) partition_columns: &'static [&'static str],
    pub(super) wanted: Arc<Wanted>,
}

/// What an index says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    /// `None`: no row is left.
    pub(super) plan: Option<ParquetAccessPlan>,
    pub(super) rows: u64,
    pub(super) rows_left: u64,
    pub(super) bytes_read: u64,
}

impl Searcher {
    /// Asks the indexes of some files; `None`: nothing is known.
    pub(super) async fn ask(&self, files: Vec<ObjectMeta>) -> Vec<Option<Said>> {
        let asked = files.into_iter().map(|file| {
            let searcher = self.clone();
            SpawnedTask::spawn(async move { searcher.ask_one(&file).await })
        });
        let said = futures::stream::iter(asked).buffered(FILES_AT_ONCE);
        said.map(|said| said.ok().flatten()).collect().await
    }

    async fn ask_one(&self, file: &ObjectMeta) -> Option<Said> {
        let footer = self.footer(file, PageIndexPolicy::Skip).await?;
        let keys = footer.file_metadata().key_value_metadata()?;
        let value = keys.iter().find(|k| k.key == KEY)?.value.as_deref()?;
        let place = Place::parse(value, file.size)?;
        let mut bytes_read = 0;
        let directory = match self.directories.get(&file.location) {
            Some(known) => known,
            None => {
                let range = place.offset..place.offset + place.directory;
                let bytes = self.store.get_range(&file.location, range).await.ok()?;
                bytes_read += place.directory;
                let directory = Arc::new(Directory::read(&bytes)?);
                self.directories.put(&file.location, &directory);
                directory
            }
        };
        if !fits(&directory, &footer) {
            return None;
        }
        let columns = footer.file_metadata().schema_descr().root_schema();
        let in_file = |column: &str| columns.get_fields().iter().any(|f| f.name() == column);
        let exists = |column: &str| in_file(column) || self.partition_columns.contains(&column);
        let wanted = self
            .wanted
            .for_file(&exists, &|column| directory.covers(column));
        if wanted.is_vague() {
            return None;
        }
        let (numbers, ranges): (Vec<_>, Vec<Range<u64>>) =
            directory.pages(&wanted).into_iter().unzip();
        if ranges.iter().any(|range| range.end > place.length) {
            return None;
        }
        bytes_read += ranges.iter().map(|r| r.end - r.start).sum::<u64>();
        let places: Vec<Range<u64>> = ranges
            .iter()
            .map(|r| place.offset + r.start..place.offset + r.end)
            .collect();
        let pages = self.store.get_ranges(&file.location, &places).await.ok()?;
        let pages: Vec<(_, Bytes)> = numbers.into_iter().zip(pages).collect();
        let candidates = directory.candidates(&wanted, &pages)?;
        let said = said(&directory, &candidates, bytes_read);
        if said.rows_left > 0 && said.rows_left < said.rows {
            // Left in the cache: the scan skips pages of chunks by it.
            self.footer(file, PageIndexPolicy::Optional).await;
        }
        Some(said)
    }

    async fn footer(
        &self,
        file: &ObjectMeta,
        pages: PageIndexPolicy,
    ) -> Option<Arc<ParquetMetaData>> {
        DFParquetMetadata::new(&self.store, file)
            .with_file_metadata_cache(Some(Arc::clone(&self.footers)))
            .with_page_index_policy(Some(pages))
            .fetch_metadata()
            .await
            .ok()
    }
}

/// Whether an index was built of the rows of its file.
fn fits(directory: &Directory, footer: &ParquetMetaData) -> bool {
    let rows = footer.row_groups().iter().map(|g| g.num_rows());
    let indexed = directory.group_rows().iter();
    rows.eq(indexed.map(|rows| i64::try_from(*rows).unwrap_or(-1)))
}

fn said(directory: &Directory, candidates: &[bool], bytes_read: u64) -> Said {
    let mut rest = candidates;
    let mut rows_left = 0;
    let groups = directory.group_rows().iter().map(|rows| {
        let blocks = rows.div_ceil(directory.block_rows());
        let (here, after) = rest.split_at(blocks);
        rest = after;
        let access = access(here, *rows, directory.block_rows());
        rows_left += match &access {
            RowGroupAccess::Skip => 0,
            RowGroupAccess::Scan => *rows,
            RowGroupAccess::Selection(selection) => selection.row_count(),
        };
        access
    });
    let groups: Vec<RowGroupAccess> = groups.collect();
    Said {
        plan: (rows_left > 0).then(|| ParquetAccessPlan::new(groups)),
        rows: directory.group_rows().iter().map(|r| *r as u64).sum(),
        rows_left: rows_left as u64,
        bytes_read,
    }
}

/// The rows of a row group that are left.
fn access(blocks: &[bool], rows: usize, block_rows: usize) -> RowGroupAccess {
    if blocks.iter().all(|left| !left) {
        return RowGroupAccess::Skip;
    }
    if blocks.iter().all(|left| *left) {
        return RowGroupAccess::Scan;
    }
    let selectors = blocks.chunk_by(|a, b| a == b).scan(0, |from, alike| {
        let to = rows.min(*from + alike.len() * block_rows);
        let selector = match alike[0] {
            true => RowSelector::select(to - *from),
            false => RowSelector::skip(to - *from),
        };
        *from = to;
        Some(selector)
    });
    RowGroupAccess::Selection(RowSelection::from(selectors.collect::<Vec<_>>()))
}

/// What one scan of a table read, before its rows were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Name of the table.
    pub table: &'static str,
    /// Files of the table that are seen, and their bytes.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files that the scan opens.
    pub opened: usize,
    /// Files whose search index was used, and how many of them it left out.
    pub searched: usize,
    /// Files that a search index left out.
    pub left_out: usize,
    /// Rows of the files whose index was used.
    pub rows: u64,
    /// Rows of them that are left to be read.
    pub rows_left: u64,
    /// Bytes of indexes that were read.
    pub index_bytes: u64,
}

/// What the scans of a session read, for whoever wants to tell: an extension of its configuration.
#[derive(Debug, Default)]
pub struct ScanLog(Mutex<Vec<Scanned>>);

impl ScanLog {
    pub(super) fn add(&self, scanned: Scanned) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(scanned);
    }

    /// What was added, in the order in which the scans were planned.
    pub fn scans(&self) -> Vec<Scanned> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}
