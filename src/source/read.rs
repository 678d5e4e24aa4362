//! The decompressed bytes of an object: told by content, streamed, and bounded against streams that
//! expand without end. Firehose may compress what was compressed already, so a second level is
//! looked for behind the first. An error says whether the disk or network failed, the object was
//! replaced, or the compressed stream is damaged.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read, Seek as _, SeekFrom},
    path::Path,
};

use crate::{
    error::{Context as _, Result},
    source::{
        Compression, ListedObject, Place,
        remote::{Fault, Proof, RemoteReader},
    },
};

/// A stream that grew a thousandfold and is over a GiB is taken for a bomb: the most repetitive
/// audit log seen (one minute of one lease) compresses 150:1.
const EXPANSION_MAX: u64 = 1_000;
const EXPANSION_BYTES_MIN: u64 = 1 << 30;

/// Reads from disk in large blocks.
const READ_BYTES: usize = 1 << 20;

/// Bytes of content that tell one content from another.
pub const HEAD_BYTES: usize = 64 << 10;
/// Raw bytes that are enough to get them: a block of zstd may be 128 KiB.
const HEAD_RAW_BYTES: u64 = 192 << 10;
/// A first line shorter than this tells nothing (`{`), so the lines after it are taken as well.
const HEAD_LINE_BYTES_MIN: usize = 64;
const HEAD_FALLBACK_BYTES: usize = 4 << 10;

/// Why a stream ended before its end.
#[derive(Debug)]
pub enum ReadError {
    /// The disk or network failed; reading again may help.
    Io(io::Error),
    /// The object was replaced by another one since it was listed; the next run looks at it again.
    Changed,
    /// The compressed stream is damaged or cut off.
    Damaged(io::Error),
    /// The stream expands without end.
    Bomb,
}

/// Expands without end; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("expands more than a thousandfold")]
struct BombError;

/// The decompressed bytes of an object.
pub struct ContentReader {
    inner: Box<dyn Read + Send>,
    compression: Compression,
    /// An error met before the first read, which then tells it.
    failed: Option<io::Error>,
}

impl std::fmt::Debug for ContentReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentReader")
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl ContentReader {
    /// Opens an object at an offset of its decompressed bytes, reading no more than `size` of it, so
    /// that an object that grows meanwhile gives what was planned. With the digest of its head, an
    /// object of a store is read in the version that was listed, or a longer one with that head;
    /// without, as it is now.
    ///
    /// Blocks while an object of a store is fetched: not to be called from asynchronous code.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn open(
        object: &ListedObject,
        size: u64,
        compression: Compression,
        offset: u64,
        head_digest: Option<&str>,
    ) -> Result<Self> {
        let act = || format!("cannot read {}", object.uri);
        let from = match compression {
            Compression::None => offset.min(size),
            _ => 0,
        };
        let raw: Box<dyn Read + Send> = match &object.place {
            Place::File(path) | Place::Spool(path) => {
                let mut file =
                    File::open(path).context(format!("cannot read {}", path.display()))?;
                file.seek(SeekFrom::Start(from)).context(act())?;
                Box::new(file.take(size.saturating_sub(from)))
            }
            Place::Object(remote) => {
                let proof = head_digest.map(|digest| {
                    let digest = digest.to_owned();
                    Box::new(move |now: &ListedObject| {
                        sniff(now).is_ok_and(|s| s.is_some_and(|s| s.head_digest == digest))
                    }) as Proof
                });
                let end = size.min(object.size.max(from));
                Box::new(RemoteReader::new(object, remote, from..end, proof)?)
            }
        };
        let mut reader = Self::over(raw, compression, size).context(act())?;
        if compression != Compression::None {
            reader.skip(offset);
        }
        Ok(reader)
    }

    /// The content of raw bytes of `size` in all.
    fn over(raw: Box<dyn Read + Send>, compression: Compression, size: u64) -> io::Result<Self> {
        let mut failed = None;
        let inner = match compression {
            Compression::None => raw,
            _ => {
                let first = level(BufReader::with_capacity(READ_BYTES, raw), compression, size)?;
                let mut first = BufReader::with_capacity(READ_BYTES, first);
                let second = match first.fill_buf() {
                    Ok(head) => Compression::sniff(head),
                    Err(e) => {
                        failed = Some(e);
                        Compression::None
                    }
                };
                match second {
                    Compression::None => Box::new(first),
                    _ => level(first, second, size)?,
                }
            }
        };
        Ok(Self {
            inner,
            compression,
            failed,
        })
    }

    fn skip(&mut self, bytes: u64) {
        let mut scratch = vec![0; READ_BYTES];
        let mut left = bytes;
        while left > 0 {
            let want = scratch
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.read_raw(&mut scratch[..want]) {
                Ok(0) => break,
                Ok(n) => left -= n as u64,
                Err(e) => {
                    self.failed = Some(e);
                    break;
                }
            }
        }
    }

    fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// Tells a failing disk or store from a replaced object, a damaged stream and one that expands
    /// without end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.read_raw(buffer).map_err(|e| self.told(e))
    }

    fn told(&self, e: io::Error) -> ReadError {
        let cause = e.get_ref();
        if cause.is_some_and(|c| c.is::<BombError>()) {
            return ReadError::Bomb;
        }
        match cause.and_then(|c| c.downcast_ref::<Fault>()) {
            Some(Fault::Changed) => return ReadError::Changed,
            Some(_) => return ReadError::Io(e),
            None => {}
        }
        // The operating system gives its errors a number; a decoder does not.
        if self.compression == Compression::None || e.raw_os_error().is_some() {
            ReadError::Io(e)
        } else {
            ReadError::Damaged(e)
        }
    }
}

/// One level of decompression under the guard against bombs, which looks at the raw size.
fn level(
    input: impl BufRead + Send + 'static,
    compression: Compression,
    raw_size: u64,
) -> io::Result<Box<dyn Read + Send>> {
    let inner: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
    };
    Ok(Box::new(Guarded {
        inner,
        raw_size,
        produced: 0,
    }))
}

struct Guarded {
    inner: Box<dyn Read + Send>,
    raw_size: u64,
    produced: u64,
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.produced += n as u64;
        let is_bomb =
            self.produced > EXPANSION_BYTES_MIN && self.produced / EXPANSION_MAX > self.raw_size;
        if is_bomb {
            Err(io::Error::other(BombError))
        } else {
            Ok(n)
        }
    }
}

/// What the first bytes of an object tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sniffed {
    /// How it is compressed.
    pub compression: Compression,
    /// Digest of the beginning of its content.
    pub head_digest: String,
}

/// Looks at the first bytes of an object, in one request; `None` if there is no content yet. Blocks:
/// not to be called from asynchronous code.
///
/// # Errors
/// Errors of the file system or store.
pub fn sniff(object: &ListedObject) -> Result<Option<Sniffed>> {
    let raw = match &object.place {
        Place::File(path) | Place::Spool(path) => head(path, HEAD_RAW_BYTES)?,
        Place::Object(_) if object.size == 0 => Vec::new(),
        Place::Object(remote) => remote.head(&object.uri, HEAD_RAW_BYTES)?,
    };
    let compression = Compression::sniff(&raw);
    let act = || format!("cannot read {}", object.uri);
    let mut reader =
        ContentReader::over(Box::new(Cursor::new(raw)), compression, u64::MAX).context(act())?;
    let mut content = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while filled < content.len() {
        match reader.read(&mut content[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(n) => filled += n,
        }
    }
    content.truncate(filled);
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
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

/// The first bytes of a file, at most `limit`.
fn head(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let act = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .context(act())?
        .take(limit)
        .read_to_end(&mut bytes)
        .context(act())?;
    Ok(bytes)
}
