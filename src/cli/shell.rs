//! `kolumn shell`: SQL queries one after the other. On a terminal: history, completion, several
//! lines until `;`, Ctrl-C ends the running query or drops the line, Ctrl-D leaves. Elsewhere stdin
//! is a script that ends at its first error. Lines that begin with a dot are commands of the shell.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};

use super::plan::{LimitArgs, OutputArgs, Plan};
use super::{ask, interruptible, report, tables};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::output::{self, Output, terminal};
use crate::query::Session;
use crate::query::question::{self, Question};
use crate::table::Archive;

/// Arguments of `kolumn shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

const HELP: &str = "\
SQL ends with ;               SELECT verb, count(*) FROM events GROUP BY verb;
.tables                       the tables and views
.columns TABLE                the columns of a table or view (also .schema TABLE)
.questions                    the named questions
.ask QUESTION [--FLAG VALUE]  ask a named question; .ask QUESTION --help shows its flags
.help                         this text
.quit                         leave (also Ctrl-D)
Ctrl-C ends the running query or drops the line; Tab completes.";

const DOT_COMMANDS: [&str; 7] = [
    ".tables",
    ".columns",
    ".schema",
    ".questions",
    ".ask",
    ".help",
    ".quit",
];

const KEYWORDS: [&str; 46] = [
    "SELECT",
    "DISTINCT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "INNER JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "LIKE",
    "ILIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "WITH",
    "UNION ALL",
    "EXISTS",
    "CAST",
    "INTERVAL",
    "TIMESTAMP",
    "DATE",
    "ASC",
    "DESC",
    "NULLS LAST",
    "OVER",
    "PARTITION BY",
    "UNNEST",
    "EXPLAIN",
    "TRUE",
    "FALSE",
    "NULL",
];

/// Runs the command.
///
/// # Errors
/// Those of opening the archive; of a script, its first error.
pub async fn run(args: ShellArgs, plan: &Plan, questions: &[Question]) -> Result<ExitCode> {
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let session = Session::open(&archive, &plan.session(&args.limits)?).await?;
    let shell = Shell {
        session,
        plan,
        questions,
        output: plan.output(&args.output),
    };
    if terminal::stdin_is_terminal() {
        shell.converse().await
    } else {
        shell.run_script().await
    }
}

/// What follows a line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    Leave,
}

struct Shell<'a> {
    session: Session,
    plan: &'a Plan,
    questions: &'a [Question],
    output: Output,
}

impl Shell<'_> {
    async fn run_script(&self) -> Result<ExitCode> {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read stdin")?;
        for statement in statements(&text) {
            if interruptible(self.obey(&statement)).await? == Next::Leave {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn converse(&self) -> Result<ExitCode> {
        let act = "cannot use the terminal";
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .auto_add_history(true)
            .build();
        let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config)
            .map_err(terminal_error)
            .context(act)?;
        editor.set_helper(Some(self.words().await?));
        let history = self.history_file();
        if let Some(path) = &history {
            // No history yet is no error, nor is one that cannot be read.
            let _ = editor.load_history(path);
        }
        terminal::note("kolumn shell: SQL ends with ;  .help shows more, Ctrl-D leaves");
        loop {
            // Reading blocks a thread; the runtime must go on.
            let read = tokio::task::spawn_blocking(move || {
                let line = editor.readline("kolumn> ");
                (editor, line)
            });
            let (back, line) = read
                .await
                .map_err(|e| Error::new(ErrorKind::Bug, "reading a line failed").because(e))?;
            editor = back;
            let line = match line {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(e) => return Err(terminal_error(e)).context(act),
            };
            if let Some(path) = &history {
                let _ = editor.append_history(path);
            }
            let mut leave = false;
            for statement in statements(&line) {
                match interruptible(self.obey(&statement)).await {
                    Ok(Next::Go) => {}
                    Ok(Next::Leave) => leave = true,
                    Err(e) => {
                        report::show(&e);
                        break;
                    }
                }
            }
            if leave {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn history_file(&self) -> Option<PathBuf> {
        let folder = self.plan.state_folder.as_ref()?;
        std::fs::create_dir_all(folder).ok()?;
        Some(folder.join("history"))
    }

    /// Does what one statement or dot command says.
    async fn obey(&self, statement: &str) -> Result<Next> {
        if !statement.starts_with('.') {
            let answer = self.session.query(statement).await?;
            output::write(answer.schema, answer.batches, &self.fresh_output()).await?;
            return Ok(Next::Go);
        }
        let mut words = words_of(statement)?;
        let command = words.remove(0);
        match (command.as_str(), words.as_slice()) {
            (".quit" | ".exit", _) => return Ok(Next::Leave),
            (".help", _) => terminal::print(HELP),
            (".tables", _) => tables::write_tables(&self.session, &self.fresh_output()).await?,
            (".columns" | ".schema", [table]) => {
                tables::write_columns(&self.session, table, &self.fresh_output()).await?;
            }
            (".columns" | ".schema", _) => {
                return Err(
                    Error::new(ErrorKind::Usage, format!("{command} takes one table"))
                        .hint(".tables lists them"),
                );
            }
            (".questions", _) => {
                for question in self.questions {
                    terminal::print(&format!("{}  {}", question.name, question.title));
                }
            }
            (".ask", [name, flags @ ..]) => self.ask(name, flags.to_vec()).await?,
            (".ask", []) => {
                return Err(Error::new(ErrorKind::Usage, ".ask takes a question")
                    .hint(".questions lists them"));
            }
            _ => {
                return Err(
                    Error::new(ErrorKind::Usage, format!("there is no command {command}"))
                        .hint(".help lists them"),
                );
            }
        }
        Ok(Next::Go)
    }

    async fn ask(&self, name: &str, flags: Vec<String>) -> Result<()> {
        let question = question::find(self.questions, name)?;
        let Some((values, bare)) = ask::from_line(question, flags, self.plan)? else {
            return Ok(());
        };
        let answer = question.ask(&self.session, &values).await?;
        let rows = ask::show(question, &values, answer, &self.fresh_output(), bare).await?;
        for note in question.notes(&self.session, &values, rows).await? {
            terminal::note(&format!("note: {note}"));
        }
        Ok(())
    }

    /// The terminal may have changed its width since the last answer.
    fn fresh_output(&self) -> Output {
        let width = if self.output.file.is_some() {
            None
        } else {
            terminal::width()
        };
        Output {
            width,
            ..self.output.clone()
        }
    }

    async fn words(&self) -> Result<Words> {
        let mut words: Vec<String> = KEYWORDS.iter().map(|k| (*k).to_owned()).collect();
        words.extend(DOT_COMMANDS.iter().map(|c| (*c).to_owned()));
        words.extend(self.questions.iter().map(|q| q.name.clone()));
        words.extend(self.session.functions());
        for table in self.session.tables() {
            words.push(table.name.clone());
            let schema = self.session.columns(&table.name).await?;
            words.extend(schema.fields().iter().map(|f| f.name().clone()));
        }
        words.sort();
        words.dedup();
        Ok(Words(words))
    }
}

fn terminal_error(e: ReadlineError) -> Error {
    Error::new(ErrorKind::Unavailable, "the terminal failed").because(e)
}

/// What Tab knows.
struct Words(Vec<String>);

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(completions(&self.0, line, at))
    }
}

fn completions(words: &[String], line: &str, at: usize) -> (usize, Vec<Pair>) {
    let typed = line.get(..at).unwrap_or(line);
    let start = typed
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.' || c == '-'))
        .map_or(0, |at| {
            at + typed[at..].chars().next().map_or(1, char::len_utf8)
        });
    // A column may be typed behind its table: `audit.verb`.
    let start = match typed[start..].rfind('.') {
        Some(dot) if dot > 0 => start + dot + 1,
        _ => start,
    };
    let prefix = typed[start..].to_lowercase();
    let found = words
        .iter()
        .filter(|word| !prefix.is_empty() && word.to_lowercase().starts_with(&prefix))
        .map(|word| Pair {
            display: word.clone(),
            replacement: word.clone(),
        })
        .collect();
    (start, found)
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}

impl Helper for Words {}

/// Whether Enter sends what was typed.
fn is_complete(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('.') || split(text).1.trim().is_empty()
}

/// The statements of a text, without their semicolons; what follows the last one counts as well.
fn statements(text: &str) -> Vec<String> {
    let (mut found, rest) = split(text);
    found.push(rest);
    found
        .into_iter()
        .map(|s| s.trim().to_owned())
        .filter(|s| has_words(s))
        .collect()
}

/// Whether there is more than comments.
fn has_words(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("--")
    })
}

/// Splits at semicolons outside of quotes and comments, and after lines that begin with a dot.
fn split(text: &str) -> (Vec<String>, String) {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut chars = text.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next() {
        let dot_line = quote.is_none() && current.trim_start().starts_with('.');
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\n') if dot_line => {
                found.push(std::mem::take(&mut current));
                continue;
            }
            (None, _) if dot_line => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '-') if chars.peek() == Some(&'-') => {
                current.push(c);
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    current.push(c);
                }
                continue;
            }
            (None, '/') if chars.peek() == Some(&'*') => {
                current.push(c);
                let mut last = ' ';
                for c in chars.by_ref() {
                    current.push(c);
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
                continue;
            }
            (None, ';') => {
                found.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    (found, current)
}

/// Words of a dot command: separated by spaces, with quotes around what has some.
fn words_of(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.trim().trim_end_matches(';').chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(Error::new(ErrorKind::Usage, "a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        let text = "SELECT ';' ; -- a; b\nSELECT \"x;\" /* ; */;\n.tables\nSELECT 3";
        assert_eq!(
            statements(text),
            [
                "SELECT ';'",
                "-- a; b\nSELECT \"x;\" /* ; */",
                ".tables",
                "SELECT 3"
            ]
        );
        assert!(statements("-- only\n\n;;").is_empty());
    }

    #[test]
    fn enter_sends_only_what_is_complete() {
        for (text, complete) in [
            ("", true),
            (".tables", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT ';", false),
            ("SELECT 1; SELECT", false),
        ] {
            assert_eq!(is_complete(text), complete, "{text}");
        }
    }

    #[test]
    fn words_and_completions() {
        let line = ".ask x --text 'a b' --n ''";
        assert_eq!(
            words_of(line).unwrap(),
            [".ask", "x", "--text", "a b", "--n", ""]
        );
        assert!(words_of(".ask 'x").is_err());
        let words = vec![
            "audit".to_owned(),
            "audit_id".to_owned(),
            "SELECT".to_owned(),
        ];
        let (start, found) = completions(&words, "SELECT audit.Aud", 16);
        assert_eq!((start, found.len()), (13, 2));
        assert_eq!(completions(&words, "sel", 3).1[0].replacement, "SELECT");
        assert!(completions(&words, "SELECT ", 7).1.is_empty());
    }
}
