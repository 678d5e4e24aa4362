//! The decompressed bytes of an object: told by content, streamed, and bounded against streams that
//! expand without end. An error says whether the disk failed or the compressed stream is damaged.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use crate::{
    error::{Context as _, Result},
    source::Compression,
};

/// A stream that grew a thousandfold and is over a GiB is taken for a bomb: the most repetitive
/// audit log seen (one minute of one lease) compresses 150:1.
const EXPANSION_MAX: u64 = 1_000;
const EXPANSION_BYTES_MIN: u64 = 1 << 30;

/// Reads from disk in large blocks.
const READ_BYTES: usize = 1 << 20;

/// Why a stream ended before its end.
#[derive(Debug)]
pub enum ReadError {
    /// The disk or network failed; reading again may help.
    Io(io::Error),
    /// The compressed stream is damaged or cut off.
    Damaged(io::Error),
    /// The stream expands without end.
    Bomb,
}

/// The decompressed bytes of an object.
pub struct ContentReader {
    inner: Box<dyn Read + Send>,
    compression: Compression,
    size: u64,
    produced: u64,
}

impl std::fmt::Debug for ContentReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentReader")
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl ContentReader {
    /// Opens a file at an offset of its decompressed bytes, reading no more than `size` of it, so
    /// that a file that grows meanwhile gives what was planned.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn open(path: &Path, size: u64, compression: Compression, offset: u64) -> Result<Self> {
        let act = || format!("cannot read {}", path.display());
        let mut file = File::open(path).context(act())?;
        let mut reader = match compression {
            Compression::None => {
                file.seek(SeekFrom::Start(offset)).context(act())?;
                let rest = file.take(size.saturating_sub(offset));
                return Ok(Self::over(Box::new(rest), compression, size));
            }
            Compression::Gzip => {
                let input = BufReader::with_capacity(READ_BYTES, file.take(size));
                Self::over(
                    Box::new(flate2::bufread::MultiGzDecoder::new(input)),
                    compression,
                    size,
                )
            }
            Compression::Zstd => {
                let input = BufReader::with_capacity(READ_BYTES, file.take(size));
                let decoder = zstd::Decoder::with_buffer(input).context(act())?;
                Self::over(Box::new(decoder), compression, size)
            }
        };
        let mut scratch = vec![0; READ_BYTES];
        let mut left = offset;
        while left > 0 {
            let want = scratch
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            match reader.read(&mut scratch[..want]) {
                Ok(0) | Err(_) => break,
                Ok(n) => left -= n as u64,
            }
        }
        Ok(reader)
    }

    fn over(inner: Box<dyn Read + Send>, compression: Compression, size: u64) -> Self {
        Self {
            inner,
            compression,
            size,
            produced: 0,
        }
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// Tells a failing disk from a damaged stream and from one that expands without end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            match self.inner.read(buffer) {
                Ok(n) => {
                    self.produced += n as u64;
                    let is_bomb = self.compression != Compression::None
                        && self.produced > EXPANSION_BYTES_MIN
                        && self.produced / EXPANSION_MAX > self.size;
                    return if is_bomb { Err(ReadError::Bomb) } else { Ok(n) };
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if self.compression == Compression::None => return Err(ReadError::Io(e)),
                // The operating system gives its errors a number; a decoder does not.
                Err(e) if e.raw_os_error().is_some() => return Err(ReadError::Io(e)),
                Err(e) => return Err(ReadError::Damaged(e)),
            }
        }
    }
}

/// The first bytes of a file, at most `limit`.
///
/// # Errors
/// Errors of the file system.
pub fn head(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let act = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .context(act())?
        .take(limit as u64)
        .read_to_end(&mut bytes)
        .context(act())?;
    Ok(bytes)
}
