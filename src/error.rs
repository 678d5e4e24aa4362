//! The one error type that crosses module borders: what was attempted, on which thing, what went
//! wrong, and who must act. Stages build it with [`Error::new`] and add the thing they were working
//! on with [`Context`]; the command line prints it with its hint and turns its kind into an exit code.

use std::fmt;

use crate::store::failure;

/// Who must act on an error. The command line derives the exit code from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command or configuration is wrong; the caller changes it. Exit code 2.
    Usage,
    /// Something named does not exist; the caller names another thing. Exit code 2.
    Missing,
    /// Rights are missing; the caller changes rights. Exit code 2.
    Denied,
    /// A store or device is not able to answer now; run again. Exit code 3.
    Unavailable,
    /// Another writer was faster; run again. Exit code 3.
    Conflict,
    /// Stored data disagree with themselves; an operator repairs or restores. Exit code 4.
    Corrupt,
    /// A limit of memory, time or size was reached; raise it or ask for less. Exit code 5.
    Limit,
    /// The person at the terminal pressed Ctrl-C. Exit code 130.
    Interrupted,
    /// A belief of this program was wrong; we must act. Exit code 70.
    Bug,
}

impl ErrorKind {
    /// The exit code of a process that ends with an error of this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Missing | Self::Denied => 2,
            Self::Unavailable | Self::Conflict => 3,
            Self::Corrupt => 4,
            Self::Limit => 5,
            Self::Interrupted => 130,
            Self::Bug => 70,
        }
    }
}

/// An error with the person who must act ([`ErrorKind`]), a message that names the act and the
/// thing, an optional hint, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error; `message` is lower case, without a full stop, and names the thing.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts the act that failed before the message: `cannot ingest a.log: <message>`.
    #[must_use]
    pub fn during(mut self, act: impl fmt::Display) -> Self {
        self.message = format!("{act}: {}", self.message);
        self
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the reader can do about it, if known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message followed by every cause that says something new, on one line.
    pub fn to_chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause: Option<&(dyn std::error::Error + 'static)> =
            self.source.as_deref().map(|e| e as _);
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.contains(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Adds the act that failed to a foreign error and classifies it.
pub trait Context<T> {
    /// Turns a foreign error into [`Error`], naming the act and the thing.
    ///
    /// # Errors
    /// The error it was given, classified.
    fn context(self, act: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for Result<T, std::io::Error> {
    fn context(self, act: impl fmt::Display) -> Result<T> {
        self.map_err(|e| io_error(&act, e))
    }
}

impl<T> Context<T> for Result<T, object_store::Error> {
    fn context(self, act: impl fmt::Display) -> Result<T> {
        self.map_err(|e| {
            let (kind, hint) = match failure::told(&e) {
                Some((kind, hint)) => (kind, Some(hint)),
                None => (store_kind(&e), is_full(&e).then_some(MAKE_ROOM)),
            };
            let error = Error::new(kind, act.to_string());
            let error = match failure::brief(&e) {
                Some(brief) => error.because(brief),
                None => error.because(e),
            };
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }
}

impl<T> Context<T> for Result<T, arrow::error::ArrowError> {
    fn context(self, act: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::new(ErrorKind::Bug, act.to_string()).because(e))
    }
}

impl<T> Context<T> for Result<T, parquet::errors::ParquetError> {
    fn context(self, act: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::new(ErrorKind::Corrupt, act.to_string()).because(e))
    }
}

impl<T> Context<T> for Result<T> {
    fn context(self, act: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.during(act))
    }
}

/// Classifies an I/O error by who must act and adds a hint where there is one.
fn io_error(act: &impl fmt::Display, e: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, hint) = match e.kind() {
        Io::NotFound => (ErrorKind::Missing, None),
        Io::PermissionDenied => (
            ErrorKind::Denied,
            Some("run as a user who may read it, or change its mode"),
        ),
        Io::StorageFull | Io::QuotaExceeded => (
            ErrorKind::Unavailable,
            Some("free some space, then run the same command again"),
        ),
        _ => (ErrorKind::Unavailable, None),
    };
    let error = Error::new(kind, act.to_string()).because(e);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Classifies an object-store error by who must act.
pub(crate) fn store_kind(e: &object_store::Error) -> ErrorKind {
    match e {
        object_store::Error::NotFound { .. } => ErrorKind::Missing,
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => ErrorKind::Denied,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
            ErrorKind::Conflict
        }
        object_store::Error::InvalidPath { .. } | object_store::Error::NotSupported { .. } => {
            ErrorKind::Usage
        }
        other => io_kind_in_chain(other).unwrap_or(ErrorKind::Unavailable),
    }
}

const MAKE_ROOM: &str = "make room and run the same command again: what is stored is whole";

fn is_full(e: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(e);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::StorageFull;
        }
        cause = error.source();
    }
    false
}

/// Object stores wrap the I/O error of a local disk; its kind says who must act.
fn io_kind_in_chain(e: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut cause = Some(e);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::PermissionDenied => Some(ErrorKind::Denied),
                std::io::ErrorKind::NotFound => Some(ErrorKind::Missing),
                _ => None,
            };
        }
        cause = error.source();
    }
    None
}
