//! `kolumn query`: one SQL query from the command line, a file or stdin; its rows go to stdout.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::explain;
use super::plan::{LimitArgs, OutputArgs, Plan};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::output::{self, terminal};
use crate::query::{Session, SessionOptions};
use crate::table::Archive;

/// Arguments of `kolumn query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The query; `-` or nothing: read from stdin
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// Read the query from this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// Say on stderr what was read for the answer: files and bytes of how many, what was skipped
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the command.
///
/// # Errors
/// `Usage` for a wrong query, and those of querying and writing.
pub async fn run(args: QueryArgs, plan: &Plan) -> Result<ExitCode> {
    let sql = match (&args.sql, &args.file) {
        (_, Some(path)) => {
            std::fs::read_to_string(path).context(format!("cannot read {}", path.display()))?
        }
        (Some(sql), None) if sql != "-" => sql.clone(),
        (None, None) if terminal::stdin_is_terminal() => {
            return Err(Error::new(ErrorKind::Usage, "no query was given")
                .hint("kolumn query \"SELECT …\", or `kolumn shell` for several"));
        }
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read stdin")?;
            text
        }
    };
    if sql.trim().is_empty() {
        return Err(Error::new(ErrorKind::Usage, "the query is empty"));
    }
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let started = Instant::now();
    let options = SessionOptions {
        traced: args.explain,
        ..plan.session(&args.limits)?
    };
    let session = Session::open(&archive, &options).await?;
    let answer = session.query(&sql).await?;
    output::write(answer.schema, answer.batches, &plan.output(&args.output)).await?;
    if args.explain {
        explain::tell(&session, started.elapsed());
    }
    Ok(ExitCode::SUCCESS)
}
