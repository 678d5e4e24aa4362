//! `kolumn ask`: named questions as subcommands whose parameters are flags. In: the questions and
//! what was typed. Out: the answer on stdout, and on stderr what the answer cannot know: bodies that
//! were not logged, what the window covers when nothing was found.

use std::process::ExitCode;
use std::time::Instant;

use clap::builder::StyledStr;
use clap::error::ErrorKind as ClapKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::explain;
use super::plan::{LimitArgs, OutputArgs, Plan};
use crate::error::{Error, ErrorKind, Result};
use crate::output::chart::Axes;
use crate::output::{self, Format, Output, terminal};
use crate::query::question::{self, Absent, Param, ParamKind, Question, Value, Values};
use crate::query::{Answer, Session, SessionOptions};
use crate::table::Archive;

const NO_CHART: &str = "no-chart";
const EXPLAIN: &str = "explain";

/// What was typed after `ask`.
#[derive(Debug, Clone, Default)]
pub struct AskArgs {
    list: bool,
    list_as_json: bool,
    chosen: Option<(String, ArgMatches)>,
}

impl Args for AskArgs {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new("list")
                    .long("list")
                    .action(ArgAction::SetTrue)
                    .help("List the questions"),
            )
            .arg(
                Arg::new("list-output")
                    .long("output")
                    .value_name("FORMAT")
                    .value_parser(["text", "json"])
                    .default_value("text")
                    .requires("list")
                    .help("Format of the list; json: one object a question and line"),
            )
            .subcommand_value_name("QUESTION")
            .subcommand_help_heading("Questions")
            .disable_help_subcommand(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AskArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            list: matches.get_flag("list"),
            list_as_json: matches
                .get_one::<String>("list-output")
                .is_some_and(|format| format == "json"),
            chosen: matches
                .subcommand()
                .map(|(name, found)| (name.to_owned(), found.clone())),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Makes a subcommand of each question.
pub fn with_questions(ask: Command, questions: &[Question]) -> Command {
    ask.subcommands(questions.iter().map(question_command))
}

fn question_command(question: &Question) -> Command {
    let explain = Arg::new(EXPLAIN).long(EXPLAIN).action(ArgAction::SetTrue);
    let command = Command::new(question.name.clone())
        .args(flags(question))
        .arg(explain.help(
        "Say on stderr what was read for the answer: files and bytes of how many, what was skipped",
    ));
    // The title comes last: each group of flags brings a description of its own.
    LimitArgs::augment_args(OutputArgs::augment_args(command))
        .about(question.title.clone())
        .after_help(after_help(question))
}

/// The flags of a question: its parameters, and one to have a table where it draws a chart.
fn flags(question: &Question) -> Vec<Arg> {
    let mut flags: Vec<Arg> = question.params.iter().map(flag).collect();
    if question.chart.is_some() {
        let arg = Arg::new(NO_CHART).long(NO_CHART);
        flags.push(
            arg.action(ArgAction::SetTrue)
                .help("Show the rows, not the chart"),
        );
    }
    flags
}

fn flag(param: &Param) -> Arg {
    let kind = match param.kind {
        ParamKind::TextList => "TEXT,…".to_owned(),
        ParamKind::Choice => param.choices.join("|"),
        kind => kind.as_str().to_uppercase(),
    };
    let arg = Arg::new(param.name.clone())
        .long(param.flag())
        .value_name(kind);
    let arg = match param.kind {
        ParamKind::TextList => arg.action(ArgAction::Append).value_delimiter(','),
        ParamKind::Flag => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        ParamKind::Int | ParamKind::Float => arg.allow_negative_numbers(true),
        _ => arg.allow_hyphen_values(false),
    };
    let help = match &param.absent {
        Absent::Null => param.doc.clone(),
        Absent::Refused => format!("{} [required]", param.doc),
        Absent::Default(text) => format!("{} [default: {text}]", param.doc),
    };
    arg.help(help)
}

fn after_help(question: &Question) -> StyledStr {
    let mut text = String::new();
    if !question.columns.is_empty() {
        text.push_str("Columns:\n");
        let width = question
            .columns
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        for (name, doc) in &question.columns {
            text.push_str(&format!("  {name:width$}  {doc}\n"));
        }
    }
    if let Some(cost) = &question.cost {
        text.push_str(&format!("\nCost: {cost}\n"));
    }
    if let Some(example) = &question.example {
        text.push_str(&format!("\nExample: {example}\n"));
    }
    text.into()
}

/// A question as programs read it.
fn described(question: &Question) -> serde_json::Value {
    let parameters: Vec<_> = question
        .params
        .iter()
        .map(|param| {
            let default = match &param.absent {
                Absent::Default(text) => Some(text.as_str()),
                Absent::Null | Absent::Refused => None,
            };
            serde_json::json!({
                "flag": format!("--{}", param.flag()),
                "type": param.kind.as_str(),
                "required": matches!(param.absent, Absent::Refused),
                "default": default,
                "choices": param.choices,
                "help": param.doc,
            })
        })
        .collect();
    let columns: Vec<_> = question
        .columns
        .iter()
        .map(|(name, doc)| serde_json::json!({"name": name, "help": doc}))
        .collect();
    serde_json::json!({
        "name": question.name,
        "title": question.title,
        "parameters": parameters,
        "columns": columns,
        "example": question.example,
    })
}

/// Runs the command.
///
/// # Errors
/// `Usage` for wrong values, and those of asking and writing.
pub async fn run(args: AskArgs, plan: &Plan, questions: &[Question]) -> Result<ExitCode> {
    if args.list && args.list_as_json {
        let lines: String = questions
            .iter()
            .map(|question| described(question).to_string() + "\n")
            .collect();
        terminal::print_bytes(lines.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.list {
        let width = questions.iter().map(|q| q.name.len()).max().unwrap_or(0);
        for question in questions {
            terminal::print(&format!("{:width$}  {}", question.name, question.title));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some((name, matches)) = args.chosen else {
        return Err(Error::new(ErrorKind::Usage, "no question was named")
            .hint("`kolumn ask --list` shows all"));
    };
    let question = question::find(questions, &name)?;
    let values = question.complete(given(question, &matches, plan)?, &plan.times())?;
    let read = |e: clap::Error| Error::new(ErrorKind::Bug, e.kind().to_string());
    let explained = matches.get_flag(EXPLAIN);
    let options = SessionOptions {
        traced: explained,
        ..plan.session(&LimitArgs::from_arg_matches(&matches).map_err(read)?)?
    };
    let output = plan.output(&OutputArgs::from_arg_matches(&matches).map_err(read)?);
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let started = Instant::now();
    let session = Session::open(&archive, &options).await?;
    if plan.verbose > 0 {
        terminal::note(&question.to_sql(&values)?);
    }
    let answer = question.ask(&session, &values).await?;
    let bare = question.chart.is_some() && matches.get_flag(NO_CHART);
    let rows = show(question, &values, answer, &output, bare).await?;
    if explained {
        explain::tell(&session, started.elapsed());
    }
    for note in question.notes(&session, &values, rows).await? {
        terminal::note(&format!("note: {note}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws the answer if it has a chart and people read it, else writes its rows.
pub(super) async fn show(
    question: &Question,
    values: &Values,
    answer: Answer,
    output: &Output,
    bare: bool,
) -> Result<u64> {
    match &question.chart {
        Some(chart) if output.format == Format::Table && output.file.is_none() && !bare => {
            let time = |name: &str| match values.get(name) {
                Some(Value::Time(time)) => Some(*time),
                _ => None,
            };
            let axes = Axes {
                time: chart.time.clone(),
                value: chart.value.clone(),
                by: chart.by.clone(),
                per: chart.per.clone(),
                since: time("since"),
                until: time("until"),
            };
            let batches = answer.collect().await?;
            let (lines, rows) = output::chart::draw(&batches, &axes, output)?;
            terminal::print(&lines.join("\n"));
            Ok(rows)
        }
        _ => output::write(answer.schema, answer.batches, output).await,
    }
}

fn given(question: &Question, matches: &ArgMatches, plan: &Plan) -> Result<Values> {
    let mut values = Values::new();
    for param in &question.params {
        let texts: Vec<String> = match matches.try_get_many::<String>(&param.name) {
            Ok(Some(texts)) => texts.cloned().collect(),
            _ => continue,
        };
        values.insert(param.name.clone(), param.read(&texts, &plan.times())?);
    }
    Ok(values)
}

/// Reads the flags of a question from one line, for the shell: its values, and true if the rows of a
/// question that has a chart are to be shown.
///
/// # Errors
/// `Usage` with clap's words.
pub(super) fn from_line(
    question: &Question,
    words: Vec<String>,
    plan: &Plan,
) -> Result<Option<(Values, bool)>> {
    let command = Command::new(question.name.clone())
        .args(flags(question))
        .about(question.title.clone())
        .after_help(after_help(question))
        .no_binary_name(true);
    match command.try_get_matches_from(words) {
        Ok(matches) => {
            let values = question.complete(given(question, &matches, plan)?, &plan.times())?;
            let bare = question.chart.is_some() && matches.get_flag(NO_CHART);
            Ok(Some((values, bare)))
        }
        Err(e) if e.kind() == ClapKind::DisplayHelp => {
            terminal::print(&e.to_string());
            Ok(None)
        }
        Err(e) => {
            let text = e.to_string();
            let text = text
                .trim_start_matches("error: ")
                .lines()
                .next()
                .unwrap_or_default();
            Err(Error::new(ErrorKind::Usage, text.to_owned())
                .hint(format!("`.ask {} --help` shows its flags", question.name)))
        }
    }
}
