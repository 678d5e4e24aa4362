//! What is new: listed objects against the ledger, into a batch of pinned ranges.
//!
//! An object whose version is known is not opened. A known content goes on where it ended, whatever
//! the object is called now: rotated, renamed or compressed.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use deltalake_core::DeltaTable;

use crate::{
    clock,
    commit::{
        ledger::{BatchState, Content, Ledger, RangeRecord, signed, stage_records, unsigned},
        publish::{Publication, TransactionMark, publish},
    },
    decode::frame::skip_bom,
    error::{Error, ErrorKind, Result},
    layout::columns::TableName,
    pipeline::{Run, Source},
    source::{
        Compression, ListedObject, Place,
        list::{Listing, object_of},
        read::{ContentReader, head},
    },
};

/// All planning conflicts with all planning, so that a range is planned once.
const PLAN_APP_ID: &str = "plan";

/// Bytes of content that tell one content from another.
const HEAD_BYTES: usize = 64 << 10;
/// A first line shorter than this tells nothing (`{`), so the lines after it are taken as well.
const HEAD_LINE_BYTES_MIN: usize = 64;
const HEAD_FALLBACK_BYTES: usize = 4 << 10;

/// Compressed audit logs expand about so much; only used to size batches.
const EXPANSION_GUESS: u64 = 15;

/// Objects that are not part of any batch, and why.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    /// Objects without anything new.
    pub(crate) unchanged: u64,
    /// Bytes of half-written records in them.
    pub(crate) waiting_bytes: u64,
    /// Objects that could not be read.
    pub(crate) failures: Vec<(String, Error)>,
}

/// The first open batch that holds an object of the listing, or is of its source.
pub(crate) fn open_batch_of<'l>(
    ledger: &'l Ledger,
    listing: &Listing,
) -> Option<&'l [RangeRecord]> {
    let listed = |uri: &str| {
        listing
            .objects
            .binary_search_by(|o| o.uri.as_str().cmp(uri))
            .is_ok()
    };
    let open = ledger.open_batches();
    let found = open.iter().find(|ranges| {
        ranges
            .iter()
            .any(|r| r.source == listing.source || listed(&r.object_uri))
    })?;
    // Batches of a source are done in order, so its first open one goes first.
    let source = found.first().map(|r| r.source.clone())?;
    open.iter()
        .find(|r| r.first().is_some_and(|r| r.source == source))
        .map(Vec::as_slice)
}

/// The objects of pinned ranges, by URI: as listed, or looked up again.
pub(crate) fn objects_of(
    ranges: &[RangeRecord],
    listing: &Listing,
) -> HashMap<String, ListedObject> {
    let mut objects = HashMap::new();
    for range in ranges {
        let listed = listing
            .objects
            .binary_search_by(|o| o.uri.cmp(&range.object_uri));
        let object = match listed {
            Ok(i) => Some(listing.objects[i].clone()),
            Err(_) => lookup(&range.object_uri),
        };
        if let Some(object) = object {
            objects.insert(range.object_uri.clone(), object);
        }
    }
    objects
}

fn lookup(uri: &str) -> Option<ListedObject> {
    let path = url::Url::parse(uri).ok()?.to_file_path().ok()?;
    object_of(&path, &std::fs::metadata(&path).ok()?).ok()
}

/// True if every pinned range can be read again: its object still begins with the same line and is
/// not shorter.
pub(crate) fn can_be_redone(
    ranges: &[RangeRecord],
    objects: &HashMap<String, ListedObject>,
) -> bool {
    ranges.iter().all(|range| {
        objects.get(&range.object_uri).is_some_and(|object| {
            let unchanged = object.version == range.object_version;
            let grown = range.compression() == Compression::None
                && object.size >= unsigned(range.object_size)
                && sniff(object.place.path())
                    .is_ok_and(|s| s.is_some_and(|s| s.head_digest == range.head_digest));
            unchanged || grown
        })
    })
}

/// What the first bytes of an object tell.
struct Sniffed {
    compression: Compression,
    head_digest: String,
}

/// `None` if there is no content yet.
fn sniff(path: &Path) -> Result<Option<Sniffed>> {
    let compression = Compression::sniff(&head(path, 4)?);
    let mut reader = ContentReader::open(path, u64::MAX, compression, 0)?;
    let mut content = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while filled < content.len() {
        match reader.read(&mut content[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(n) => filled += n,
        }
    }
    content.truncate(filled);
    let text = skip_bom(&content);
    if text.trim_ascii().is_empty() && compression == Compression::None {
        return Ok(None);
    }
    let after = text.get(HEAD_LINE_BYTES_MIN..).unwrap_or_default();
    let identifying = match memchr::memchr(b'\n', after) {
        Some(end) => &text[..HEAD_LINE_BYTES_MIN + end],
        None => &text[..text.len().min(HEAD_FALLBACK_BYTES)],
    };
    let head_digest = blake3::hash(identifying).to_hex().to_string();
    Ok(Some(Sniffed {
        compression,
        head_digest,
    }))
}

/// Ranges that this run has done, by object and first byte.
pub(crate) type Done = HashSet<(String, i64)>;

/// Pins what is new, up to the size of a batch, in the order of the listing.
pub(crate) fn plan(
    run: &Run,
    ledger: &Ledger,
    source: &Source,
    done: &Done,
    skipped: &mut Skipped,
) -> Result<Vec<RangeRecord>> {
    let Source { listing, settings } = source;
    *skipped = Skipped::default();
    let cluster = settings.cluster.as_ref().map(|c| c.as_str().to_owned());
    let planned_at = clock::now().timestamp_micros();
    let mut budget = run.options.batch_bytes;
    let mut planned = Vec::new();
    for object in &listing.objects {
        if budget == 0 {
            break;
        }
        if let Some(known) = ledger.object(cluster.as_deref(), &object.uri)
            && known.version == object.version
        {
            skipped.unchanged += 1;
            skipped.waiting_bytes += known.waiting_bytes;
            continue;
        }
        let sniffed = match sniff(object.place.path()) {
            Ok(Some(sniffed)) => sniffed,
            Ok(None) => {
                skipped.unchanged += 1;
                continue;
            }
            Err(e) => {
                skipped.failures.push((object.uri.clone(), e));
                continue;
            }
        };
        let key = (cluster.clone(), sniffed.head_digest.clone());
        let known = resume_offset(object, sniffed.compression, ledger.contents(&key));
        let (start, head_digest) = match known {
            0 => outgrown_head(object, &sniffed, ledger, cluster.as_deref()),
            start => (start, sniffed.head_digest.clone()),
        };
        if done.contains(&(object.uri.clone(), signed(start))) {
            continue;
        }
        let (range_end, weight) = match sniffed.compression {
            Compression::None => {
                let end = object
                    .size
                    .min(start.saturating_add(run.options.batch_bytes));
                (Some(end), end.saturating_sub(start))
            }
            _ => (None, object.size.saturating_mul(EXPANSION_GUESS)),
        };
        budget = budget.saturating_sub(weight.max(1));
        planned.push(RangeRecord {
            source: listing.source.clone(),
            batch: ledger.next_batch(&listing.source),
            state: BatchState::Planned,
            recorded_at: planned_at,
            planned_at,
            object_uri: object.uri.clone(),
            object_version: object.version.clone(),
            object_size: signed(object.size),
            cluster: cluster.clone(),
            compression: sniffed.compression.as_str().to_owned(),
            head_digest,
            range_start: signed(start),
            range_end: range_end.map(signed),
            range_digest: None,
            records: 0,
            rows: 0,
            duplicates: 0,
            rejected: 0,
            waiting_bytes: 0,
            ended_early: None,
            redaction: settings.redaction.label(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            first_rows_file: None,
            filtered: 0,
            continuations: 0,
        });
    }
    Ok(planned)
}

/// Where a known content goes on; 0 for a new one. A plain file under its own name is trusted to
/// have been appended to; any other copy is proven by the digests of its ranges.
fn resume_offset(object: &ListedObject, compression: Compression, contents: &[Content]) -> u64 {
    let own = contents
        .iter()
        .rev()
        .find(|c| c.objects.contains(&object.uri));
    if compression == Compression::None
        && let Some(content) = own
        && content.end <= object.size
    {
        return content.end;
    }
    let proven = contents
        .iter()
        .filter(|c| is_proven(object, compression, c));
    proven.map(|c| c.end).max().unwrap_or(0)
}

/// A file of a few short lines has no stable beginning while it grows: its old content is found by
/// its name, and proven.
fn outgrown_head(
    object: &ListedObject,
    sniffed: &Sniffed,
    ledger: &Ledger,
    cluster: Option<&str>,
) -> (u64, String) {
    let small = ledger
        .contents_of(cluster, &object.uri)
        .filter(|(_, c)| c.end <= HEAD_BYTES as u64);
    let proven = small.filter(|(_, c)| c.end > 0 && is_proven(object, sniffed.compression, c));
    let longest = proven
        .max_by_key(|(_, c)| c.end)
        .map(|(head, c)| (c.end, head.to_owned()));
    longest.unwrap_or((0, sniffed.head_digest.clone()))
}

fn is_proven(object: &ListedObject, compression: Compression, content: &Content) -> bool {
    let Ok(mut reader) = ContentReader::open(object.place.path(), object.size, compression, 0)
    else {
        return false;
    };
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    for (end, digest) in &content.ranges {
        let mut hasher = blake3::Hasher::new();
        while at < *end {
            let want = buffer
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            match reader.read(&mut buffer[..want]) {
                Ok(0) | Err(_) => return false,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    at += n as u64;
                }
            }
        }
        if hasher.finalize().to_hex().as_str() != digest {
            return false;
        }
    }
    true
}

/// Commits a plan to the ledger. If another planner was faster nothing is written; either way the
/// ledger then tells what is open, and only what stands there is run.
pub(crate) async fn pin(run: &Run, table: &DeltaTable, planned: &[RangeRecord]) -> Result<()> {
    let version = table
        .version()
        .map_or(0, |v| i64::try_from(v).unwrap_or(i64::MAX));
    let publication = Publication {
        table: TableName::Ledger,
        mark: TransactionMark {
            app_id: PLAN_APP_ID.to_owned(),
            version: version + 1,
        },
        mutexes: Vec::new(),
        files: stage_records(table, planned).await?,
        metadata: Vec::new(),
    };
    publish(&run.archive, table, publication).await?;
    Ok(())
}

/// The object of a stream that was copied to a file.
///
/// # Errors
/// Errors of the file system.
pub fn spooled(path: &Path, uri: String) -> Result<ListedObject> {
    let metadata = std::fs::metadata(path).map_err(|e| {
        Error::new(
            ErrorKind::Unavailable,
            format!("cannot read {}", path.display()),
        )
        .because(e)
    })?;
    Ok(ListedObject {
        version: uri.clone(),
        uri,
        place: Place::Spool(path.to_path_buf()),
        size: metadata.len(),
    })
}
