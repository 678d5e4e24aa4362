//! Chunks into rows: every record of a chunk is decoded, its secrets are replaced, and it becomes a
//! row of `audit`, `component` or `inventory` with a mark of where it belongs, or a rejected record.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::{
    commit::{known::Copy, ledger::RangeRecord},
    decode::{
        self, AuditRecord, DropReason, Record,
        component::{self, EntryJoiner, LogContext, TextKind},
        frame::Chunk,
        reject::{Reason, Reject},
    },
    event::{
        component::{ComponentEntry, Wrapper},
        identity::{Fingerprint, Identity, LineIdentity, SampleIdentity},
        inventory::InventoryRow,
        redact::Redactor,
        time::Micros,
    },
    layout::{
        audit::{Lengths, Origin, push_audit_row},
        build::Rows,
        columns::TableName,
        component::push_component_row,
        inventory::push_inventory_row,
        partition::{ClusterName, Partition},
    },
    pipeline::{
        Redaction, SourceSettings,
        stream::{RangeEnd, RangeIndex, Read},
    },
    source::ListedObject,
};

/// Bytes of a rejected record that are kept.
const REJECTED_BYTES_MAX: usize = 1 << 20;

/// What decoding needs to know.
#[derive(Debug)]
pub(crate) struct DecodeContext {
    pub(crate) ranges: Vec<RangeRecord>,
    pub(crate) settings: SourceSettings,
    redactor: Option<Redactor>,
    digest_key: Option<[u8; 32]>,
}

impl DecodeContext {
    pub(crate) fn new(ranges: Vec<RangeRecord>, settings: SourceSettings) -> Self {
        let digest_key = match settings.redaction {
            Redaction::On(key) => Some(key),
            Redaction::Off => None,
        };
        Self {
            ranges,
            redactor: digest_key.map(Redactor::new),
            digest_key,
            settings,
        }
    }
}

/// What an object holds, told by its beginning and its name.
#[derive(Debug)]
pub(crate) struct ContentKind {
    /// How its lines are wrapped, if it is the log of a component as text.
    pub(crate) text: Option<TextKind>,
    /// What records do not tell themselves.
    records: decode::Context,
    /// What lines do not tell themselves.
    log: LogContext,
}

impl ContentKind {
    pub(crate) fn of(object: &ListedObject, head: &[u8], settings: &SourceSettings) -> Self {
        let modified = object.modified.map(|t| Micros(t.timestamp_micros()));
        let mut log = LogContext::of_path(&object.uri, modified);
        log.zone = settings.zone;
        log.learn(head);
        if let Some(component) = &settings.component {
            log.origin.component = Some(component.clone().into());
        }
        let cluster = settings.cluster.as_ref().map(ClusterName::as_str);
        let records = decode::Context::of(&object.uri, head, cluster);
        let named = settings.component.is_some() && !head.starts_with(b"{");
        let text = match records.export {
            Some(_) => None,
            None => component::text_kind(head).or(named.then_some(TextKind::Plain)),
        };
        Self { text, records, log }
    }

    pub(crate) fn records(&self) -> &decode::Context {
        &self.records
    }
}

/// What is known of one decoded row beside its columns.
#[derive(Debug, Clone)]
pub(crate) struct RowMark {
    pub(crate) partition: u32,
    pub(crate) time: Micros,
    /// None: it cannot be repeated but by reading the same bytes again, which the ledger prevents.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) copy: Copy,
}

/// Rows of one table.
#[derive(Debug)]
pub(crate) struct DecodedRows {
    pub(crate) table: TableName,
    pub(crate) rows: RecordBatch,
    /// Bytes that they hold.
    pub(crate) bytes: usize,
    pub(crate) marks: Vec<RowMark>,
    pub(crate) partitions: Vec<Partition>,
}

/// A record that could not be decoded.
#[derive(Debug)]
pub(crate) struct RejectedRecord {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
    pub(crate) reject: Reject,
}

/// The decoded records of one chunk.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) range: RangeIndex,
    pub(crate) tables: Vec<DecodedRows>,
    pub(crate) rejected: Vec<RejectedRecord>,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    /// Lines that became part of the row of an earlier line.
    pub(crate) continuations: u64,
    pub(crate) content_bytes: u64,
    pub(crate) end: Option<RangeEnd>,
}

impl Decoded {
    fn nothing(range: RangeIndex) -> Self {
        Self {
            range,
            tables: Vec::new(),
            rejected: Vec::new(),
            dropped: BTreeMap::new(),
            continuations: 0,
            content_bytes: 0,
            end: None,
        }
    }

    /// Records of the chunk: rows and what was rejected.
    pub(crate) fn records(&self) -> u64 {
        let rows: usize = self.tables.iter().map(|t| t.marks.len()).sum();
        (rows + self.rejected.len()) as u64
    }
}

/// Decodes what the reader handed on.
pub(crate) fn decode(context: &DecodeContext, index: RangeIndex, read: Read) -> Decoded {
    let mut decoded = Decoded::nothing(index);
    match read {
        Read::End(end) => decoded.end = Some(end),
        Read::Reject {
            offset,
            length,
            bytes,
            reject,
        } => {
            let record = rejected_record(context, offset, length, &bytes, reject);
            decoded.rejected.push(record);
        }
        Read::Chunk(chunk, kind) => {
            let mut sink = ChunkSink::new(context, &chunk.bytes, decoded);
            sink.decode(&chunk, &kind);
            decoded = sink.finish();
            decoded.content_bytes = chunk.bytes.len() as u64;
        }
    }
    decoded
}

/// Takes the records of a chunk and builds their rows.
struct ChunkSink<'c> {
    context: &'c DecodeContext,
    range: &'c RangeRecord,
    given: Option<ClusterName>,
    audit: TableSink,
    component: TableSink,
    inventory: TableSink,
    decoded: Decoded,
    scratch: Vec<u8>,
}

/// Rows of one table under construction, with the partitions they lie in; a chunk has one or two, so
/// a list is faster than a map.
struct TableSink {
    table: TableName,
    chunk: Bytes,
    rows: Option<Rows>,
    marks: Vec<RowMark>,
    partitions: Vec<Partition>,
}

impl TableSink {
    fn new(table: TableName, chunk: &Bytes) -> Self {
        Self {
            table,
            chunk: chunk.clone(),
            rows: None,
            marks: Vec::new(),
            partitions: Vec::new(),
        }
    }

    fn rows(&mut self) -> &mut Rows {
        self.rows
            .get_or_insert_with(|| Rows::sharing(self.table, &self.chunk))
    }

    fn mark(
        &mut self,
        cluster: &ClusterName,
        time: Micros,
        fingerprint: Option<Fingerprint>,
        copy: Copy,
    ) {
        let day = time.utc_day();
        let known = self
            .partitions
            .iter()
            .position(|p| p.day == day && p.cluster == *cluster);
        let index = known.unwrap_or_else(|| {
            let cluster = cluster.clone();
            self.partitions.push(Partition { cluster, day });
            self.partitions.len() - 1
        });
        self.marks.push(RowMark {
            partition: u32::try_from(index).unwrap_or(u32::MAX),
            time,
            fingerprint,
            copy,
        });
    }

    fn finish(self) -> Option<DecodedRows> {
        let (rows, bytes) = self.rows?.finish_counted();
        Some(DecodedRows {
            table: self.table,
            rows,
            bytes,
            marks: self.marks,
            partitions: self.partitions,
        })
    }
}

impl<'c> ChunkSink<'c> {
    fn new(context: &'c DecodeContext, chunk: &Bytes, decoded: Decoded) -> Self {
        let range = &context.ranges[decoded.range];
        let given = range
            .cluster
            .as_deref()
            .and_then(|c| ClusterName::parse(c).ok());
        Self {
            context,
            range,
            given,
            audit: TableSink::new(TableName::Audit, chunk),
            component: TableSink::new(TableName::Component, chunk),
            inventory: TableSink::new(TableName::Inventory, chunk),
            decoded,
            scratch: Vec::new(),
        }
    }

    fn decode(&mut self, chunk: &Chunk, kind: &ContentKind) {
        if let Some(text) = kind.text {
            component::decode_wrapped_chunk(chunk, text, &kind.log, &mut |decoded| match decoded {
                component::Decoded::Entry(entry) => self.take_entry(&entry),
                component::Decoded::Record(record, offset) => self.take(offset, &[], record, None),
            });
            return;
        }
        let mut joiner = EntryJoiner::new(&kind.log);
        for (offset, frame) in chunk.frames() {
            decode::decode_frame_of(frame, &kind.records, &mut |record| {
                self.take(offset, frame, record, Some(&mut joiner));
            });
        }
        joiner.finish(&mut |entry| self.take_entry(&entry));
    }

    fn take(
        &mut self,
        offset: u64,
        frame: &[u8],
        record: Record<'_>,
        joiner: Option<&mut EntryJoiner>,
    ) {
        match record {
            Record::Audit(record, length) if !self.context.settings.format.takes(record.format) => {
                let detail = format!("a record of format {}", record.format.as_str());
                let reject = Reject::new(Reason::UnexpectedFormat, detail);
                let kept = &frame[..frame.len().min(length)];
                self.reject(offset, length as u64, kept, reject);
            }
            Record::Audit(record, length) => self.take_audit(offset, *record, length),
            Record::Line(mut line) => {
                line.offset = offset;
                if let Some(joiner) = joiner {
                    joiner.push(*line, &mut |entry| self.take_entry(&entry));
                }
            }
            Record::Inventory(sample, length) => self.take_sample(offset, &sample, length),
            Record::Dropped(reason) => *self.decoded.dropped.entry(reason).or_default() += 1,
            Record::Rejected(reject, bytes) => {
                self.reject(offset, bytes.len() as u64, bytes, reject);
            }
        }
    }

    fn take_audit(&mut self, offset: u64, mut record: AuditRecord<'_>, length: usize) {
        if let Some(reason) = self.context.settings.filters.drops(&record.event) {
            *self.decoded.dropped.entry(reason).or_default() += 1;
            return;
        }
        let cluster = self.cluster(record.envelope.cluster.as_deref());
        let event = &record.event;
        let fingerprint = Identity::of(cluster.as_str(), event).fingerprint(&mut self.scratch);
        let copy = if event.is_incomplete() {
            Copy::Incomplete
        } else {
            Copy::Complete
        };
        let time = event.stage_timestamp;
        let lengths = Lengths {
            record: length,
            request_object: event.request_object.as_ref().map(|b| b.len()),
            response_object: event.response_object.as_ref().map(|b| b.len()),
        };
        if let Some(redactor) = &self.context.redactor {
            redactor.redact(&mut record.event);
        }
        push_audit_row(
            self.audit.rows(),
            record,
            origin(self.range, offset),
            lengths,
        );
        self.audit.mark(&cluster, time, Some(fingerprint), copy);
    }

    fn take_entry(&mut self, entry: &ComponentEntry<'_>) {
        let line = &entry.origin;
        let cluster = self.cluster(line.cluster.as_deref());
        let identity = LineIdentity {
            cluster: cluster.as_str(),
            component: line.component.as_deref(),
            pod: line.pod.as_deref(),
            container: line.container.as_deref(),
            stream: line.stream.as_deref(),
            envelope_time: line.time_text.as_deref(),
            time: entry.time,
            record: Some(&entry.record),
        };
        let is_wrapped = line.wrapper != Wrapper::Plain;
        let fingerprint = is_wrapped.then(|| identity.fingerprint(&mut self.scratch));
        self.decoded.continuations += u64::try_from(entry.lines - 1).unwrap_or(0);
        push_component_row(
            self.component.rows(),
            entry,
            origin(self.range, entry.offset),
        );
        self.component
            .mark(&cluster, entry.time, fingerprint, Copy::Complete);
    }

    fn take_sample(&mut self, offset: u64, sample: &InventoryRow<'_>, length: usize) {
        let cluster = self.cluster(sample.cluster.as_deref());
        let identity = SampleIdentity {
            cluster: cluster.as_str(),
            table: Some(&sample.table),
            record: Some(&sample.record),
        };
        let fingerprint = identity.fingerprint(&mut self.scratch);
        let origin = origin(self.range, offset);
        push_inventory_row(self.inventory.rows(), sample, origin, length);
        self.inventory
            .mark(&cluster, sample.time, Some(fingerprint), Copy::Complete);
    }

    fn reject(&mut self, offset: u64, length: u64, bytes: &[u8], reject: Reject) {
        let record = rejected_record(self.context, offset, length, bytes, reject);
        self.decoded.rejected.push(record);
    }

    /// The cluster given for the source, else the one that the record tells.
    fn cluster(&self, told: Option<&str>) -> ClusterName {
        let told = || told.and_then(|c| ClusterName::parse(c).ok());
        self.given.clone().or_else(told).unwrap_or_default()
    }

    fn finish(mut self) -> Decoded {
        let sinks = [self.audit, self.component, self.inventory];
        self.decoded.tables = sinks.into_iter().filter_map(TableSink::finish).collect();
        self.decoded
    }
}

fn origin(range: &RangeRecord, offset: u64) -> Origin<'_> {
    Origin {
        source_uri: &range.object_uri,
        source_offset: i64::try_from(offset).unwrap_or(i64::MAX),
    }
}

fn rejected_record(
    context: &DecodeContext,
    offset: u64,
    length: u64,
    bytes: &[u8],
    reject: Reject,
) -> RejectedRecord {
    let kept = match &context.redactor {
        Some(redactor) => redactor.redact_rejected(bytes),
        None => std::borrow::Cow::Borrowed(bytes),
    };
    let digest = match &context.digest_key {
        Some(key) => blake3::keyed_hash(key, bytes),
        None => blake3::hash(bytes),
    };
    RejectedRecord {
        offset,
        length,
        bytes: kept[..kept.len().min(REJECTED_BYTES_MAX)].to_vec(),
        digest: digest.to_hex().to_string(),
        reject,
    }
}
