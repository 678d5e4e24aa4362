//! Why a record could not be decoded: a fixed code for people to count by, and the decoder's words.

use std::fmt;

/// Why a record was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The fixed code.
    pub reason: Reason,
    /// The decoder's words.
    pub detail: String,
}

impl Reject {
    /// A rejection with the decoder's words.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }

    /// Tells broken JSON from JSON that is not what was expected.
    pub fn from_json(error: &serde_json::Error) -> Self {
        let reason = match error.classify() {
            serde_json::error::Category::Eof => Reason::TruncatedJson,
            _ => Reason::InvalidJson,
        };
        Self::new(reason, error)
    }
}

/// The codes of column `reason` in table `rejected`. Documented in docs/format.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The text is not JSON.
    InvalidJson,
    /// The JSON text ends too early.
    TruncatedJson,
    /// JSON, but nothing that is known here.
    UnknownJson,
    /// Text that is neither JSON nor a legacy audit line.
    UnknownText,
    /// A legacy audit line that is malformed.
    InvalidLegacyLine,
    /// The text in which a payload was wrapped is not base64.
    InvalidBase64,
    /// An audit event, or a sample, without any time.
    NoTimestamp,
    /// A record of a log category or table in which there is no log line.
    UnsupportedCategory,
    /// A record of another format than the one that was asked for.
    UnexpectedFormat,
    /// The record is longer than the limit.
    RecordTooLong,
    /// The compressed stream is damaged or ends too early.
    DamagedCompression,
    /// The stream expands without end.
    DecompressionBomb,
}

impl Reason {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid-utf8",
            Self::InvalidJson => "invalid-json",
            Self::TruncatedJson => "truncated-json",
            Self::UnknownJson => "unknown-json",
            Self::UnknownText => "unknown-text",
            Self::InvalidLegacyLine => "invalid-legacy-line",
            Self::InvalidBase64 => "invalid-base64",
            Self::NoTimestamp => "no-timestamp",
            Self::UnsupportedCategory => "unsupported-category",
            Self::UnexpectedFormat => "unexpected-format",
            Self::RecordTooLong => "record-too-long",
            Self::DamagedCompression => "damaged-compression",
            Self::DecompressionBomb => "decompression-bomb",
        }
    }
}
