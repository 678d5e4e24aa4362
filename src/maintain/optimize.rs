//! Merges the files of each partition into few that are sorted by the table's order, bounded by size
//! and written for rest.
//!
//! Each partition is one rewrite, so that a run that is stopped goes on where it was. Before it is
//! committed, the rows of the new files are read again and compared with those of the old ones:
//! their number, and a digest that does not depend on their order. What differs are copies of events
//! of which a fuller one is marked: those are dropped, and the fuller ones lose their mark, which
//! leaves the view `events` as it was.
//!
//! More runs than fit into memory are merged in several passes, smallest first. The files of a pass
//! are tagged as one run, and read one after the other by the next pass.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::ObjectStore;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::{
    Place, Rewrite, Scope, commit,
    merge::{self, Input, InputRun},
    places,
    removed::{self, Removed},
    survey::{Content, Fuller, SUPERSEDING, count_origins, told_columns},
};
use crate::{
    clock,
    commit::stage::{Placement, StagedFile, stage_in},
    encode::{
        properties::{
            INGEST_ZSTD_LEVEL, REST_LAYOUT, REST_TAG, REST_ZSTD_LEVEL, writer_properties,
        },
        stream::FileWriter,
        write::EncodedFile,
    },
    error::{Context as _, Error, ErrorKind, Result},
    layout::columns::TableName,
    table::{Archive, log::FileList},
};

/// Tag of an `add` action: the run that a file is part of, and its place there: `<id>/<n>`.
const RUN_TAG: &str = "run";

/// Memory for what is held beside runs and the file under construction.
const BASE_BYTES: usize = 96 << 20;

/// Files at rest are not written again for less than this part of their bytes …
const TAIL_PART: u64 = 20;
/// … if they are larger than this, …
const TAIL_OF_BYTES: u64 = 64 << 20;
/// … and the new files are fewer than this.
const TAIL_FILES: usize = 8;

/// Files of the ledger are small and many are made each night: so few are left as they are.
const LEDGER_FILES: usize = 8;

/// Rewrites of the same partition may overtake one this often.
const OVERTAKEN_MAX: usize = 5;

/// How a run behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which partitions.
    pub scope: Scope,
    /// Also partitions of today, to which rows are still added, and those to which little was added.
    pub all: bool,
    /// Tell what would be done; change nothing.
    pub dry_run: bool,
    /// Bytes of memory.
    pub memory_bytes: usize,
    /// Bytes of a data file, about.
    pub file_bytes: usize,
    /// Threads for encoding.
    pub threads: usize,
    /// Today, in days since 1970-01-01.
    pub today: i32,
}

impl Options {
    /// Options of a run of this day.
    pub fn new(today: i32) -> Self {
        Self {
            scope: Scope::default(),
            all: false,
            dry_run: false,
            memory_bytes: 1 << 30,
            file_bytes: 256 << 20,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            today,
        }
    }
}

/// Receives what happens while it happens.
pub trait Observer: Send + Sync {
    /// So many partitions with so many bytes are to be done.
    fn planned(&self, _partitions: usize, _bytes: u64) {}
    /// A partition begins.
    fn began(&self, _partition: &str, _files: usize, _bytes: u64) {}
    /// So many more rows were written.
    fn wrote(&self, _rows: usize) {}
    /// A partition is done: so many bytes of it are not to be done any more.
    fn ended(&self, _bytes: u64) {}
}

/// Nobody looks.
#[derive(Debug)]
pub struct Unobserved;
impl Observer for Unobserved {}

/// What became of one partition.
#[derive(Debug, Clone, Default)]
pub struct PartitionReport {
    /// Table and folder.
    pub partition: String,
    /// Files before.
    pub files_before: usize,
    /// Files after; as before if nothing was changed.
    pub files_after: usize,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// Rows written.
    pub rows: u64,
    /// Rows dropped, because a fuller copy of the same event is kept.
    pub superseded: u64,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// Partitions that were rewritten, or would be.
    pub partitions: Vec<PartitionReport>,
    /// Partitions that are as they should be.
    pub at_rest: u64,
    /// Partitions of today, left alone.
    pub growing: u64,
    /// Partitions to which too little was added since.
    pub little_new: u64,
    /// Partitions that could not be rewritten.
    pub failures: Vec<(String, Error)>,
}

/// What is to be done with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    AtRest,
    Growing,
    LittleNew,
    Merge,
}

/// Rewrites the partitions that need it, oldest first.
///
/// # Errors
/// Errors of the store, which stop the run. A partition that is damaged is reported, and the run goes
/// on.
pub async fn optimize(
    archive: &Archive,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Report> {
    let mut report = Report::default();
    let mut todo = Vec::new();
    for table in TableName::ALL {
        if !options.scope.holds_table(table) {
            continue;
        }
        if !options.dry_run {
            removed::note(archive, table).await?;
        }
        let Some(list) = archive.files(table).await? else {
            continue;
        };
        for (place, files) in places(&list) {
            if !options.scope.holds(&place) {
                continue;
            }
            let bytes: u64 = files.iter().map(|f| list.size(*f)).sum();
            match judge(&list, &place, &files, options) {
                Verdict::AtRest => report.at_rest += 1,
                Verdict::Growing => report.growing += 1,
                Verdict::LittleNew => report.little_new += 1,
                Verdict::Merge => todo.push((place, table, files.len(), bytes)),
            }
        }
    }
    // Day by day over all tables.
    todo.sort();
    observer.planned(todo.len(), todo.iter().map(|t| t.3).sum());
    for (place, table, files, bytes) in todo {
        let partition = format!("{}/{}", table.as_str(), place.path());
        if options.dry_run {
            report.partitions.push(PartitionReport {
                partition,
                files_before: files,
                files_after: files,
                bytes_before: bytes,
                bytes_after: bytes,
                ..PartitionReport::default()
            });
            continue;
        }
        observer.began(&partition, files, bytes);
        let work = Partition {
            archive,
            table,
            place: &place,
            options,
            observer,
        };
        match work.rewrite(&partition).await {
            Ok(Some(done)) => report.partitions.push(done),
            Ok(None) => report.at_rest += 1,
            Err(e) => match e.kind() {
                ErrorKind::Corrupt | ErrorKind::Conflict | ErrorKind::Limit | ErrorKind::Bug => {
                    report.failures.push((partition, e));
                }
                _ => return Err(e.during(format!("cannot optimize {partition}"))),
            },
        }
        observer.ended(bytes);
    }
    Ok(report)
}

fn judge(list: &FileList, place: &Place, files: &[usize], options: &Options) -> Verdict {
    let is_new = |file: &&usize| list.tag(**file, REST_TAG) != Some(REST_LAYOUT);
    let runs: std::collections::HashSet<Option<&str>> = files
        .iter()
        .map(|f| {
            list.tag(*f, RUN_TAG)
                .and_then(|tag| tag.split_once('/'))
                .map(|t| t.0)
        })
        .collect();
    let new = files.iter().filter(is_new).count();
    if new == 0 && runs.len() == 1 {
        return Verdict::AtRest;
    }
    if list.name() == TableName::Ledger {
        return match files.len() {
            n if n < LEDGER_FILES && !options.all => Verdict::LittleNew,
            1 => Verdict::AtRest,
            _ => Verdict::Merge,
        };
    }
    if options.all {
        return Verdict::Merge;
    }
    if place.day.is_some_and(|day| day >= options.today) {
        return Verdict::Growing;
    }
    let size = |file: &usize| list.size(*file);
    let new_bytes: u64 = files.iter().filter(is_new).map(size).sum();
    let old_bytes: u64 = files.iter().map(size).sum::<u64>() - new_bytes;
    let is_tail = new_bytes * TAIL_PART < old_bytes && new < TAIL_FILES;
    if is_tail && old_bytes > TAIL_OF_BYTES && runs.len() <= new + 1 {
        return Verdict::LittleNew;
    }
    Verdict::Merge
}

/// The runs of a partition: files that were written as one run are one, every other file is its own.
fn runs_of(list: &FileList, files: &[usize]) -> Result<Vec<InputRun>> {
    let mut tagged: BTreeMap<&str, Vec<(u64, usize)>> = BTreeMap::new();
    let mut runs = Vec::new();
    let input = |file: usize| {
        Ok::<_, Error>(Input {
            path: list.path(file)?,
            location: list.location(file)?,
            bytes: list.size(file),
        })
    };
    for file in files {
        let tag = list.tag(*file, RUN_TAG).and_then(|tag| {
            let (id, at) = tag.split_once('/')?;
            Some((id, at.parse().ok()?))
        });
        match tag.filter(|_| list.is_sorted(*file)) {
            Some((id, at)) => tagged.entry(id).or_default().push((at, *file)),
            None => runs.push(InputRun {
                files: vec![input(*file)?],
                sorted: list.is_sorted(*file),
            }),
        }
    }
    for mut members in tagged.into_values() {
        members.sort_unstable();
        let files = members.into_iter().map(|(_, file)| input(file));
        runs.push(InputRun {
            files: files.collect::<Result<_>>()?,
            sorted: true,
        });
    }
    let bytes = |run: &InputRun| run.files.iter().map(|f| f.bytes).sum::<u64>();
    runs.sort_by(|a, b| {
        let first = |run: &InputRun| run.files.first().map(|f| f.path.clone());
        (bytes(a), first(a)).cmp(&(bytes(b), first(b)))
    });
    Ok(runs)
}

/// A partition that is rewritten.
struct Partition<'a> {
    archive: &'a Archive,
    table: TableName,
    place: &'a Place,
    options: &'a Options,
    observer: &'a dyn Observer,
}

/// Runs that are merged in one pass.
struct Pass {
    runs: Vec<InputRun>,
    batch_rows: usize,
    /// No runs are left.
    is_last: bool,
}

/// What a pass wrote.
struct Written {
    files: Vec<StagedFile>,
    content: Content,
    dropped: Content,
    counts: Removed,
}

impl Partition<'_> {
    /// Rewrites the partition; `None` if another run did so meanwhile.
    async fn rewrite(&self, name: &str) -> Result<Option<PartitionReport>> {
        let mut report = PartitionReport {
            partition: name.to_owned(),
            ..PartitionReport::default()
        };
        let mut overtaken = 0;
        let mut begun = false;
        while overtaken < OVERTAKEN_MAX {
            let Some(list) = self.archive.files(self.table).await? else {
                return Ok(None);
            };
            let files = places(&list).remove(self.place).unwrap_or_default();
            let bytes: u64 = files.iter().map(|f| list.size(*f)).sum();
            if !begun {
                (report.files_before, report.bytes_before) = (files.len(), bytes);
            }
            (report.files_after, report.bytes_after) = (files.len(), bytes);
            let is_merge = judge(&list, self.place, &files, self.options) == Verdict::Merge;
            if !is_merge || files.is_empty() {
                return Ok(begun.then_some(report));
            }
            let pass = self.plan(runs_of(&list, &files)?).await?;
            let before: usize = pass.runs.iter().map(|r| r.files.len()).sum();
            let written = self.write(&pass).await?;
            let rewrite = Rewrite {
                table: self.table,
                removed: pass
                    .runs
                    .iter()
                    .flat_map(|r| r.files.iter().map(|f| f.path.clone()))
                    .collect(),
                added: written.files,
                counts: written.counts,
                changes_rows: false,
            };
            if !commit(self.archive, &rewrite).await? {
                overtaken += 1;
                continue;
            }
            begun = true;
            report.rows = written.content.rows;
            report.superseded += written.dropped.rows;
            if pass.is_last {
                let sizes = rewrite.added.iter().map(|f| f.add.size);
                report.bytes_after = sizes.map(|s| u64::try_from(s).unwrap_or(0)).sum();
                report.files_after = files.len() - before + rewrite.added.len();
                return Ok(Some(report));
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("other runs rewrote {name} {OVERTAKEN_MAX} times meanwhile"),
        )
        .hint("let one run at a time optimize an archive"))
    }

    /// As many runs as memory allows, smallest first.
    async fn plan(&self, mut runs: Vec<InputRun>) -> Result<Pass> {
        let memory = self.options.memory_bytes;
        let budget = memory.saturating_sub(self.held_bytes() + BASE_BYTES);
        let (mut bytes, mut rows, mut fits) = (0, usize::MAX, 0);
        for run in &runs {
            let needs = merge::needs(self.archive, run).await?;
            bytes += needs.bytes;
            if fits >= 2 && bytes > budget {
                break;
            }
            rows = rows.min(needs.rows);
            fits += 1;
        }
        let is_last = fits == runs.len();
        runs.truncate(fits);
        Ok(Pass {
            runs,
            batch_rows: rows,
            is_last,
        })
    }

    fn file_bytes(&self) -> usize {
        self.options.file_bytes.min(self.options.memory_bytes / 4)
    }

    /// A file is held in memory until it is complete. What its index is built from takes about 40 bytes
    /// a row, no more than the row takes in the file.
    fn held_bytes(&self) -> usize {
        match self.table.searched_columns() {
            [] => self.file_bytes(),
            _ => 2 * self.file_bytes(),
        }
    }

    /// Reads what the runs hold beside bodies: their rows, and the fuller copies of events.
    async fn survey(&self, pass: &Pass) -> Result<(Content, Fuller)> {
        let mut content = Content::new(self.table);
        let mut fuller = Fuller::default();
        let drops = self.table == TableName::Audit && pass.is_last;
        let mut columns = told_columns(self.table).to_vec();
        if drops {
            columns.push(SUPERSEDING[0]);
        }
        for file in pass.runs.iter().flat_map(|run| &run.files) {
            merge::read_columns(self.archive, file, &columns, &mut |batch| {
                if drops {
                    fuller.add(batch);
                }
                content.add(batch)
            })
            .await?;
        }
        Ok((content, fuller))
    }

    /// Merges the runs of a pass into new files, and checks that these hold the same rows.
    async fn write(&self, pass: &Pass) -> Result<Written> {
        let (before, fuller) = self.survey(pass).await?;
        let level = if pass.is_last {
            REST_ZSTD_LEVEL
        } else {
            INGEST_ZSTD_LEVEL
        };
        let log_store = self.archive.log_store(self.table)?;
        let mut sink = Sink {
            partition: self,
            store: log_store.object_store(None),
            properties: Arc::new(writer_properties(self.table, level)?),
            // No other run makes files of the same names, so that a vacuum may delete those that a dead
            // run left behind while another one does its work again.
            run_id: uuid::Uuid::new_v4().simple().to_string(),
            is_last: pass.is_last,
            writer: None,
            written: Written {
                files: Vec::new(),
                content: Content::new(self.table),
                dropped: Content::new(self.table),
                counts: Removed::default(),
            },
        };
        let memory = self.options.memory_bytes;
        let mut rows = merge::merge(
            self.archive,
            self.table,
            &pass.runs,
            pass.batch_rows,
            memory.saturating_sub(self.held_bytes() + BASE_BYTES),
        )?;
        while let Some(batch) = rows
            .try_next()
            .await
            .map_err(|e| merge::failed(self.table, e))?
        {
            let (kept, dropped) = fuller.split(batch)?;
            if let Some(dropped) = dropped {
                sink.written.dropped.add(&dropped)?;
                count_origins(&dropped, &mut sink.written.counts.0);
            }
            sink.write(kept).await?;
        }
        sink.end_file().await?;
        let written = sink.written;
        if !before.is_sum_of(&written.content, &written.dropped) {
            return Err(Error::new(
                ErrorKind::Bug,
                format!(
                    "{} rows of {} became {} and {} dropped, or others",
                    before.rows,
                    self.place.path(),
                    written.content.rows,
                    written.dropped.rows
                ),
            )
            .hint("nothing was changed"));
        }
        Ok(written)
    }
}

/// Takes merged rows and puts files of them into the table's folder.
struct Sink<'s> {
    partition: &'s Partition<'s>,
    store: Arc<dyn ObjectStore>,
    properties: Arc<parquet::file::properties::WriterProperties>,
    run_id: String,
    is_last: bool,
    writer: Option<FileWriter>,
    written: Written,
}

impl Sink<'_> {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let limit = self.partition.file_bytes();
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin_file(limit)?,
        };
        let rows = batch.num_rows();
        let encoded = tokio::task::spawn_blocking(move || {
            writer.write(&batch)?;
            Ok::<_, Error>(writer)
        });
        let writer = encoded
            .await
            .map_err(|e| Error::new(ErrorKind::Bug, "encoding failed").because(e))??;
        let is_full = writer.bytes() >= limit && writer.is_between_groups();
        self.writer = Some(writer);
        self.partition.observer.wrote(rows);
        if is_full {
            self.end_file().await?;
        }
        Ok(())
    }

    fn begin_file(&self, limit: usize) -> Result<FileWriter> {
        let table = self.partition.table;
        // The last row group may go beyond the limit.
        let room = limit + limit / 4;
        let threads = self.partition.options.threads;
        let writer = FileWriter::new(table, &self.properties, room, threads)?;
        // A run that is merged again needs none.
        Ok(match self.is_last && !table.searched_columns().is_empty() {
            true => writer.with_search_index(),
            false => writer,
        })
    }

    async fn end_file(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let table = self.partition.table;
        let act = |e| Error::new(ErrorKind::Bug, "reading a file again failed").because(e);
        let content = std::mem::replace(&mut self.written.content, Content::new(table));
        let id = self.run_id.clone();
        let checked = tokio::task::spawn_blocking(move || check(writer, &id, table, content));
        let (file, statistics, content) = checked.await.map_err(act)??;
        self.written.content = content;
        let place = self.partition.place;
        let mut tags = vec![(
            RUN_TAG,
            format!("{}/{}", self.run_id, self.written.files.len()),
        )];
        if self.is_last {
            tags.push((REST_TAG, REST_LAYOUT.to_owned()));
        }
        let at = Placement {
            table,
            folder: place.path(),
            values: place
                .values()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Some(value)))
                .collect(),
            statistics,
            planned_at: clock::now(),
            tags,
        };
        let staged = stage_in(&self.store, file, at).await?;
        self.written.files.push(staged);
        Ok(())
    }
}

/// Ends a file and reads the rows that it holds.
fn check(
    writer: FileWriter,
    id: &str,
    table: TableName,
    mut content: Content,
) -> Result<(EncodedFile, String, Content)> {
    let act = "cannot read a file that was just written";
    let (file, statistics) = writer.finish(id)?;
    let bytes = Bytes::from(file.bytes);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).context(act)?;
    let columns = told_columns(table).iter().copied();
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
    for batch in builder.with_projection(mask).build().context(act)? {
        content.add(&batch.context(act)?)?;
    }
    let file = EncodedFile {
        bytes: bytes.into(),
        rows: file.rows,
    };
    Ok((file, statistics, content))
}
