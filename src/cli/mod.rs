//! The command line: arguments in, exit code out. clap reads what was typed; [`plan::Plan`] completes
//! it with environment, `kolumn.toml` and defaults; each command has a file. Named questions become
//! subcommands of `ask` with their parameters as flags, so help, completion and errors know them.
//! Data go to stdout, everything else to stderr.

pub mod ask;
pub mod config;
pub mod demo;
mod explain;
pub mod export;
pub mod ingest;
mod ingest_metrics;
pub mod ingest_progress;
pub mod ingest_report;
pub mod maintenance;
pub mod plan;
pub mod query;
pub mod report;
pub mod serve;
pub mod shell;
pub mod sources;
pub mod tables;
pub mod user;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use clap::{Args, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::output::terminal;
use crate::query::question::{self, Question};
use plan::Plan;

/// A columnar archive and indexer for Kubernetes audit and control-plane logs.
#[derive(Debug, Parser)]
#[command(
    name = "kolumn",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Archive: a folder or URL [default: $KOLUMN_ARCHIVE, else kolumn.toml, else ./archive]
    #[arg(long, global = true, value_name = "URL")]
    pub archive: Option<String>,
    /// Configuration file [default: ./kolumn.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// Time zone in which times are read and shown, an IANA name [default: kolumn.toml, else UTC]
    #[arg(long, global = true, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Tell more on stderr; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring logs into the archive, each record once
    Ingest(ingest::IngestArgs),
    /// Ask a named question
    Ask(ask::AskArgs),
    /// Answer an SQL query
    Query(query::QueryArgs),
    /// Ask SQL queries one after the other
    Shell(shell::ShellArgs),
    /// List the tables and views, or the columns of one
    Tables(tables::TablesArgs),
    /// Write the original events again
    Export(export::ExportArgs),
    /// Answer BI tools: PostgreSQL's protocol and Arrow Flight SQL
    Serve(serve::ServeArgs),
    /// Say who may ask a server
    User(user::UserArgs),
    /// Merge small files into sorted ones, written for rest
    Optimize(maintenance::OptimizeArgs),
    /// Take days older than an age out of the tables
    Expire(maintenance::ExpireArgs),
    /// Delete files that nothing refers to any more
    Vacuum(maintenance::VacuumArgs),
    /// Explain the configuration
    Config(config::ConfigArgs),
    /// Ingest bundled sample data and answer the four scenarios
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Runs the program.
pub async fn run(arguments: Vec<OsString>) -> ExitCode {
    match dispatch(arguments).await {
        Ok(code) => code,
        Err(e) => report::failed(&e),
    }
}

async fn dispatch(arguments: Vec<OsString>) -> Result<ExitCode> {
    // The questions are needed before the arguments can be read: each is a subcommand of `ask`. Only
    // `ask` and `shell` look into the user's folder, so that a bad file there stops nothing else.
    let early = EarlyArgs::of(&arguments);
    let wants_user_questions = matches!(early.command.as_deref(), Some("ask" | "shell"));
    let folder = if wants_user_questions {
        plan::Config::load(early.config.as_deref())?.questions_folder()
    } else {
        None
    };
    let questions = question::load(folder.as_deref())?;
    let matches = match command(&questions).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(e) => return not_parsed(&e, early.command.as_deref(), &questions),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => return not_parsed(&e, early.command.as_deref(), &questions),
    };
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(&questions), "kolumn", &mut script);
            terminal::print_bytes(&script)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command(&questions))
                .render(&mut page)
                .context("cannot make the manual page")?;
            terminal::print_bytes(&page)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let plan = Plan::build(&cli.global)?;
    match cli.command {
        Command::Ingest(args) => ingest::run(args, &plan).await,
        Command::Export(args) => export::run(args, &plan).await,
        Command::Optimize(args) => maintenance::run_optimize(args, &plan).await,
        Command::Expire(args) => maintenance::run_expire(args, &plan).await,
        Command::Vacuum(args) => maintenance::run_vacuum(args, &plan).await,
        Command::Config(args) => interruptible(config::run(args, &plan)).await,
        Command::Demo(args) => demo::run(args, &plan).await,
        Command::Serve(args) => serve::run(args, &plan).await,
        Command::User(args) => user::run(args, &plan),
        Command::Shell(args) => shell::run(args, &plan, &questions).await,
        Command::Ask(args) => interruptible(ask::run(args, &plan, &questions)).await,
        Command::Query(args) => interruptible(query::run(args, &plan)).await,
        Command::Tables(args) => interruptible(tables::run(args, &plan)).await,
        Command::Completions { .. } | Command::Man => Ok(ExitCode::SUCCESS),
    }
}

/// Ends the work at Ctrl-C; what it had spilled to disk is removed.
pub(crate) async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
    }
}

/// The whole command line, questions included.
pub fn command(questions: &[Question]) -> ClapCommand {
    Cli::command().mut_subcommand("ask", |ask| ask::with_questions(ask, questions))
}

/// Prints help, version or clap's error; an unknown question gets the nearest names.
fn not_parsed(e: &clap::Error, command: Option<&str>, questions: &[Question]) -> Result<ExitCode> {
    if e.kind() == ClapKind::InvalidSubcommand
        && command == Some("ask")
        && let Some(ContextValue::String(name)) = e.get(ContextKind::InvalidSubcommand)
    {
        return Err(question::unknown(questions, name));
    }
    // A closed pipe means that nobody reads the help.
    let _ = e.print();
    Ok(ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2)))
}

/// What must be known before the questions are loaded.
#[derive(Debug, Default, PartialEq)]
struct EarlyArgs {
    command: Option<String>,
    config: Option<std::path::PathBuf>,
}

impl EarlyArgs {
    fn of(arguments: &[OsString]) -> Self {
        let mut early = Self::default();
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            let text = argument.to_string_lossy();
            if text == "--" {
                break;
            } else if text == "--config" {
                early.config = rest.next().map(Into::into);
            } else if let Some(path) = text.strip_prefix("--config=") {
                early.config = Some(path.into());
            } else if early.command.is_none() && (text == "--archive" || text == "--timezone") {
                rest.next();
            } else if early.command.is_none() && !text.starts_with('-') {
                early.command = Some(text.into_owned());
            }
        }
        early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command(&question::load(None).unwrap()).debug_assert();
    }

    #[test]
    fn command_and_configuration_are_found_early() {
        let early =
            |line: &str| EarlyArgs::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(
            early("kolumn --archive ask query x").command.as_deref(),
            Some("query")
        );
        let ask = early("kolumn -v ask --config=a.toml --list");
        assert_eq!(ask.command.as_deref(), Some("ask"));
        assert_eq!(ask.config, Some("a.toml".into()));
        assert_eq!(
            early("kolumn ask x --config b.toml").config,
            Some("b.toml".into())
        );
    }
}
