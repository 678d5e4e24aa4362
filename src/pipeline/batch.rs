//! One batch from its pinned ranges to its closing ledger rows; the steps are those of
//! [`crate::commit`]. Doing a batch again gives the same files, the same counts and no second row.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock,
    commit::{
        ledger::{BatchState, RangeRecord, signed, stage_records, unsigned},
        publish::{
            Publication, Published, TransactionMark, commit_metadata, publish, transaction_version,
        },
        stage::{Placement, stage},
    },
    decode::DropReason,
    encode::{
        properties::{INGEST_ZSTD_LEVEL, writer_properties},
        statistics::delta_statistics,
        write::encode,
    },
    error::{Error, ErrorKind, Result},
    event::time::Micros,
    layout::{
        build::Rows,
        columns::TableName,
        partition::{ClusterName, Partition},
        sort::SortedRows,
    },
    pipeline::{
        ObjectReport, Report, Run, SourceSettings,
        collect::{Collector, Snapshots, TableOutcome},
        rows::{DecodeContext, Decoded, RejectedRecord},
        stream::{RangeEnd, decode_ranges},
    },
    source::ListedObject,
};

/// Key of the closing ledger rows in the metadata of the commit that makes a batch count.
const CLOSING_KEY: &str = "kolumnBatch";

/// Writers of the same partition may overtake a batch this often before it gives up.
const OVERTAKEN_MAX: usize = 20;

fn ingest_mark(first: &RangeRecord) -> TransactionMark {
    TransactionMark {
        app_id: format!("ingest:{}", first.source),
        version: first.batch,
    }
}

/// What was read of a batch.
#[derive(Debug, Default)]
struct Outcome {
    records: Vec<u64>,
    rejected: Vec<Vec<RejectedRecord>>,
    dropped: Vec<BTreeMap<DropReason, u64>>,
    continuations: Vec<u64>,
    ends: Vec<Option<RangeEnd>>,
    tables: BTreeMap<TableName, TableOutcome>,
}

/// Tables that hold the rows of a batch already, with what their commit says of it.
pub(crate) type Landed = BTreeMap<TableName, LandedBatch>;

/// What the commit says that made the rows of a batch visible in one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LandedBatch {
    /// Every table that the batch writes rows to.
    tables: Vec<String>,
    /// The closing ledger rows, with the rows and duplicates of this table only.
    ranges: Vec<RangeRecord>,
}

/// Tables that batches write rows to, in the order in which they are published.
const ROW_TABLES: [TableName; 3] = [TableName::Inventory, TableName::Component, TableName::Audit];

/// Runs an open batch.
///
/// # Errors
/// Errors of the store and of the table log; the batch stays open then and is done again.
pub(crate) async fn run(
    run: &Run,
    ranges: Vec<RangeRecord>,
    objects: HashMap<String, ListedObject>,
    settings: &SourceSettings,
    report: &mut Report,
) -> Result<()> {
    let Some(first) = ranges.first().cloned() else {
        return Ok(());
    };
    let lengths = ranges
        .iter()
        .map(|r| Some(unsigned(r.range_end? - r.range_start)));
    run.observer.batch_planned(ranges.len(), lengths.sum());
    'attempts: for _ in 0..OVERTAKEN_MAX {
        let (mut snapshots, landed) = landed(run, &first).await?;
        if let Some(closing) = closing_if_landed(&landed) {
            // Another process did the same batch at the same time; its counts are the true ones.
            close(run, &closing).await?;
            add_to_report(report, &closing, &Outcome::default());
            return Ok(());
        }
        let context = DecodeContext::new(ranges.clone(), settings.clone());
        let outcome = read_batch(run, context, objects.clone(), &landed, &mut snapshots).await?;
        let closing = closing_records(&ranges, &outcome, &landed);
        check_counts(&closing)?;
        publish_rejected(run, &first, &ranges, &outcome).await?;
        for table in ROW_TABLES {
            let Some((snapshot, written)) = snapshots.get(&table).zip(outcome.tables.get(&table))
            else {
                continue;
            };
            let said = said_of(table, &closing, &outcome);
            match publish_rows(run, snapshot, table, &first, written, &said).await? {
                Published::Committed => {}
                Published::Overtaken | Published::Already => continue 'attempts,
            }
        }
        close(run, &closing).await?;
        run.observer
            .batch_committed(closing.iter().map(|r| unsigned(r.rows)).sum());
        add_to_report(report, &closing, &outcome);
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "other writers overtook batch {} of {} {OVERTAKEN_MAX} times",
            first.batch, first.source
        ),
    )
    .hint("run the same command again, with fewer runs at the same time"))
}

async fn read_batch(
    run: &Run,
    context: DecodeContext,
    objects: HashMap<String, ListedObject>,
    landed: &Landed,
    snapshots: &mut Snapshots,
) -> Result<Outcome> {
    let n = context.ranges.len();
    let mut outcome = Outcome {
        records: vec![0; n],
        rejected: (0..n).map(|_| Vec::new()).collect(),
        dropped: vec![BTreeMap::new(); n],
        continuations: vec![0; n],
        ends: vec![None; n],
        tables: BTreeMap::new(),
    };
    let context = Arc::new(context);
    let ranges = &context.ranges;
    let mut collector = Collector::default();
    let decoded = decode_ranges(Arc::clone(&context), objects, run.options.threads);
    let mut decoded = std::pin::pin!(decoded);
    while let Some(item) = decoded.next().await {
        let mut item: Decoded =
            item.map_err(|e| Error::new(ErrorKind::Bug, "a decoder failed").because(e))?;
        let range = item.range;
        let records = item.records();
        outcome.records[range] += records;
        outcome.continuations[range] += item.continuations;
        outcome.rejected[range].append(&mut item.rejected);
        for (reason, count) in std::mem::take(&mut item.dropped) {
            *outcome.dropped[range].entry(reason).or_default() += count;
        }
        if let Some(end) = item.end.take() {
            outcome.ends[range] = Some(end);
        }
        run.observer
            .progressed(&ranges[range].object_uri, item.content_bytes, records);
        collector.push(item);
        if collector.buffered_bytes() >= run.options.buffer_bytes {
            collector.flush(run, snapshots, ranges, landed).await?;
        }
    }
    collector.flush(run, snapshots, ranges, landed).await?;
    outcome.tables = collector.finish();
    Ok(outcome)
}

/// K1: every record is counted exactly once, checked before anything becomes visible.
fn check_counts(closing: &[RangeRecord]) -> Result<()> {
    for r in closing {
        if r.rows + r.duplicates + r.rejected != r.records {
            return Err(Error::new(
                ErrorKind::Bug,
                format!(
                    "K1: {} gave {} records but {} rows, {} duplicates and {} rejected",
                    r.object_uri, r.records, r.rows, r.duplicates, r.rejected
                ),
            ));
        }
    }
    Ok(())
}

/// The closing ledger rows as the commit of one table carries them.
fn said_of(table: TableName, closing: &[RangeRecord], outcome: &Outcome) -> LandedBatch {
    let counts = outcome.tables.get(&table).map(|t| &t.counts);
    let ranges = closing.iter().enumerate().map(|(i, range)| {
        let (rows, duplicates) = counts.and_then(|c| c.get(i)).copied().unwrap_or_default();
        RangeRecord {
            rows: signed(rows),
            duplicates: signed(duplicates),
            ..range.clone()
        }
    });
    let written = |t: &&TableName| outcome.tables.get(t).is_some_and(|o| !o.staged.is_empty());
    LandedBatch {
        tables: ROW_TABLES
            .iter()
            .filter(written)
            .map(|t| t.as_str().to_owned())
            .collect(),
        ranges: ranges.collect(),
    }
}

fn closing_records(ranges: &[RangeRecord], outcome: &Outcome, landed: &Landed) -> Vec<RangeRecord> {
    let recorded_at = clock::now().timestamp_micros();
    let first_rows_file = ROW_TABLES.iter().rev().find_map(|table| {
        let file = outcome.tables.get(table)?.staged.first()?;
        Some(format!("{}/{}", table.as_str(), file.add.path))
    });
    let sum = |i: usize, count: fn(&(u64, u64)) -> u64, stored: fn(&RangeRecord) -> i64| {
        let own = outcome.tables.values().filter_map(|t| t.counts.get(i));
        let others = landed.values().filter_map(|l| l.ranges.get(i));
        own.map(|c| signed(count(c))).sum::<i64>() + others.map(stored).sum::<i64>()
    };
    ranges
        .iter()
        .enumerate()
        .map(|(i, range)| {
            let end = outcome.ends[i].clone().unwrap_or_default();
            RangeRecord {
                state: BatchState::Committed,
                recorded_at,
                range_end: Some(signed(end.end.max(unsigned(range.range_start)))),
                range_digest: Some(end.digest),
                records: signed(outcome.records[i]),
                rows: sum(i, |c| c.0, |r| r.rows),
                duplicates: sum(i, |c| c.1, |r| r.duplicates),
                rejected: signed(outcome.rejected[i].len() as u64),
                filtered: signed(outcome.dropped[i].values().sum()),
                continuations: signed(outcome.continuations[i]),
                waiting_bytes: signed(end.waiting_bytes),
                // An object that ended early is not known at this version: it is looked at again.
                object_version: match &end.ended_early {
                    Some(_) if outcome.rejected[i].is_empty() => String::new(),
                    _ if range.range_end.is_some_and(|e| e < range.object_size) => String::new(),
                    _ => range.object_version.clone(),
                },
                ended_early: end.ended_early,
                first_rows_file: first_rows_file.clone(),
                ..range.clone()
            }
        })
        .collect()
}

async fn publish_rejected(
    run: &Run,
    first: &RangeRecord,
    ranges: &[RangeRecord],
    outcome: &Outcome,
) -> Result<()> {
    let mut rows = Rows::new(TableName::Rejected);
    for (range, rejected) in ranges.iter().zip(&outcome.rejected) {
        for record in rejected {
            push_rejected(&mut rows, range, record);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let cluster = first
        .cluster
        .as_deref()
        .and_then(|c| ClusterName::parse(c).ok());
    let day = Micros(first.planned_at).utc_day();
    let partition = Partition {
        cluster: cluster.unwrap_or_default(),
        day,
    };
    let count = rows.len();
    let batches = [rows.finish()];
    let sorted = SortedRows::sort(
        TableName::Rejected,
        &batches,
        (0..count).map(|r| (0, r)).collect(),
    )?;
    let properties = Arc::new(writer_properties(TableName::Rejected, INGEST_ZSTD_LEVEL)?);
    let file = encode(&sorted, &properties, 1)?;
    let statistics = delta_statistics(&sorted)?;
    loop {
        let table = run.archive.load_or_create(TableName::Rejected).await?;
        let file = crate::encode::write::EncodedFile {
            bytes: file.bytes.clone(),
            rows: file.rows,
        };
        let at = Placement {
            table: TableName::Rejected,
            folder: partition.path(),
            values: partition.values(),
            statistics: statistics.clone(),
            planned_at: first.planned_time(),
            tags: Vec::new(),
        };
        let publication = Publication {
            table: TableName::Rejected,
            mark: ingest_mark(first),
            mutexes: Vec::new(),
            files: vec![stage(&table, file, at).await?],
            metadata: Vec::new(),
        };
        if publish(&run.archive, &table, publication).await? != Published::Overtaken {
            return Ok(());
        }
    }
}

fn push_rejected(rows: &mut Rows, range: &RangeRecord, record: &RejectedRecord) {
    rows.time("ingested_at", Some(Micros(range.planned_at)));
    rows.text("source_uri", Some(&range.object_uri));
    rows.long("source_offset", Some(signed(record.offset)));
    rows.long("record_bytes", Some(signed(record.length)));
    rows.text("reason", Some(record.reject.reason.as_str()));
    rows.text("detail", Some(&record.reject.detail));
    rows.bytes("record", Some(&record.bytes));
    rows.flag(
        "record_cut",
        Some((record.bytes.len() as u64) < record.length),
    );
    rows.text("record_digest", Some(&record.digest));
    rows.end_row();
}

async fn publish_rows(
    run: &Run,
    snapshot: &deltalake_core::DeltaTable,
    table: TableName,
    first: &RangeRecord,
    written: &TableOutcome,
    said: &LandedBatch,
) -> Result<Published> {
    if written.staged.is_empty() {
        // Nothing to show; a redo would find the same, so the ledger row alone closes the batch.
        return Ok(Published::Committed);
    }
    let version = snapshot
        .version()
        .map_or(0, |v| i64::try_from(v).unwrap_or(i64::MAX));
    let mutexes = written
        .partitions
        .iter()
        .map(|p| TransactionMark {
            app_id: format!("partition:{}/{}", p.cluster, p.date_text()),
            version: version + 1,
        })
        .collect();
    let said = serde_json::to_value(said)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot write ledger rows as JSON").because(e))?;
    let publication = Publication {
        table,
        mark: ingest_mark(first),
        mutexes,
        files: written.staged.clone(),
        metadata: vec![(CLOSING_KEY.to_owned(), said)],
    };
    publish(&run.archive, snapshot, publication).await
}

/// The tables as they are now, and those of them that hold the rows of a batch already.
async fn landed(run: &Run, first: &RangeRecord) -> Result<(Snapshots, Landed)> {
    let mut snapshots = Snapshots::new();
    let mut found = Landed::new();
    let mark = ingest_mark(first);
    for name in ROW_TABLES {
        let Some(table) = run.archive.load(name).await? else {
            continue;
        };
        let version = transaction_version(&run.archive, name, &table, &mark.app_id).await?;
        if version.is_some_and(|v| v >= mark.version) {
            let commits = commit_metadata(&run.archive, name, &table, CLOSING_KEY).await?;
            let said = commits.into_iter().find_map(|value: Value| {
                let said: LandedBatch = serde_json::from_value(value).ok()?;
                let is_ours = said
                    .ranges
                    .first()
                    .is_some_and(|r| r.source == first.source && r.batch == first.batch);
                is_ours.then_some(said)
            });
            if let Some(said) = said {
                found.insert(name, said);
            }
        }
        snapshots.insert(name, table);
    }
    Ok((snapshots, found))
}

/// The closing rows of a batch that is in every table it writes to.
fn closing_if_landed(landed: &Landed) -> Option<Vec<RangeRecord>> {
    let said = landed.values().next()?;
    let is_in = |name: &String| landed.keys().any(|t| t.as_str() == name);
    if !said.tables.iter().all(is_in) {
        return None;
    }
    let mut closing = said.ranges.clone();
    for (i, range) in closing.iter_mut().enumerate() {
        let of_range = || landed.values().filter_map(|l| l.ranges.get(i));
        range.rows = of_range().map(|r| r.rows).sum();
        range.duplicates = range.records - range.rows - range.rejected;
    }
    Some(closing)
}

/// Closes an open batch whose rows are in already, with the counts that its commits carry.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn close_if_landed(
    run: &Run,
    open: &[RangeRecord],
    report: &mut Report,
) -> Result<bool> {
    let Some(first) = open.first() else {
        return Ok(false);
    };
    let (_, landed) = landed(run, first).await?;
    let Some(closing) = closing_if_landed(&landed) else {
        return Ok(false);
    };
    close(run, &closing).await?;
    add_to_report(report, &closing, &Outcome::default());
    Ok(true)
}

/// Writes the closing rows of a batch, once.
async fn close(run: &Run, closing: &[RangeRecord]) -> Result<()> {
    let Some(first) = closing.first() else {
        return Ok(());
    };
    loop {
        let table = run.archive.load_or_create(TableName::Ledger).await?;
        let publication = Publication {
            table: TableName::Ledger,
            mark: TransactionMark {
                app_id: format!("close:{}", first.source),
                version: first.batch,
            },
            mutexes: Vec::new(),
            files: stage_records(&table, closing).await?,
            metadata: Vec::new(),
        };
        if publish(&run.archive, &table, publication).await? != Published::Overtaken {
            return Ok(());
        }
    }
}

/// Gives an open batch up: its objects are gone or are not what they were, and none of its rows is in.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn abandon(run: &Run, open: Vec<RangeRecord>) -> Result<()> {
    let recorded_at = clock::now().timestamp_micros();
    let closing: Vec<_> = open
        .into_iter()
        .map(|r| RangeRecord {
            state: BatchState::Abandoned,
            recorded_at,
            ..r
        })
        .collect();
    close(run, &closing).await
}

fn add_to_report(report: &mut Report, closing: &[RangeRecord], outcome: &Outcome) {
    for file in outcome.tables.values().flat_map(|t| &t.staged) {
        report.bytes_out += unsigned(file.add.size);
        report.files_out += 1;
    }
    for (reason, count) in outcome.dropped.iter().flatten() {
        *report
            .filtered_by_reason
            .entry(reason.as_str())
            .or_default() += count;
    }
    for (table, written) in &outcome.tables {
        *report.rows_by_table.entry(table.as_str()).or_default() +=
            written.counts.iter().map(|c| c.0).sum::<u64>();
    }
    for record in outcome.rejected.iter().flatten() {
        *report
            .rejected_by_reason
            .entry(record.reject.reason.as_str())
            .or_default() += 1;
    }
    for r in closing {
        report.objects.push(ObjectReport {
            uri: r.object_uri.clone(),
            records: unsigned(r.records),
            rows: unsigned(r.rows),
            duplicates: unsigned(r.duplicates),
            rejected: unsigned(r.rejected),
            filtered: unsigned(r.filtered),
            continuations: unsigned(r.continuations),
            content_bytes: unsigned(r.range_end.unwrap_or(0))
                .saturating_sub(unsigned(r.range_start)),
            waiting_bytes: unsigned(r.waiting_bytes),
            ended_early: r.ended_early.clone(),
        });
    }
}
