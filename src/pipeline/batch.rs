//! One batch from its pinned ranges to its closing ledger rows; the steps are those of
//! [`crate::commit`]. Doing a batch again gives the same files, the same counts and no second row.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt as _;
use serde_json::Value;

use crate::{
    clock,
    commit::{
        ledger::{BatchState, RangeRecord, signed, stage_records, unsigned},
        publish::{
            Publication, Published, TransactionMark, commit_metadata, publish, transaction_version,
        },
        stage::{Placement, StagedFile, stage},
    },
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
        ObjectReport, Report, Run,
        collect::{Collector, RowCounts},
        stream::{DecodeContext, Decoded, RangeEnd, RejectedRecord, decode_ranges},
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

/// What was read of a batch, beside its rows.
#[derive(Debug, Default)]
struct Outcome {
    records: Vec<u64>,
    rejected: Vec<Vec<RejectedRecord>>,
    content_bytes: Vec<u64>,
    ends: Vec<Option<RangeEnd>>,
    counts: RowCounts,
    staged: Vec<StagedFile>,
    partitions: Vec<Partition>,
    bytes_out: u64,
}

/// Runs an open batch.
///
/// # Errors
/// Errors of the store and of the table log; the batch stays open then and is done again.
pub(crate) async fn run(
    run: &Run,
    ranges: Vec<RangeRecord>,
    objects: HashMap<String, ListedObject>,
    report: &mut Report,
) -> Result<()> {
    let Some(first) = ranges.first().cloned() else {
        return Ok(());
    };
    let lengths = ranges
        .iter()
        .map(|r| Some(unsigned(r.range_end? - r.range_start)));
    run.observer.batch_planned(ranges.len(), lengths.sum());
    for _ in 0..OVERTAKEN_MAX {
        let table = run.archive.load_or_create(TableName::Audit).await?;
        let outcome = read_batch(run, &table, &ranges, objects.clone()).await?;
        check_counts(&ranges, &outcome)?;
        publish_rejected(run, &first, &ranges, &outcome).await?;
        let closing = closing_records(&ranges, &outcome);
        let published = publish_rows(run, &table, &first, &outcome, &closing).await?;
        match published {
            Published::Overtaken => continue,
            // Another process did the same batch at the same time; its counts are the true ones.
            Published::Already => {
                if close_if_landed(run, &ranges, report).await? {
                    return Ok(());
                }
            }
            Published::Committed => {}
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
    table: &deltalake_core::DeltaTable,
    ranges: &[RangeRecord],
    objects: HashMap<String, ListedObject>,
) -> Result<Outcome> {
    let n = ranges.len();
    let mut outcome = Outcome {
        records: vec![0; n],
        rejected: (0..n).map(|_| Vec::new()).collect(),
        content_bytes: vec![0; n],
        ends: vec![None; n],
        counts: vec![(0, 0); n],
        ..Outcome::default()
    };
    let context = Arc::new(DecodeContext {
        ranges: ranges.to_vec(),
        redactor: run.redactor.clone(),
        digest_key: run.redaction_key,
        format: run.options.format,
    });
    let mut collector = Collector::default();
    let mut decoded = std::pin::pin!(decode_ranges(context, objects, run.options.threads));
    while let Some(item) = decoded.next().await {
        let mut item: Decoded =
            item.map_err(|e| Error::new(ErrorKind::Bug, "a decoder failed").because(e))?;
        let range = item.range;
        let records = (item.marks.len() + item.rejected.len()) as u64;
        outcome.records[range] += records;
        outcome.content_bytes[range] += item.content_bytes;
        outcome.rejected[range].append(&mut item.rejected);
        if let Some(end) = item.end.take() {
            outcome.ends[range] = Some(end);
        }
        run.observer
            .progressed(&ranges[range].object_uri, item.content_bytes, records);
        collector.push(item);
        if collector.buffered_bytes() >= run.options.buffer_bytes {
            collector
                .flush(run, table, ranges, &mut outcome.counts)
                .await?;
        }
    }
    collector
        .flush(run, table, ranges, &mut outcome.counts)
        .await?;
    (outcome.staged, outcome.partitions, outcome.bytes_out) = collector.finish();
    Ok(outcome)
}

/// K1: every record is counted exactly once, checked before anything becomes visible.
fn check_counts(ranges: &[RangeRecord], outcome: &Outcome) -> Result<()> {
    for (i, range) in ranges.iter().enumerate() {
        let (rows, duplicates) = outcome.counts[i];
        let rejected = outcome.rejected[i].len() as u64;
        let records = outcome.records[i];
        if rows + duplicates + rejected != records {
            return Err(Error::new(
                ErrorKind::Bug,
                format!(
                    "K1: {} gave {records} records but {rows} rows, {duplicates} duplicates and \
                     {rejected} rejected",
                    range.object_uri
                ),
            ));
        }
    }
    Ok(())
}

fn closing_records(ranges: &[RangeRecord], outcome: &Outcome) -> Vec<RangeRecord> {
    let recorded_at = clock::now().timestamp_micros();
    let first_rows_file = outcome.staged.first().map(|f| f.add.path.clone());
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
                rows: signed(outcome.counts[i].0),
                duplicates: signed(outcome.counts[i].1),
                rejected: signed(outcome.rejected[i].len() as u64),
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
    table: &deltalake_core::DeltaTable,
    first: &RangeRecord,
    outcome: &Outcome,
    closing: &[RangeRecord],
) -> Result<Published> {
    if outcome.staged.is_empty() {
        // Nothing to show; a redo would find the same, so the ledger row alone closes the batch.
        return Ok(Published::Committed);
    }
    let version = table
        .version()
        .map_or(0, |v| i64::try_from(v).unwrap_or(i64::MAX));
    let mutexes = outcome
        .partitions
        .iter()
        .map(|p| TransactionMark {
            app_id: format!("partition:{}/{}", p.cluster, p.date_text()),
            version: version + 1,
        })
        .collect();
    let closing = serde_json::to_value(closing)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot write ledger rows as JSON").because(e))?;
    let publication = Publication {
        table: TableName::Audit,
        mark: ingest_mark(first),
        mutexes,
        files: outcome.staged.clone(),
        metadata: vec![(CLOSING_KEY.to_owned(), closing)],
    };
    publish(&run.archive, table, publication).await
}

/// Closes an open batch whose rows are in already, with the counts that its commit carries.
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
    let Some(table) = run.archive.load(TableName::Audit).await? else {
        return Ok(false);
    };
    let mark = ingest_mark(first);
    let landed = transaction_version(&run.archive, TableName::Audit, &table, &mark.app_id).await?;
    if landed.is_none_or(|v| v < mark.version) {
        return Ok(false);
    }
    let commits = commit_metadata(&run.archive, TableName::Audit, &table, CLOSING_KEY).await?;
    let closing = commits.into_iter().find_map(|value: Value| {
        let records: Vec<RangeRecord> = serde_json::from_value(value).ok()?;
        let is_ours = records
            .first()
            .is_some_and(|r| r.source == first.source && r.batch == first.batch);
        is_ours.then_some(records)
    });
    let Some(closing) = closing else {
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
    report.bytes_out += outcome.bytes_out;
    report.files_out += outcome.staged.len() as u64;
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
            content_bytes: unsigned(r.range_end.unwrap_or(0))
                .saturating_sub(unsigned(r.range_start)),
            waiting_bytes: unsigned(r.waiting_bytes),
            ended_early: r.ended_early.clone(),
        });
    }
}
