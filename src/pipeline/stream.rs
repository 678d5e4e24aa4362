//! The first two stages: objects are read and framed on one blocking thread, chunks are decoded on
//! as many as there are cores, and come out in the order in which they were read.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use futures::{Stream, StreamExt as _};
use tokio::{sync::mpsc, task::JoinError};

use crate::{
    commit::ledger::{RangeRecord, unsigned},
    decode::{
        self,
        frame::{Chunk, Framed, Framer, Framing, Pool},
        reject::{Reason, Reject},
    },
    error::Error,
    pipeline::{
        SourceSettings,
        rows::{ContentKind, DecodeContext, Decoded, decode},
    },
    source::{
        ListedObject,
        read::{ContentReader, ReadError},
    },
};

/// Chunks that wait between reader and decoders.
const CHUNKS_WAITING_MAX: usize = 2;

/// Bytes at the beginning of an object that tell what it holds.
const HEAD_BYTES: usize = 64 << 10;

/// Index of a range within its batch.
pub(crate) type RangeIndex = usize;

/// What the reader hands on.
#[derive(Debug)]
pub(crate) enum Read {
    Chunk(Chunk, Arc<ContentKind>),
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

/// Reads and decodes the ranges of a batch, in order.
pub(crate) fn decode_ranges(
    context: Arc<DecodeContext>,
    objects: HashMap<String, ListedObject>,
    threads: usize,
) -> impl Stream<Item = Result<Decoded, JoinError>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let reading = Arc::clone(&context);
    let reader = tokio::task::spawn_blocking(move || {
        let pool = Pool::default();
        for (index, range) in reading.ranges.iter().enumerate() {
            if let Some(object) = objects.get(&range.object_uri) {
                let mut send = |read| sender.blocking_send((index, read)).is_ok();
                let how = How {
                    settings: &reading.settings,
                    pool: &pool,
                };
                read_range(object, range, how, &mut send);
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
        .buffered(threads + 1);
    // A reader that panics must not look like the end of the input.
    let ending = futures::stream::once(reader).filter_map(|ended| async { ended.err().map(Err) });
    decoded.chain(ending)
}

/// The first bytes of a content, at most [`HEAD_BYTES`], and why they are not all.
fn read_head(reader: &mut ContentReader) -> (Vec<u8>, Option<ReadError>) {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    let mut failure = None;
    while filled < head.len() && failure.is_none() {
        match reader.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) => failure = Some(e),
        }
    }
    head.truncate(filled);
    (head, failure)
}

/// How the ranges of a batch are read.
#[derive(Clone, Copy)]
struct How<'h> {
    settings: &'h SourceSettings,
    pool: &'h Pool,
}

/// Reads one range; stops early if nobody listens any more.
fn read_range(
    object: &ListedObject,
    range: &RangeRecord,
    how: How<'_>,
    send: &mut dyn FnMut(Read) -> bool,
) {
    let start = unsigned(range.range_start);
    let size = range
        .range_end
        .map_or(unsigned(range.object_size), unsigned);
    let digest = range.head_digest.as_str();
    let opened = ContentReader::open(object, size, range.compression(), start, Some(digest));
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(e) => {
            send(Read::End(ended(start, String::new(), &e)));
            return;
        }
    };
    let (head, mut failure) = read_head(&mut reader);
    let beginning = match start {
        0 => Cow::Borrowed(&head),
        _ => match ContentReader::open(object, size, range.compression(), 0, Some(digest)) {
            Ok(mut reader) => Cow::Owned(read_head(&mut reader).0),
            Err(_) => Cow::Borrowed(&head),
        },
    };
    let kind = Arc::new(ContentKind::of(object, &beginning, how.settings));
    // What tells how frames end is the beginning of the object; a pretty-printed one that goes on
    // does so at a line.
    let framing = match (kind.text, start, Framing::sniff(&beginning)) {
        (Some(_), _, _) | (None, 1.., Framing::Documents) => Framing::Lines,
        (None, _, framing) => framing,
    };
    let mut framer = Framer::new(framing, start, how.pool);
    let mut listening = true;
    framer.push(&head, &mut |f| listening &= send_framed(f, &kind, send));
    while listening && failure.is_none() {
        match reader.read(framer.space()) {
            Ok(0) => break,
            Ok(n) => framer.filled(n, &mut |f| listening &= send_framed(f, &kind, send)),
            Err(e) => failure = Some(e),
        }
    }
    if listening {
        finish_range(object, framer, failure, is_cut(object, range), &kind, send);
    }
}

/// True if the range ends before its object does, so that the last record may go on behind it.
fn is_cut(object: &ListedObject, range: &RangeRecord) -> bool {
    object.place.may_grow() && range.compression() == crate::source::Compression::None
        || range
            .range_end
            .is_some_and(|end| unsigned(end) < object.size)
}

fn send_framed(
    framed: Framed,
    kind: &Arc<ContentKind>,
    send: &mut dyn FnMut(Read) -> bool,
) -> bool {
    send(match framed {
        Framed::Chunk(chunk) => Read::Chunk(chunk, Arc::clone(kind)),
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
    kind: &Arc<ContentKind>,
    send: &mut dyn FnMut(Read) -> bool,
) {
    let tail = framer.finish(&mut |f| {
        send_framed(f, kind, send);
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
        let (offset, bytes) = tail.map_or((framer.offset(), Vec::new()), |t| {
            (t.offset, t.bytes.to_vec())
        });
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
            send(Read::Chunk(tail, Arc::clone(kind)));
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
