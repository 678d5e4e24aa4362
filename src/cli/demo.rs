//! `kolumn demo`: placeholder until the writing side lands.

use std::process::ExitCode;

use clap::Args;

use super::plan::Plan;
use crate::error::{Error, ErrorKind, Result};

/// Arguments of `kolumn demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {}

/// Runs the command.
///
/// # Errors
/// Always: it is not there yet.
#[expect(clippy::unused_async, reason = "the writing side replaces this file")]
pub async fn run(_args: DemoArgs, _plan: &Plan) -> Result<ExitCode> {
    Err(Error::new(ErrorKind::Usage, "demo is not in this version"))
}
