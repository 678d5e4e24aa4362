//! What an error is called on the wire.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::error::{Error, ErrorKind};

/// Why a message was not answered as asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told, and goes on.
    Told(Box<ErrorInfo>),
    /// The client is gone.
    Gone(std::io::Error),
}

impl From<ErrorInfo> for Failure {
    fn from(info: ErrorInfo) -> Self {
        Self::Told(Box::new(info))
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::Gone(e)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        told(&e).into()
    }
}

impl From<PgWireError> for Failure {
    fn from(e: PgWireError) -> Self {
        match e {
            PgWireError::IoError(e) => Self::Gone(e),
            other => Self::Told(Box::new(other.into())),
        }
    }
}

/// An error with its code.
pub(super) fn refused(code: &str, message: impl Into<String>) -> ErrorInfo {
    ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message.into())
}

/// An error after which the connection ends.
pub(super) fn fatal(code: &str, message: impl Into<String>) -> ErrorInfo {
    ErrorInfo::new("FATAL".to_owned(), code.to_owned(), message.into())
}

/// Our error as PostgreSQL would code it.
pub(super) fn told(e: &Error) -> ErrorInfo {
    let text = e.to_chain();
    let code = match e.kind() {
        ErrorKind::Usage if text.contains("read-only") => "25006",
        ErrorKind::Usage if text.contains("table '") && text.contains("not found") => "42P01",
        ErrorKind::Usage if text.contains("No field named") => "42703",
        ErrorKind::Usage if text.contains("Invalid function") => "42883",
        ErrorKind::Usage if text.contains("Cannot cast string") => "22P02",
        ErrorKind::Usage if text.contains("the query failed") => "22000",
        ErrorKind::Usage => "42601",
        ErrorKind::Missing => "42P01",
        ErrorKind::Denied => "42501",
        ErrorKind::Unavailable | ErrorKind::Conflict => "58000",
        ErrorKind::Corrupt => "XX001",
        ErrorKind::Limit if text.contains("longer than") => "57014",
        ErrorKind::Limit if text.contains("memory") => "53200",
        ErrorKind::Limit => "54000",
        ErrorKind::Interrupted => "57014",
        ErrorKind::Bug => "XX000",
    };
    let mut info = refused(code, text);
    info.hint = e.hint_text().map(str::to_owned);
    info
}
