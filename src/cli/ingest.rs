//! `kolumn ingest`: placeholder until the writing side lands.

use std::process::ExitCode;

use clap::Args;

use super::plan::Plan;
use crate::error::{Error, ErrorKind, Result};

/// Arguments of `kolumn ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {}

/// Runs the command.
///
/// # Errors
/// Always: it is not there yet.
#[expect(clippy::unused_async, reason = "the writing side replaces this file")]
pub async fn run(_args: IngestArgs, _plan: &Plan) -> Result<ExitCode> {
    Err(Error::new(
        ErrorKind::Usage,
        "ingest is not in this version",
    ))
}
