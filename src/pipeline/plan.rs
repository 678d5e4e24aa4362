//! What is new: listed objects against the ledger, into a batch of pinned ranges.
//!
//! An object whose version is known is not opened. A known content goes on where it ended, whatever
//! the object is called now: rotated, renamed or compressed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
};

use deltalake_core::DeltaTable;
use futures::StreamExt as _;

use crate::{
    clock,
    commit::{
        ledger::{BatchState, Content, Ledger, RangeRecord, signed, stage_records, unsigned},
        publish::{Publication, TransactionMark, publish},
    },
    error::{Error, ErrorKind, Result},
    layout::columns::TableName,
    pipeline::{Run, Source},
    source::{
        Compression, ListedObject, Place,
        list::{Listing, object_of},
        read::{ContentReader, HEAD_BYTES, Sniffed, sniff},
    },
};

/// All planning conflicts with all planning, so that a range is planned once.
const PLAN_APP_ID: &str = "plan";

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
pub(crate) async fn objects_of(
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
            Err(_) => lookup(&range.object_uri, listing).await,
        };
        if let Some(object) = object {
            objects.insert(range.object_uri.clone(), object);
        }
    }
    objects
}

async fn lookup(uri: &str, listing: &Listing) -> Option<ListedObject> {
    if let Some(remote) = listing.remote.as_ref().filter(|r| r.holds(uri)) {
        return remote.lookup(uri).await.ok();
    }
    let path = url::Url::parse(uri).ok()?.to_file_path().ok()?;
    object_of(&path, &std::fs::metadata(&path).ok()?).ok()
}

/// True if every pinned range can be read again: its object still begins with the same line and is
/// not shorter.
pub(crate) async fn can_be_redone(
    ranges: &[RangeRecord],
    objects: &HashMap<String, ListedObject>,
) -> bool {
    for range in ranges {
        let Some(object) = objects.get(&range.object_uri) else {
            return false;
        };
        if object.version == range.object_version {
            continue;
        }
        let may_have_grown =
            range.compression() == Compression::None && object.size >= unsigned(range.object_size);
        let sniffed = match may_have_grown {
            true => sniff_blocking(object.clone()).await,
            false => return false,
        };
        if !sniffed.is_ok_and(|s| s.is_some_and(|s| s.head_digest == range.head_digest)) {
            return false;
        }
    }
    true
}

/// Objects looked at side by side, and looked at before the size of the batch is known.
const SNIFFS_AT_ONCE: usize = 16;
const SNIFFS_AHEAD: usize = 64;

/// Looks at the beginning of an object.
///
/// # Errors
/// Errors of its store.
pub(crate) async fn sniff_blocking(object: ListedObject) -> Result<Option<Sniffed>> {
    match tokio::task::spawn_blocking(move || sniff(&object)).await {
        Ok(sniffed) => sniffed,
        Err(e) => Err(Error::new(ErrorKind::Bug, "the reader broke").because(e)),
    }
}

/// Ranges that this run has done, by object and first byte.
pub(crate) type Done = HashSet<(String, i64)>;

/// Pins what is new, up to the size of a batch, in the order of the listing.
pub(crate) async fn plan(
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
    let mut objects = listing.objects.iter();
    let mut ahead = VecDeque::new();
    while budget > 0 {
        if ahead.is_empty() {
            let mut unknown = Vec::new();
            for object in objects.by_ref() {
                match ledger.object(cluster.as_deref(), &object.uri) {
                    Some(known) if known.version == object.version => {
                        skipped.unchanged += 1;
                        skipped.waiting_bytes += known.waiting_bytes;
                    }
                    _ => unknown.push(object),
                }
                if unknown.len() == SNIFFS_AHEAD {
                    break;
                }
            }
            let sniffs: Vec<_> = unknown
                .iter()
                .map(|object| sniff_blocking((*object).clone()))
                .collect();
            let sniffed: Vec<_> = futures::stream::iter(sniffs)
                .buffered(SNIFFS_AT_ONCE)
                .collect()
                .await;
            ahead.extend(unknown.into_iter().zip(sniffed));
        }
        let Some((object, sniffed)) = ahead.pop_front() else {
            break;
        };
        let sniffed = match sniffed {
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
        let (start, head_digest) =
            where_it_goes_on(object, &sniffed, ledger, cluster.as_deref()).await;
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

/// Where the content of an object goes on, and the digest it is known by.
pub(crate) async fn where_it_goes_on(
    object: &ListedObject,
    sniffed: &Sniffed,
    ledger: &Ledger,
    cluster: Option<&str>,
) -> (u64, String) {
    let key = (cluster.map(str::to_owned), sniffed.head_digest.clone());
    match resume_offset(object, sniffed.compression, ledger.contents(&key)).await {
        0 => outgrown_head(object, sniffed, ledger, cluster).await,
        start => (start, sniffed.head_digest.clone()),
    }
}

/// Where a known content goes on; 0 for a new one. A plain file under its own name is trusted to
/// have been appended to; any other copy is proven by the digests of its ranges.
async fn resume_offset(
    object: &ListedObject,
    compression: Compression,
    contents: &[Content],
) -> u64 {
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
    let mut longest = 0;
    for content in contents {
        if content.end > longest && is_proven_blocking(object, compression, content).await {
            longest = content.end;
        }
    }
    longest
}

/// A file of a few short lines has no stable beginning while it grows: its old content is found by
/// its name, and proven.
async fn outgrown_head(
    object: &ListedObject,
    sniffed: &Sniffed,
    ledger: &Ledger,
    cluster: Option<&str>,
) -> (u64, String) {
    let mut longest = (0, sniffed.head_digest.clone());
    for (head, content) in ledger.contents_of(cluster, &object.uri) {
        let is_small = content.end <= HEAD_BYTES as u64;
        if is_small
            && content.end > longest.0
            && is_proven_blocking(object, sniffed.compression, content).await
        {
            longest = (content.end, head.to_owned());
        }
    }
    longest
}

async fn is_proven_blocking(
    object: &ListedObject,
    compression: Compression,
    content: &Content,
) -> bool {
    let (object, content) = (object.clone(), content.clone());
    let proven = tokio::task::spawn_blocking(move || is_proven(&object, compression, &content));
    proven.await.unwrap_or(false)
}

fn is_proven(object: &ListedObject, compression: Compression, content: &Content) -> bool {
    let Ok(mut reader) = ContentReader::open(object, object.size, compression, 0, None) else {
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
        modified: None,
    })
}
