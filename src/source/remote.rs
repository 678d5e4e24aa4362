//! Objects of a store as sources: a bucket that is read from, and the bytes of one object as a
//! blocking stream, read in ranges, of which the next is fetched while one is decoded.
//!
//! Every range is pinned to one version of the object (`If-Match`). An append blob gets a new etag
//! with every append, so when the version is gone, the new one is taken if it is no shorter than
//! planned and its beginning proves that it is the same content; else the object has changed, and
//! the next run looks at it again.

use std::{
    fmt, io,
    io::Read,
    ops::Range,
    sync::{Arc, mpsc},
    time::Duration,
};

use futures::TryStreamExt as _;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path,
};
use tokio::runtime::Handle;

use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    source::ListedObject,
    store::{
        Limits, Opened, Purpose, StoreSettings,
        address::{Address, Provider, decode},
        failure::is_passing,
        open,
    },
};

/// Tries of one range without a single new byte.
const TRIES_MAX: u32 = 4;

/// A bucket or container that is read from.
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    /// What the URIs of its objects begin with.
    base: String,
    address: Address,
    limits: Limits,
    runtime: Handle,
    /// The etags of services are quoted in headers, whatever a listing does.
    quotes: bool,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base
    }
}
impl Eq for Remote {}

impl Remote {
    /// Opens the bucket of an address. Must be called on a runtime, which then does the fetching.
    ///
    /// # Errors
    /// `Usage` for wrong settings.
    pub fn open(address: &Address, settings: &StoreSettings) -> Result<Arc<Self>> {
        let Opened { store, address } = open(address, settings, Purpose::Source)?;
        Ok(Arc::new(Self {
            store,
            base: address.base(),
            limits: settings.limits.clone(),
            runtime: Handle::current(),
            quotes: true,
            address,
        }))
    }

    /// The same over a store that is given, whose etags are taken as they are.
    pub fn with_store(address: &Address, store: Arc<dyn ObjectStore>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            store,
            base: address.base(),
            address: address.clone(),
            limits,
            runtime: Handle::current(),
            quotes: false,
        })
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The address with which it was opened, with its account.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// True if a listing may begin at any name; Azure's service can, its emulator cannot.
    pub(crate) fn can_skip(&self) -> bool {
        self.address.provider == Provider::S3
    }

    /// True if its objects may be appended to: Azure has append blobs, S3 has whole objects only.
    pub(crate) fn may_grow(&self) -> bool {
        self.address.provider == Provider::Azure
    }

    /// True if a URI names an object of this bucket.
    pub(crate) fn holds(&self, uri: &str) -> bool {
        uri.starts_with(&self.base)
    }

    fn path_of(&self, uri: &str) -> Result<Path> {
        let key = uri.strip_prefix(&self.base).unwrap_or(uri);
        Path::parse(decode(key))
            .map_err(|e| Error::new(ErrorKind::Usage, format!("cannot read {uri}")).because(e))
    }

    /// An object as a listing or a HEAD tells it.
    pub(crate) fn object_of(self: &Arc<Self>, meta: &ObjectMeta) -> ListedObject {
        let mut uri = self.address.uri_of(meta.location.as_ref());
        uri.shrink_to_fit();
        ListedObject {
            uri,
            place: super::Place::Object(Arc::clone(self)),
            size: meta.size,
            version: version_of(meta),
            modified: Some(meta.last_modified),
        }
    }

    /// Looks an object up again.
    ///
    /// # Errors
    /// `Missing` if it is gone, and the errors of the store.
    pub(crate) async fn lookup(self: &Arc<Self>, uri: &str) -> Result<ListedObject> {
        let path = self.path_of(uri)?;
        let meta = self
            .store
            .head(&path)
            .await
            .context(format!("cannot read {uri}"))?;
        Ok(self.object_of(&meta))
    }

    fn if_match(&self, etag: &str) -> String {
        if self.quotes && !etag.starts_with("W/") {
            format!("\"{etag}\"")
        } else {
            etag.to_owned()
        }
    }

    /// The first bytes of an object as it is now, in one request.
    pub(crate) fn head(self: &Arc<Self>, uri: &str, limit: u64) -> Result<Vec<u8>> {
        let path = self.path_of(uri)?;
        let remote = Arc::clone(self);
        let fetched = self.wait(async move { remote.fetch(&path, 0..limit, None).await });
        match fetched {
            Ok(block) => Ok(block.bytes),
            Err(Fault::Store(e)) => Err(e).context(format!("cannot read {uri}")),
            Err(other) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("cannot read {uri}: {other}"),
            )),
        }
    }

    /// Runs on the runtime and blocks this thread for the answer.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        self.start(work).recv().unwrap_or(Err(Fault::Stopped))
    }

    fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Nobody listens any more if the reader was dropped.
            let _ = sender.send(work.await);
        });
        receiver
    }

    /// Reads a range, going on where the connection was lost. Fewer bytes come if the object ends.
    async fn fetch(
        &self,
        path: &Path,
        range: Range<u64>,
        etag: Option<String>,
    ) -> Result<Block, Fault> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut etag = etag;
        let mut tries = 0;
        let mut pause = self.limits.backoff;
        let mut progress = tokio::time::Instant::now();
        loop {
            let before = bytes.len();
            let failed = match self.fetch_rest(path, &range, &mut etag, &mut bytes).await {
                Ok(()) => return Ok(Block { bytes, etag }),
                Err(e) => e,
            };
            if bytes.len() > before {
                (tries, pause, progress) = (0, self.limits.backoff, tokio::time::Instant::now());
            }
            tries += 1;
            // The store has its own retries; when those took all the time, enough was tried.
            let is_over = tries >= TRIES_MAX || progress.elapsed() >= self.limits.retry_time;
            if is_over || !is_passing(&failed) {
                return Err(match failed {
                    object_store::Error::Precondition { .. } => Fault::OtherVersion,
                    other => Fault::Store(other),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2)
                .min(self.limits.backoff_max)
                .max(Duration::from_millis(1));
        }
    }

    async fn fetch_rest(
        &self,
        path: &Path,
        range: &Range<u64>,
        etag: &mut Option<String>,
        bytes: &mut Vec<u8>,
    ) -> object_store::Result<()> {
        let from = range.start + bytes.len() as u64;
        if from >= range.end {
            return Ok(());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(from..range.end)),
            if_match: etag.as_deref().map(|e| self.if_match(e)),
            ..GetOptions::default()
        };
        let got = self.store.get_opts(path, options).await?;
        if let Some(found) = &got.meta.e_tag {
            *etag = Some(bare(found).to_owned());
        }
        let expected = got.range.end.saturating_sub(got.range.start);
        let begun = bytes.len() as u64;
        let mut stream = got.into_stream();
        while let Some(part) = stream.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        if bytes.len() as u64 - begun < expected {
            return Err(object_store::Error::Generic {
                store: "source",
                source: "the answer was cut off".into(),
            });
        }
        Ok(())
    }
}

/// A block that is being fetched.
type Coming = mpsc::Receiver<Result<Block, Fault>>;

struct Block {
    bytes: Vec<u8>,
    etag: Option<String>,
}

/// Why a range could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("it has another version")]
    OtherVersion,
    #[error("it was replaced while it was read")]
    Changed,
    #[error("the run is ending")]
    Stopped,
}

/// Size and etag; without one, the time of the last change. The id of a version is in no listing.
fn version_of(meta: &ObjectMeta) -> String {
    let mut version = match &meta.e_tag {
        Some(etag) => format!("{:x}-{}", meta.size, bare(etag)),
        None => format!(
            "{:x}-@{:x}",
            meta.size,
            meta.last_modified.timestamp_micros()
        ),
    };
    version.shrink_to_fit();
    version
}

/// S3 quotes etags everywhere, Azure in headers only.
fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// The etag in a version that [`version_of`] made.
fn etag_of(version: &str) -> Option<&str> {
    let (_, etag) = version.split_once('-')?;
    (!etag.starts_with('@') && !etag.is_empty()).then_some(etag)
}

/// Says if the object, as it is now, still begins as it did.
pub(crate) type Proof = Box<dyn Fn(&ListedObject) -> bool + Send>;

/// The bytes of an object as a blocking stream.
pub(crate) struct RemoteReader {
    remote: Arc<Remote>,
    object: ListedObject,
    path: Path,
    /// Version that is read; none until the first block if any will do.
    etag: Option<String>,
    proof: Option<Proof>,
    /// Offset behind what was fetched or is being fetched.
    at: u64,
    end: u64,
    block: Vec<u8>,
    used: usize,
    is_broken: bool,
    coming: Option<(Range<u64>, Coming)>,
}

impl RemoteReader {
    /// Reads `range` of an object. With a proof, the version that was listed is read, or a later one
    /// that it holds for; without, whatever is there now.
    pub(crate) fn new(
        object: &ListedObject,
        remote: &Arc<Remote>,
        range: Range<u64>,
        proof: Option<Proof>,
    ) -> Result<Self> {
        let etag = proof.is_some().then(|| etag_of(&object.version)).flatten();
        let mut reader = Self {
            path: remote.path_of(&object.uri)?,
            remote: Arc::clone(remote),
            object: object.clone(),
            etag: etag.map(str::to_owned),
            proof,
            at: range.start,
            end: range.end,
            block: Vec::new(),
            used: 0,
            is_broken: false,
            coming: None,
        };
        reader.prefetch();
        Ok(reader)
    }

    /// Begins to fetch the next block.
    fn prefetch(&mut self) {
        if self.at >= self.end || self.coming.is_some() {
            return;
        }
        let range = self.at
            ..self
                .end
                .min(self.at + self.remote.limits.block_bytes.max(1));
        self.at = range.end;
        self.coming = Some((range.clone(), self.fetch(range)));
    }

    fn fetch(&self, range: Range<u64>) -> Coming {
        let (remote, path, etag) = (
            Arc::clone(&self.remote),
            self.path.clone(),
            self.etag.clone(),
        );
        self.remote
            .start(async move { remote.fetch(&path, range, etag).await })
    }

    fn next_block(&mut self) -> Result<(), Fault> {
        if self.is_broken {
            return Err(Fault::Stopped);
        }
        let Some((range, receiver)) = self.coming.take() else {
            return Ok(());
        };
        // Until the block is here: an end after a failure would look like the end of the object.
        self.is_broken = true;
        let mut fetched = receiver.recv().unwrap_or(Err(Fault::Stopped));
        // Appends go on while we read, so a few new versions may follow each other.
        for _ in 0..8 {
            if !matches!(fetched, Err(Fault::OtherVersion)) {
                break;
            }
            self.take_new_version()?;
            fetched = self
                .fetch(range.clone())
                .recv()
                .unwrap_or(Err(Fault::Stopped));
        }
        let block = match fetched {
            Ok(block) => block,
            Err(Fault::OtherVersion) => return Err(Fault::Changed),
            Err(Fault::Store(object_store::Error::NotFound { .. })) => return Err(Fault::Changed),
            Err(other) => return Err(other),
        };
        let missing = range.end - range.start > block.bytes.len() as u64;
        if missing && self.proof.is_some() {
            return Err(Fault::Changed);
        }
        if missing {
            self.end = 0;
        }
        if self.etag.is_none() {
            self.etag = block.etag;
        }
        self.block = block.bytes;
        self.used = 0;
        self.is_broken = false;
        self.prefetch();
        Ok(())
    }

    /// The listed version is gone: takes the one that is there now if it is the same content, longer.
    fn take_new_version(&mut self) -> Result<(), Fault> {
        let Some(proof) = &self.proof else {
            return Err(Fault::Changed);
        };
        let (remote, path) = (Arc::clone(&self.remote), self.path.clone());
        let meta = self
            .remote
            .wait(async move { Ok(remote.store.head(&path).await?) })?;
        let now = self.remote.object_of(&meta);
        if meta.size < self.end || !proof(&now) {
            return Err(Fault::Changed);
        }
        self.etag = meta.e_tag.as_deref().map(|e| bare(e).to_owned());
        self.object = now;
        Ok(())
    }
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            self.next_block().map_err(io::Error::other)?;
        }
        let rest = &self.block[self.used.min(self.block.len())..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.used += n;
        Ok(n)
    }
}
