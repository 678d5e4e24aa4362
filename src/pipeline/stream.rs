//! The first two stages: objects are read and framed on one blocking thread, chunks are decoded on
//! as many as there are cores, and come out in the order in which they were read.

use std::{collections::HashMap, sync::Arc};

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt as _};
use tokio::{sync::mpsc, task::JoinError};

use crate::{
    commit::{
        known::Copy,
        ledger::{RangeRecord, unsigned},
    },
    decode::{
        self, AuditRecord, FormatFamily, Record,
        frame::{Chunk, Framed, Framer, Framing},
        reject::{Reason, Reject},
    },
    error::Error,
    event::{
        identity::{Fingerprint, Identity},
        redact::Redactor,
        time::Micros,
    },
    layout::{
        audit::{Lengths, Origin, push_audit_row},
        build::Rows,
        columns::TableName,
        partition::{ClusterName, Partition},
    },
    source::{
        ListedObject,
        read::{ContentReader, ReadError},
    },
};

/// Chunks that wait between reader and decoders.
const CHUNKS_WAITING_MAX: usize = 2;

/// Bytes of a rejected record that are kept.
const REJECTED_BYTES_MAX: usize = 1 << 20;

/// Index of a range within its batch.
pub(crate) type RangeIndex = usize;

/// What the reader hands on.
#[derive(Debug)]
enum Read {
    Chunk(Chunk),
    Reject {
        offset: u64,
        length: u64,
        bytes: Vec<u8>,
        reject: Reject,
    },
    End(RangeEnd),
}

/// How the reading of a range ended.
#[derive(Debug, Default, Clone)]
pub(crate) struct RangeEnd {
    /// Everything before is handed on.
    pub(crate) end: u64,
    /// Digest of what was handed on.
    pub(crate) digest: String,
    /// Bytes of a last record without an end.
    pub(crate) waiting_bytes: u64,
    /// Why the object could not be read to its end.
    pub(crate) ended_early: Option<String>,
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

/// What is known of one decoded row beside its columns.
#[derive(Debug, Clone)]
pub(crate) struct RowMark {
    pub(crate) partition: u32,
    pub(crate) time: Micros,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) copy: Copy,
}

/// The decoded records of one chunk.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) range: RangeIndex,
    pub(crate) rows: Option<RecordBatch>,
    pub(crate) marks: Vec<RowMark>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) rejected: Vec<RejectedRecord>,
    pub(crate) content_bytes: u64,
    pub(crate) end: Option<RangeEnd>,
}

/// What decoding needs to know.
#[derive(Debug)]
pub(crate) struct DecodeContext {
    pub(crate) ranges: Vec<RangeRecord>,
    pub(crate) redactor: Option<Arc<Redactor>>,
    pub(crate) digest_key: Option<[u8; 32]>,
    pub(crate) format: FormatFamily,
}

/// Reads and decodes the ranges of a batch, in order.
pub(crate) fn decode_ranges(
    context: Arc<DecodeContext>,
    objects: HashMap<String, ListedObject>,
    threads: usize,
) -> impl Stream<Item = Result<Decoded, JoinError>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let reading = Arc::clone(&context);
    let reader = tokio::task::spawn_blocking(move || {
        for (index, range) in reading.ranges.iter().enumerate() {
            if let Some(object) = objects.get(&range.object_uri) {
                let mut send = |read| sender.blocking_send((index, read)).is_ok();
                read_range(object, range, &mut send);
            }
        }
    });
    let items = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    });
    let decoded = items
        .map(move |(index, read)| {
            let context = Arc::clone(&context);
            tokio::task::spawn_blocking(move || decode(&context, index, read))
        })
        .buffered(threads);
    // A reader that panics must not look like the end of the input.
    let ending = futures::stream::once(reader).filter_map(|ended| async { ended.err().map(Err) });
    decoded.chain(ending)
}

/// Reads one range; stops early if nobody listens any more.
fn read_range(object: &ListedObject, range: &RangeRecord, send: &mut dyn FnMut(Read) -> bool) {
    let start = unsigned(range.range_start);
    let size = range
        .range_end
        .map_or(unsigned(range.object_size), unsigned);
    let head = Some(range.head_digest.as_str());
    let opened = ContentReader::open(object, size, range.compression(), start, head);
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(e) => {
            send(Read::End(ended(start, String::new(), &e)));
            return;
        }
    };
    let mut buffer = vec![0; 1 << 20];
    // The first block tells how frames end; a file that goes on does so at a line.
    let mut filled = 0;
    let mut failure = None;
    while filled < 4096 && failure.is_none() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) => failure = Some(e),
        }
    }
    let framing = if start == 0 {
        Framing::sniff(&buffer[..filled])
    } else {
        Framing::Lines
    };
    let mut framer = Framer::new(framing, start);
    let mut listening = true;
    framer.push(&buffer[..filled], &mut |f| {
        listening &= send_framed(f, send)
    });
    while listening && failure.is_none() {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => framer.push(&buffer[..n], &mut |f| listening &= send_framed(f, send)),
            Err(e) => failure = Some(e),
        }
    }
    if listening {
        finish_range(object, framer, failure, is_cut(object, range), send);
    }
}

/// True if the range ends before its object does, so that the last record may go on behind it.
fn is_cut(object: &ListedObject, range: &RangeRecord) -> bool {
    object.place.may_grow() && range.compression() == crate::source::Compression::None
        || range
            .range_end
            .is_some_and(|end| unsigned(end) < object.size)
}

fn send_framed(framed: Framed, send: &mut dyn FnMut(Read) -> bool) -> bool {
    send(match framed {
        Framed::Chunk(chunk) => Read::Chunk(chunk),
        Framed::Oversize {
            offset,
            length,
            head,
        } => Read::Reject {
            offset,
            length,
            bytes: head,
            reject: Reject::new(
                Reason::RecordTooLong,
                format!(
                    "{length} bytes; the limit is {}",
                    decode::frame::FRAME_BYTES_MAX
                ),
            ),
        },
    })
}

fn ended(end: u64, digest: String, error: &Error) -> RangeEnd {
    RangeEnd {
        end,
        digest,
        waiting_bytes: 0,
        ended_early: Some(error.to_chain()),
    }
}

/// Decides about the bytes behind the last whole frame: a whole JSON value counts; a broken one of a
/// file that may grow waits; one of a file that is complete is a record that cannot be decoded.
fn finish_range(
    object: &ListedObject,
    mut framer: Framer,
    failure: Option<ReadError>,
    may_go_on: bool,
    send: &mut dyn FnMut(Read) -> bool,
) {
    let tail = framer.finish(&mut |f| {
        send_framed(f, send);
    });
    let (ended_early, damage) = match failure {
        None => (None, None),
        Some(ReadError::Io(e)) => (Some(format!("cannot read {}: {e}", object.uri)), None),
        Some(ReadError::Changed) => (
            Some("the object was replaced since it was listed; run again".to_owned()),
            None,
        ),
        Some(ReadError::Damaged(e)) => (
            Some(format!("the compressed stream is damaged or cut off: {e}")),
            Some(Reject::new(Reason::DamagedCompression, e)),
        ),
        Some(ReadError::Bomb) => (
            Some("the stream expands more than a thousandfold".to_owned()),
            Some(Reject::new(
                Reason::DecompressionBomb,
                "expands more than a thousandfold",
            )),
        ),
    };
    let mut waiting_bytes = 0;
    if let Some(reject) = damage {
        let (offset, bytes) = tail.map_or((framer.offset(), Vec::new()), |t| (t.offset, t.bytes));
        let length = bytes.len() as u64;
        send(Read::Reject {
            offset,
            length,
            bytes,
            reject,
        });
    } else if let Some(tail) = tail {
        let is_whole =
            serde_json::from_slice::<serde::de::IgnoredAny>(decode::frame::skip_bom(&tail.bytes))
                .is_ok();
        if is_whole || (!may_go_on && ended_early.is_none()) {
            framer.accept(&tail);
            send(Read::Chunk(tail));
        } else {
            waiting_bytes = tail.bytes.len() as u64;
        }
    }
    let end = framer.offset();
    send(Read::End(RangeEnd {
        end,
        digest: framer.digest(),
        waiting_bytes,
        ended_early,
    }));
}

/// Decodes one chunk into rows.
fn decode(context: &DecodeContext, index: RangeIndex, read: Read) -> Decoded {
    let mut decoded = Decoded {
        range: index,
        rows: None,
        marks: Vec::new(),
        partitions: Vec::new(),
        rejected: Vec::new(),
        content_bytes: 0,
        end: None,
    };
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
        Read::Chunk(chunk) => {
            decoded.content_bytes = chunk.bytes.len() as u64;
            decode_chunk(context, &chunk, &mut decoded);
        }
    }
    decoded
}

fn decode_chunk(context: &DecodeContext, chunk: &Chunk, decoded: &mut Decoded) {
    let range = &context.ranges[decoded.range];
    let mut rows = Rows::new(TableName::Audit);
    let mut placer = Placer::new(range);
    let mut scratch = Vec::new();
    for (offset, frame) in chunk.frames() {
        decode::decode_frame(frame, &mut |record| match record {
            Record::Audit(record, length) if !context.format.takes(record.format) => {
                let detail = format!("a record of format {}", record.format.as_str());
                let reject = Reject::new(Reason::UnexpectedFormat, detail);
                let kept = &frame[..frame.len().min(length)];
                decoded.rejected.push(rejected_record(
                    context,
                    offset,
                    length as u64,
                    kept,
                    reject,
                ));
            }
            Record::Audit(mut record, length) => {
                let mark = placer.mark(&record, &mut scratch);
                let lengths = Lengths {
                    record: length,
                    request_object: record.event.request_object.as_ref().map(|b| b.len()),
                    response_object: record.event.response_object.as_ref().map(|b| b.len()),
                };
                if let Some(redactor) = &context.redactor {
                    redactor.redact(&mut record.event);
                }
                let source_offset = i64::try_from(offset).unwrap_or(i64::MAX);
                let origin = Origin {
                    source_uri: &range.object_uri,
                    source_offset,
                };
                push_audit_row(&mut rows, &record, origin, lengths);
                decoded.marks.push(mark);
            }
            Record::Line(_) | Record::Inventory(..) | Record::Dropped(_) => {}
            Record::Rejected(reject, bytes) => {
                let length = bytes.len() as u64;
                decoded
                    .rejected
                    .push(rejected_record(context, offset, length, bytes, reject));
            }
        });
    }
    decoded.partitions = placer.partitions;
    decoded.rows = (!rows.is_empty()).then(|| rows.finish());
}

/// Finds the partition of each row; a chunk has one or two, so a list is faster than a map.
struct Placer {
    given: Option<ClusterName>,
    default: ClusterName,
    partitions: Vec<Partition>,
}

impl Placer {
    fn new(range: &RangeRecord) -> Self {
        let given = range
            .cluster
            .as_deref()
            .and_then(|c| ClusterName::parse(c).ok());
        Self {
            given,
            default: ClusterName::default(),
            partitions: Vec::new(),
        }
    }

    fn mark(&mut self, record: &AuditRecord<'_>, scratch: &mut Vec<u8>) -> RowMark {
        let told = || {
            record
                .envelope
                .cluster
                .as_deref()
                .and_then(|c| ClusterName::parse(c).ok())
        };
        let cluster = self
            .given
            .clone()
            .or_else(told)
            .unwrap_or_else(|| self.default.clone());
        let event = &record.event;
        let fingerprint = Identity::of(cluster.as_str(), event).fingerprint(scratch);
        let partition = Partition {
            cluster,
            day: event.stage_timestamp.utc_day(),
        };
        let index = self
            .partitions
            .iter()
            .position(|p| *p == partition)
            .unwrap_or_else(|| {
                self.partitions.push(partition);
                self.partitions.len() - 1
            });
        RowMark {
            partition: u32::try_from(index).unwrap_or(u32::MAX),
            time: event.stage_timestamp,
            fingerprint,
            copy: if event.is_incomplete() {
                Copy::Incomplete
            } else {
                Copy::Complete
            },
        }
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
