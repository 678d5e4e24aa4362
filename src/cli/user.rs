//! `kolumn user`: who may ask a server. Passwords come from the terminal or stdin and are kept as what
//! proves them only.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::history::DefaultHistory;
use rustyline::{Completer, Editor, Helper, Hinter, Validator};

use super::plan::Plan;
use super::serve::users_file;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::output::terminal;
use crate::serve::Verifier;
use crate::serve::users::{User, checked_name, positive, read, write};
use crate::table::provider::Sight;

/// A shorter password is guessed.
const PASSWORD_CHARS_MIN: usize = 8;

/// Arguments of `kolumn user`.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// What is done with the users
    #[command(subcommand)]
    command: UserCommand,
    /// Users file [default: kolumn.toml: serve.users, else users.toml]
    #[arg(long, global = true, value_name = "FILE")]
    users: Option<PathBuf>,
}

/// What is done with the users.
#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Let someone ask a server; the password comes from the terminal or stdin
    Add(AddArgs),
    /// Take someone out; a running server notices
    Remove {
        /// Name of the user
        name: String,
    },
    /// List the users and what they may
    List,
}

/// Arguments of `kolumn user add`.
#[derive(Debug, Args)]
struct AddArgs {
    /// Name to log in with
    name: String,
    /// Clusters whose rows are seen, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    clusters: Option<Vec<String>>,
    /// Show null for bodies and texts: what was sent, answered and written
    #[arg(long)]
    no_bodies: bool,
    /// Rows of one answer [default: no limit]
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// Time for one statement, such as 30s [default: the server's]
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// Take the place of a user of the same name
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
///
/// # Errors
/// `Usage` for names and passwords that do not fit, and errors of the users file.
pub fn run(args: UserArgs, plan: &Plan) -> Result<ExitCode> {
    let path = users_file(args.users.as_ref(), plan);
    let mut users = match path.exists() {
        true => read(&path)?,
        false => Vec::new(),
    };
    match args.command {
        UserCommand::Add(args) => {
            checked_name(&args.name)?;
            let known = users.iter().position(|user| user.name == args.name);
            if known.is_some() && !args.replace {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("there is a user {} already", args.name),
                )
                .hint("change one with --replace"));
            }
            let clusters = args
                .clusters
                .map(|c| c.into_iter().collect::<BTreeSet<_>>());
            if clusters.as_ref().is_some_and(|c| c.contains("")) {
                return Err(Error::new(ErrorKind::Usage, "a cluster has a name"));
            }
            let timeout = args.timeout.as_deref().map(positive);
            let user = User {
                sight: Sight {
                    clusters,
                    no_bodies: args.no_bodies,
                },
                rows_max: args.max_rows,
                timeout: timeout.transpose().context("--timeout")?,
                verifier: Verifier::of_password(&password(&args.name)?)?,
                name: args.name,
            };
            match known {
                Some(at) => users[at] = user,
                None => users.push(user),
            }
            write(&path, &users)?;
            terminal::note(&format!("written to {}", path.display()));
        }
        UserCommand::Remove { name } => {
            let before = users.len();
            users.retain(|user| user.name != name);
            if users.len() == before {
                return Err(Error::new(
                    ErrorKind::Missing,
                    format!("there is no user {name} in {}", path.display()),
                ));
            }
            write(&path, &users)?;
        }
        UserCommand::List => {
            for user in &users {
                terminal::print(&described(user));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn described(user: &User) -> String {
    let mut text = user.name.clone();
    text.push_str(match &user.sight.clusters {
        None => "  all clusters",
        Some(_) => "  clusters ",
    });
    if let Some(clusters) = &user.sight.clusters {
        let clusters: Vec<&str> = clusters.iter().map(String::as_str).collect();
        text.push_str(&clusters.join(", "));
    }
    if user.sight.no_bodies {
        text.push_str("; no bodies");
    }
    if let Some(rows) = user.rows_max {
        text.push_str(&format!("; at most {rows} rows"));
    }
    if let Some(timeout) = user.timeout {
        text.push_str(&format!("; at most {} s", timeout.as_secs_f64()));
    }
    text
}

/// A password: typed twice without being shown, or the first line of stdin.
fn password(name: &str) -> Result<String> {
    let password = if terminal::stdin_is_terminal() {
        let first = ask_hidden(&format!("Password for {name}: "))?;
        if ask_hidden("The same again: ")? != first {
            return Err(Error::new(
                ErrorKind::Usage,
                "the passwords are not the same",
            ));
        }
        first
    } else {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .context("cannot read the password from stdin")?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    };
    if password.chars().count() < PASSWORD_CHARS_MIN || password.contains('\0') {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("a password has at least {PASSWORD_CHARS_MIN} characters"),
        ));
    }
    Ok(password)
}

/// Shows a star for each character that is typed.
#[derive(Completer, Helper, Hinter, Validator)]
struct Hidden;

impl Highlighter for Hidden {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned("*".repeat(line.chars().count()))
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

fn ask_hidden(prompt: &str) -> Result<String> {
    let failed = |e: ReadlineError| match e {
        ReadlineError::Interrupted | ReadlineError::Eof => {
            Error::new(ErrorKind::Interrupted, "interrupted")
        }
        e => Error::new(ErrorKind::Unavailable, "cannot read from the terminal").because(e),
    };
    let mut editor = Editor::<Hidden, DefaultHistory>::new().map_err(failed)?;
    editor.set_helper(Some(Hidden));
    editor.readline(prompt).map_err(failed)
}
