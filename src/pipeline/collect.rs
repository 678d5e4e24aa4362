//! Decoded chunks are gathered until they fill the buffer; then duplicates are found, the rows of
//! each partition are sorted, encoded and staged, and the buffer is empty again.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use chrono::{DateTime, Utc};
use deltalake_core::DeltaTable;

use crate::{
    commit::{
        known::{Copies, Copy, stored_copies},
        ledger::RangeRecord,
        stage::{Placement, StagedFile, stage},
    },
    encode::{
        properties::writer_properties,
        statistics::delta_statistics,
        write::{EncodedFile, encode},
    },
    error::{Context as _, Error, ErrorKind, Result},
    event::time::Micros,
    layout::{
        columns::TableName,
        partition::Partition,
        sort::{RowId, SortedRows},
    },
    pipeline::{
        Run,
        stream::{Decoded, RowMark},
    },
};

/// Decoded rows of `audit`, waiting to be sorted, and the events of the batch so far.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    batches: Vec<RecordBatch>,
    /// Partition, mark and range of each row of each batch.
    marks: Vec<(Vec<RowMark>, Vec<Partition>, usize)>,
    bytes: usize,
    /// Events of this batch by fingerprint.
    seen: Copies,
    staged: Vec<StagedFile>,
    partitions: BTreeMap<Partition, ()>,
    bytes_out: u64,
}

/// Rows and duplicates of each range.
pub(crate) type RowCounts = Vec<(u64, u64)>;

impl Collector {
    /// Takes the rows of a chunk.
    pub(crate) fn push(&mut self, decoded: Decoded) {
        if let Some(rows) = decoded.rows {
            self.bytes += rows.get_array_memory_size();
            self.batches.push(rows);
            self.marks
                .push((decoded.marks, decoded.partitions, decoded.range));
        }
    }

    /// Bytes of the rows that wait.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.bytes
    }

    /// Sorts and stages what waits.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn flush(
        &mut self,
        run: &Run,
        table: &DeltaTable,
        ranges: &[RangeRecord],
        counts: &mut RowCounts,
    ) -> Result<()> {
        let mut by_partition: BTreeMap<Partition, Vec<RowId>> = BTreeMap::new();
        for (batch, (marks, partitions, _)) in self.marks.iter().enumerate() {
            for (row, mark) in marks.iter().enumerate() {
                let partition = &partitions[mark.partition as usize];
                match by_partition.get_mut(partition) {
                    Some(rows) => rows.push((batch, row)),
                    None => {
                        by_partition.insert(partition.clone(), vec![(batch, row)]);
                    }
                }
            }
        }
        let planned_at = ranges
            .first()
            .map(RangeRecord::planned_time)
            .unwrap_or_default();
        for (partition, rows) in by_partition {
            let stored = self.find_stored(run, table, &partition, &rows).await?;
            let kept = self.drop_duplicates(rows, stored, counts);
            if !kept.is_empty() {
                self.stage_partition(run, table, partition, kept, planned_at)
                    .await?;
            }
        }
        self.batches.clear();
        self.marks.clear();
        self.bytes = 0;
        Ok(())
    }

    fn mark(&self, (batch, row): RowId) -> &RowMark {
        &self.marks[batch].0[row]
    }

    async fn find_stored(
        &self,
        run: &Run,
        table: &DeltaTable,
        partition: &Partition,
        rows: &[RowId],
    ) -> Result<Copies> {
        let times = rows.iter().map(|id| self.mark(*id).time);
        let first = times.clone().min().unwrap_or_default();
        let last: Micros = times.max().unwrap_or_default();
        let asked: Copies = rows
            .iter()
            .map(|id| self.mark(*id))
            .map(|m| (m.fingerprint, m.copy))
            .collect();
        stored_copies(&run.archive, table, partition, first..=last, &asked).await
    }

    /// Keeps the first copy of each event, and a later one if only that is complete.
    fn drop_duplicates(
        &mut self,
        rows: Vec<RowId>,
        stored: Copies,
        counts: &mut RowCounts,
    ) -> Vec<RowId> {
        let mut kept = Vec::with_capacity(rows.len());
        let mut superseding: Vec<RowId> = Vec::new();
        for id in rows {
            let (batch, row) = id;
            let mark = self.marks[batch].0[row].clone();
            let count = &mut counts[self.marks[batch].2];
            let known = match (
                stored.get(&mark.fingerprint),
                self.seen.get(&mark.fingerprint),
            ) {
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
            self.seen.insert(mark.fingerprint, mark.copy);
            count.0 += 1;
            kept.push(id);
        }
        self.set_superseding(&superseding);
        kept
    }

    fn set_superseding(&mut self, rows: &[RowId]) {
        for (batch, row) in rows {
            let old = &self.batches[*batch];
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
                self.batches[*batch] = new;
            }
        }
    }

    async fn stage_partition(
        &mut self,
        run: &Run,
        table: &DeltaTable,
        partition: Partition,
        rows: Vec<RowId>,
        planned_at: DateTime<Utc>,
    ) -> Result<()> {
        run.observer.encoding(rows.len());
        let batches = std::mem::take(&mut self.batches);
        let (level, threads) = (run.options.zstd_level, run.options.threads);
        let encoded = tokio::task::spawn_blocking(move || {
            let file = encode_rows(&batches, rows, level, threads);
            (batches, file)
        });
        let (batches, file) = encoded
            .await
            .map_err(|e| Error::new(ErrorKind::Bug, "sorting or encoding failed").because(e))?;
        self.batches = batches;
        let (file, statistics) =
            file.context(format!("cannot encode rows of {}", partition.path()))?;
        self.bytes_out += file.bytes.len() as u64;
        let at = Placement {
            table: TableName::Audit,
            folder: partition.path(),
            values: partition.values(),
            statistics,
            planned_at,
        };
        self.staged.push(stage(table, file, at).await?);
        self.partitions.insert(partition, ());
        Ok(())
    }

    /// Ends the batch: its files, the partitions they lie in, and their bytes.
    pub(crate) fn finish(self) -> (Vec<StagedFile>, Vec<Partition>, u64) {
        (
            self.staged,
            self.partitions.into_keys().collect(),
            self.bytes_out,
        )
    }
}

fn encode_rows(
    batches: &[RecordBatch],
    rows: Vec<RowId>,
    zstd_level: i32,
    threads: usize,
) -> Result<(EncodedFile, String)> {
    let sorted = SortedRows::sort(TableName::Audit, batches, rows)?;
    let properties = Arc::new(writer_properties(TableName::Audit, zstd_level)?);
    let statistics = delta_statistics(&sorted)?;
    Ok((encode(&sorted, &properties, threads)?, statistics))
}
