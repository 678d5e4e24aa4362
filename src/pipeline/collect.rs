//! Decoded chunks are gathered until they fill the buffer; then duplicates are found, the rows of
//! each partition are sorted, encoded and staged, and the buffer is empty again.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use chrono::{DateTime, Utc};
use deltalake_core::DeltaTable;

use crate::{
    commit::{
        known::{Copies, Copy, Lookup, stored_copies},
        ledger::RangeRecord,
        stage::{Placement, StagedFile, stage},
    },
    encode::{
        properties::writer_properties,
        statistics::delta_statistics,
        write::{EncodedFile, encode},
    },
    error::{Context as _, Error, ErrorKind, Result},
    layout::{
        columns::TableName,
        partition::Partition,
        sort::{RowId, SortedRows},
    },
    pipeline::{
        Run,
        batch::Landed,
        rows::{Decoded, RowMark},
        stream::RangeIndex,
    },
};

/// Decoded rows, waiting to be sorted, and the events of the batch so far.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    tables: BTreeMap<TableName, Waiting>,
    bytes: usize,
    /// Events of this batch by fingerprint.
    seen: Copies,
    outcome: BTreeMap<TableName, TableOutcome>,
}

/// Rows of one table that wait.
#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    /// Marks, partitions and range of each batch.
    marks: Vec<(Vec<RowMark>, Vec<Partition>, RangeIndex)>,
}

impl Waiting {
    fn mark(&self, (batch, row): RowId) -> &RowMark {
        &self.marks[batch].0[row]
    }

    fn by_partition(&self) -> BTreeMap<Partition, Vec<RowId>> {
        let mut found: BTreeMap<Partition, Vec<RowId>> = BTreeMap::new();
        for (batch, (marks, partitions, _)) in self.marks.iter().enumerate() {
            for (row, mark) in marks.iter().enumerate() {
                let partition = &partitions[mark.partition as usize];
                match found.get_mut(partition) {
                    Some(rows) => rows.push((batch, row)),
                    None => {
                        found.insert(partition.clone(), vec![(batch, row)]);
                    }
                }
            }
        }
        found
    }
}

/// What a batch brings to one table.
#[derive(Debug, Default)]
pub(crate) struct TableOutcome {
    /// Rows and duplicates of each range.
    pub(crate) counts: RowCounts,
    /// Files that wait to be published.
    pub(crate) staged: Vec<StagedFile>,
    /// Partitions that they lie in.
    pub(crate) partitions: BTreeSet<Partition>,
}

/// Rows and duplicates of each range.
pub(crate) type RowCounts = Vec<(u64, u64)>;

/// The tables of an archive that a batch writes rows to, as they were when it began.
pub(crate) type Snapshots = BTreeMap<TableName, DeltaTable>;

impl Collector {
    /// Takes the rows of a chunk.
    pub(crate) fn push(&mut self, decoded: Decoded) {
        for rows in decoded.tables {
            self.bytes += rows.bytes;
            let waiting = self.tables.entry(rows.table).or_default();
            waiting.batches.push(rows.rows);
            waiting
                .marks
                .push((rows.marks, rows.partitions, decoded.range));
        }
    }

    /// Bytes of the rows that wait.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.bytes
    }

    /// Sorts and stages what waits. Rows of tables that `landed` names are in them already: they are
    /// dropped.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn flush(
        &mut self,
        run: &Run,
        snapshots: &mut Snapshots,
        ranges: &[RangeRecord],
        landed: &Landed,
    ) -> Result<()> {
        let planned_at = ranges
            .first()
            .map(RangeRecord::planned_time)
            .unwrap_or_default();
        for (table, mut waiting) in std::mem::take(&mut self.tables) {
            if landed.contains_key(&table) {
                continue;
            }
            if let Entry::Vacant(place) = snapshots.entry(table) {
                place.insert(run.archive.load_or_create(table).await?);
            }
            let Some(snapshot) = snapshots.get(&table) else {
                continue;
            };
            self.outcome
                .entry(table)
                .or_default()
                .counts
                .resize(ranges.len(), (0, 0));
            for (partition, rows) in waiting.by_partition() {
                let target = Target {
                    table,
                    snapshot,
                    partition,
                    planned_at,
                };
                let stored = target.find_stored(run, &waiting, &rows).await?;
                let kept = self.drop_duplicates(table, &mut waiting, rows, stored);
                if !kept.is_empty() {
                    run.observer.encoding(kept.len());
                    let (back, file) = target.stage(run, waiting.batches, kept).await?;
                    waiting.batches = back;
                    let outcome = self.outcome.entry(table).or_default();
                    outcome.staged.push(file);
                    outcome.partitions.insert(target.partition);
                }
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// Keeps the first copy of each event, and a later one if only that is complete.
    fn drop_duplicates(
        &mut self,
        table: TableName,
        waiting: &mut Waiting,
        rows: Vec<RowId>,
        stored: Copies,
    ) -> Vec<RowId> {
        let counts = &mut self.outcome.entry(table).or_default().counts;
        let mut kept = Vec::with_capacity(rows.len());
        let mut superseding: Vec<RowId> = Vec::new();
        for id in rows {
            let mark = waiting.mark(id);
            let count = &mut counts[waiting.marks[id.0].2];
            if let Some(fingerprint) = mark.fingerprint {
                let known = match (stored.get(&fingerprint), self.seen.get(&fingerprint)) {
                    (Some(Copy::Complete), _) | (_, Some(Copy::Complete)) => Some(Copy::Complete),
                    (None, None) => None,
                    _ => Some(Copy::Incomplete),
                };
                match (known, mark.copy) {
                    (Some(Copy::Complete), _) | (Some(Copy::Incomplete), Copy::Incomplete) => {
                        count.1 += 1;
                        continue;
                    }
                    (Some(Copy::Incomplete), Copy::Complete) => superseding.push(id),
                    (None, _) => {}
                }
                self.seen.insert(fingerprint, mark.copy);
            }
            count.0 += 1;
            kept.push(id);
        }
        set_superseding(&mut waiting.batches, &superseding);
        kept
    }

    /// Ends the batch: what it brings to each table.
    pub(crate) fn finish(self) -> BTreeMap<TableName, TableOutcome> {
        self.outcome
    }
}

fn set_superseding(batches: &mut [RecordBatch], rows: &[RowId]) {
    for (batch, row) in rows {
        let old = &batches[*batch];
        let Ok(index) = old.schema().index_of("supersedes") else {
            continue;
        };
        let mut flags: Vec<Option<bool>> = old
            .column(index)
            .as_any()
            .downcast_ref::<BooleanArray>()
            .map(|a| a.iter().collect())
            .unwrap_or_default();
        if let Some(flag) = flags.get_mut(*row) {
            *flag = Some(true);
        }
        let mut columns: Vec<ArrayRef> = old.columns().to_vec();
        columns[index] = Arc::new(BooleanArray::from(flags));
        if let Ok(new) = RecordBatch::try_new(old.schema(), columns) {
            batches[*batch] = new;
        }
    }
}

/// A partition of a table that rows go to.
struct Target<'t> {
    table: TableName,
    snapshot: &'t DeltaTable,
    partition: Partition,
    planned_at: DateTime<Utc>,
}

impl Target<'_> {
    async fn find_stored(&self, run: &Run, waiting: &Waiting, rows: &[RowId]) -> Result<Copies> {
        let marks = || rows.iter().map(|id| waiting.mark(*id));
        let asked: Copies = marks()
            .filter_map(|m| Some((m.fingerprint?, m.copy)))
            .collect();
        let times = marks().filter(|m| m.fingerprint.is_some()).map(|m| m.time);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
            return Ok(Copies::default());
        };
        let lookup = Lookup {
            table: self.table,
            partition: &self.partition,
            times: first..=last,
            asked: &asked,
        };
        stored_copies(&run.archive, self.snapshot, &lookup).await
    }

    /// Encodes and uploads rows; gives their batches back.
    async fn stage(
        &self,
        run: &Run,
        batches: Vec<RecordBatch>,
        rows: Vec<RowId>,
    ) -> Result<(Vec<RecordBatch>, StagedFile)> {
        let table = self.table;
        let (level, threads) = (run.options.zstd_level, run.options.threads);
        let encoded = tokio::task::spawn_blocking(move || {
            let file = encode_rows(table, &batches, rows, level, threads);
            (batches, file)
        });
        let (batches, file) = encoded
            .await
            .map_err(|e| Error::new(ErrorKind::Bug, "sorting or encoding failed").because(e))?;
        let (file, statistics) =
            file.context(format!("cannot encode rows of {}", self.partition.path()))?;
        let at = Placement {
            table,
            folder: self.partition.path(),
            values: self.partition.values(),
            statistics,
            planned_at: self.planned_at,
            tags: Vec::new(),
        };
        Ok((batches, stage(self.snapshot, file, at).await?))
    }
}

fn encode_rows(
    table: TableName,
    batches: &[RecordBatch],
    rows: Vec<RowId>,
    zstd_level: i32,
    threads: usize,
) -> Result<(EncodedFile, String)> {
    let sorted = SortedRows::sort(table, batches, rows)?;
    let properties = Arc::new(writer_properties(table, zstd_level)?);
    let statistics = delta_statistics(&sorted)?;
    Ok((encode(&sorted, &properties, threads)?, statistics))
}
