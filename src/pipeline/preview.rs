//! What an ingest would read, without reading it: every listed object against the ledger, and what
//! its beginning tells it to be. Nothing is written.

use std::{borrow::Cow, fmt};

use crate::{
    commit::ledger::Ledger,
    decode::{
        self, Record,
        frame::{Framed, Framer, Framing, Pool},
    },
    error::Result,
    pipeline::{
        Source, SourceSettings,
        horizon::Known,
        plan::{sniff_blocking, where_it_goes_on},
        rows::ContentKind,
    },
    source::{
        ListedObject,
        read::{ContentReader, HEAD_BYTES, Sniffed},
    },
};

/// What would become of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It would be read from this byte of its content on.
    Read {
        /// First byte that is new, decompressed.
        from: u64,
    },
    /// Nothing of it is new.
    Unchanged,
    /// It has no content.
    Empty,
    /// It cannot be read, and why.
    Unreadable(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { from: 0 } => f.write_str("read"),
            Self::Read { from } => write!(f, "read from byte {from} on"),
            Self::Unchanged => f.write_str("skip: nothing new"),
            Self::Empty => f.write_str("skip: empty"),
            Self::Unreadable(why) => write!(f, "cannot read: {why}"),
        }
    }
}

/// One object of a listing.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The object.
    pub uri: String,
    /// Size as stored, bytes.
    pub size: u64,
    /// What its beginning tells it to be: the format of its first record.
    pub content: Cow<'static, str>,
    /// How it is compressed.
    pub compression: &'static str,
    /// What would become of it.
    pub fate: Fate,
}

impl Preview {
    /// Bytes that would be read of it, as stored.
    pub fn new_bytes(&self) -> u64 {
        match self.fate {
            Fate::Read { from } if self.compression == "none" => self.size.saturating_sub(from),
            Fate::Read { .. } => self.size,
            _ => 0,
        }
    }
}

/// Looks at every object of the sources, against what is known.
///
/// # Errors
/// Errors of the archive's store.
pub async fn preview(known: Option<&Known>, sources: &[Source]) -> Result<Vec<Preview>> {
    let nothing = Ledger::default();
    let ledger = known.map_or(&nothing, Known::ledger);
    let mut previews = Vec::new();
    for source in sources {
        for object in &source.listing.objects {
            previews.push(preview_object(object, &source.settings, ledger).await);
        }
        for (uri, e) in &source.listing.failures {
            previews.push(Preview {
                uri: uri.clone(),
                size: 0,
                content: Cow::Borrowed("unknown"),
                compression: "none",
                fate: Fate::Unreadable(e.to_chain()),
            });
        }
    }
    Ok(previews)
}

async fn preview_object(
    object: &ListedObject,
    settings: &SourceSettings,
    ledger: &Ledger,
) -> Preview {
    let cluster = settings.cluster.as_ref().map(|c| c.as_str());
    let mut preview = Preview {
        uri: object.uri.clone(),
        size: object.size,
        content: Cow::Borrowed("-"),
        compression: "none",
        fate: Fate::Unchanged,
    };
    let known = ledger.object(cluster, &object.uri);
    if known.is_some_and(|k| k.version == object.version) {
        return preview;
    }
    let sniffed = match sniff_blocking(object.clone()).await {
        Ok(Some(sniffed)) => sniffed,
        Ok(None) => {
            preview.fate = Fate::Empty;
            return preview;
        }
        Err(e) => {
            preview.fate = Fate::Unreadable(e.to_chain());
            return preview;
        }
    };
    preview.compression = sniffed.compression.as_str();
    let (from, _) = where_it_goes_on(object, &sniffed, ledger, cluster).await;
    preview.fate = if from > 0 && from >= object.size && preview.compression == "none" {
        Fate::Unchanged
    } else {
        Fate::Read { from }
    };
    let (object, settings) = (object.clone(), settings.clone());
    let told = tokio::task::spawn_blocking(move || content_of(&object, &sniffed, &settings)).await;
    preview.content = told.unwrap_or(Cow::Borrowed("unknown"));
    preview
}

/// What the first record of an object is.
fn content_of(
    object: &ListedObject,
    sniffed: &Sniffed,
    settings: &SourceSettings,
) -> Cow<'static, str> {
    let reader = ContentReader::open(object, object.size, sniffed.compression, 0, None);
    let Ok(mut reader) = reader else {
        return Cow::Borrowed("unreadable");
    };
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        match reader.read(&mut head[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(n) => filled += n,
        }
    }
    head.truncate(filled);
    let kind = ContentKind::of(object, &head, settings);
    if kind.text.is_some() {
        return Cow::Borrowed("component log");
    }
    let mut framer = Framer::new(Framing::sniff(&head), 0, &Pool::default());
    let mut chunks = Vec::new();
    framer.push(&head, &mut |f| chunks.push(f));
    let tail = framer.finish(&mut |f| chunks.push(f));
    let chunks = chunks.iter().filter_map(|f| match f {
        Framed::Chunk(chunk) => Some(chunk),
        Framed::Oversize { .. } => None,
    });
    let mut told = None;
    for (_, frame) in chunks.chain(&tail).flat_map(|c| c.frames()).take(1) {
        decode::decode_frame_of(frame, kind.records(), &mut |record| {
            told.get_or_insert_with(|| name_of(&record));
        });
    }
    told.unwrap_or(Cow::Borrowed("unknown"))
}

fn name_of(record: &Record<'_>) -> Cow<'static, str> {
    match record {
        Record::Audit(record, _) => Cow::Borrowed(record.format.as_str()),
        Record::Line(line) => Cow::Owned(format!("lines ({})", line.origin.wrapper.as_str())),
        Record::Inventory(row, _) => Cow::Owned(row.table.to_string()),
        Record::Dropped(reason) => Cow::Borrowed(reason.as_str()),
        Record::Rejected(reject, _) => Cow::Owned(format!("no log: {}", reject.reason.as_str())),
    }
}
