//! What DataFusion's errors mean for the caller: who must act, in words without its internals.

use datafusion::common::{DataFusionError, SchemaError};
use parquet::errors::ParquetError;

use crate::error::{Error, ErrorKind};

/// The text of a DataFusion error as a cause.
#[derive(Debug)]
pub(super) struct Reason(String);

impl Reason {
    pub(super) fn of(e: &DataFusionError) -> Self {
        Self(e.message().into_owned())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}

/// Classifies an error of DataFusion by who must act, with a hint where there is one.
pub fn sql_error(e: &DataFusionError) -> Error {
    let root = e.find_root();
    let text = without_backtrace(&root.message()).replace("kolumn.public.", "");
    let (kind, message, hint) = match root {
        DataFusionError::SQL(..) => (
            ErrorKind::Usage,
            format!(
                "the SQL cannot be understood: {}",
                text.trim_start_matches("sql parser error: ")
            ),
            None,
        ),
        DataFusionError::SchemaError(schema, _) => {
            let hint = match schema.as_ref() {
                SchemaError::FieldNotFound { .. } => {
                    Some("`kolumn tables NAME` lists the columns of a table")
                }
                _ => None,
            };
            (
                ErrorKind::Usage,
                format!("the query is wrong: {text}"),
                hint,
            )
        }
        DataFusionError::Plan(_) => {
            let hint = text
                .starts_with("table '")
                .then_some("`kolumn tables` lists the tables and views");
            (
                ErrorKind::Usage,
                format!("the query is wrong: {text}"),
                hint,
            )
        }
        DataFusionError::NotImplemented(_) => (
            ErrorKind::Usage,
            format!("the query needs what SQL here cannot do: {text}"),
            None,
        ),
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => {
            (ErrorKind::Usage, format!("the query failed: {text}"), None)
        }
        DataFusionError::Configuration(_) => (ErrorKind::Usage, text, None),
        DataFusionError::ResourcesExhausted(_) => (
            ErrorKind::Limit,
            format!("the query needs more memory than it may use: {text}"),
            Some("narrow it with --since and --until, or raise --memory"),
        ),
        DataFusionError::ParquetError(e) => match store_error(e.as_ref()) {
            Some(store) => unreadable(store, &text),
            None => (
                ErrorKind::Corrupt,
                format!("a data file cannot be read: {text}"),
                None,
            ),
        },
        DataFusionError::ObjectStore(store) => unreadable(store, &text),
        DataFusionError::IoError(_) => (
            ErrorKind::Unavailable,
            format!("the query failed: {text}"),
            None,
        ),
        _ => (ErrorKind::Bug, format!("the query failed: {text}"), None),
    };
    let error = Error::new(kind, message);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What the store said, if reading a file failed in it.
fn store_error(e: &ParquetError) -> Option<&object_store::Error> {
    match e {
        ParquetError::External(cause) => cause.downcast_ref(),
        _ => None,
    }
}

/// A data file that the store does not give.
fn unreadable(
    store: &object_store::Error,
    text: &str,
) -> (ErrorKind, String, Option<&'static str>) {
    let (kind, hint) = match store {
        object_store::Error::NotFound { .. } => (
            ErrorKind::Corrupt,
            Some(
                "a vacuum may have deleted it while the question ran: ask again; if it stays so, the archive is damaged",
            ),
        ),
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => (ErrorKind::Denied, None),
        _ => (ErrorKind::Unavailable, None),
    };
    (kind, format!("a data file cannot be read: {text}"), hint)
}

/// The first part of the message: no backtrace, and no list of 83 valid columns.
fn without_backtrace(text: &str) -> String {
    let text = text.split("\nValid fields are").next().unwrap_or(text);
    let text = text
        .split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or(text);
    text.trim_end().to_owned()
}
