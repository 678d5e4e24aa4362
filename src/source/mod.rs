//! Where bytes come from: a location typed by a person becomes [`ListedObject`]s in a fixed order,
//! and an object gives its decompressed bytes. Knows nothing of what the bytes mean.

pub mod dates;
pub mod list;
mod list_remote;
pub mod read;
pub mod remote;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};

use remote::Remote;

/// An object that was found, with all that is needed to know it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its URI: `file:///var/log/audit.log`, `s3://bucket/key`, `az://container@account/key`, or
    /// `stdin:`. One object has one URI, however its place was typed.
    pub uri: String,
    /// Where its bytes are.
    pub place: Place,
    /// Size when it was listed, bytes; 0 for a stream.
    pub size: u64,
    /// Changes whenever the content may have changed.
    pub version: String,
    /// When it was changed last, if that is known.
    pub modified: Option<DateTime<Utc>>,
}

/// Where the bytes of an object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file of the local file system.
    File(PathBuf),
    /// A copy of a stream, kept while it is ingested; it cannot be read again afterwards.
    Spool(PathBuf),
    /// An object of this bucket, whose key its URI tells.
    Object(Arc<Remote>),
}

impl Place {
    /// True if more bytes may be appended to the object later.
    pub fn may_grow(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Spool(_) => false,
            Self::Object(remote) => remote.may_grow(),
        }
    }
}

/// How the bytes of an object are compressed, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain bytes.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

impl Compression {
    /// Tells by magic numbers (RFC 1952, RFC 8878; skippable zstd frames included).
    pub fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The value of ledger column `compression`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The inverse of [`Compression::as_str`]; anything unknown is plain.
    pub fn from_name(name: &str) -> Self {
        match name {
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
