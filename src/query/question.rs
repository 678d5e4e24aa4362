//! Named questions: one SQL query a file, with a header that gives title, parameters, columns, what
//! bodies and logs it needs, what it leaves out and how it is drawn. In: the built-in files and a
//! user's folder. Out: [`Question`]s that were checked when loaded (every placeholder is a parameter,
//! every parameter is used), and statements whose values are bound as typed literals in the syntax
//! tree, never pasted into text.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt as _;

use super::bind;
use super::dialect;
use super::embedded::{QUESTIONS, SqlFile};
use super::header::{self, Line, wrong};
use super::time::{TIME_FORMS, TimeReader, parse_duration};
use super::{Answer, Session, coverage, materialize};
use crate::error::{Context, Error, ErrorKind, Result};

/// A named question.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its name: the file's, without `.sql`.
    pub name: String,
    /// Where its file is.
    pub path: String,
    /// The question in one line.
    pub title: String,
    /// Parameters, the declared ones first, then those of [`window_params`] that it uses.
    pub params: Vec<Param>,
    /// The columns of its answer and their meaning.
    pub columns: Vec<(String, String)>,
    /// Which bodies it needs.
    pub needs: Option<Needs>,
    /// Whose log entries it needs.
    pub logs: Option<Logs>,
    /// How its rows are drawn for people.
    pub chart: Option<Chart>,
    /// Rows that it leaves out unless it is told not to.
    pub left_out: Option<LeftOut>,
    /// Parts of the query that are answered once and kept, by name.
    pub once: Vec<String>,
    /// What it costs, one line.
    pub cost: Option<String>,
    /// A command that asks it.
    pub example: Option<String>,
    /// The file's text.
    pub sql: String,
    query: ast::Statement,
}

/// A parameter of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Name: `$name` in SQL, `--name` on the command line (with `-` for `_`).
    pub name: String,
    /// Type.
    pub kind: ParamKind,
    /// What may be given, if not all texts.
    pub choices: Vec<String>,
    /// What holds when it is not given.
    pub absent: Absent,
    /// Meaning.
    pub doc: String,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Text.
    Text,
    /// One of some texts.
    Choice,
    /// A 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// True or false.
    Flag,
    /// An instant.
    Time,
    /// A span of time.
    Duration,
    /// Several texts.
    TextList,
}

/// What holds when a parameter is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// It must be given.
    Refused,
    /// It is null.
    Null,
    /// It is this, as it would be typed.
    Default(String),
}

/// A value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not given.
    Null(ParamKind),
    /// Text.
    Text(String),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// An instant.
    Time(DateTime<Utc>),
    /// Microseconds.
    Duration(i64),
    /// Several texts.
    TextList(Vec<String>),
}

/// Values by parameter name.
pub type Values = BTreeMap<String, Value>;

/// Whose log entries a question needs: of these components, or of the one that a parameter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logs {
    /// Entries of each of these components.
    Of(Vec<String>),
    /// Entries of the component that this parameter names; of any if it is not given.
    Named(String),
}

/// Rows that a question leaves out as long as a parameter has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The parameter.
    pub param: String,
    /// Its value with which only these rows are answered.
    pub only: String,
    /// What they are and how they are shown.
    pub what: String,
}

/// A chart of an answer: a bar for each step of time, a panel for each series. The names are those
/// of columns of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// When a bar begins.
    pub time: String,
    /// How high it is.
    pub value: String,
    /// Name of the series.
    pub by: String,
    /// How long a bar is: minute, hour or day.
    pub per: String,
}

/// Which events must have been logged with bodies for a question to be answered in full.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Resources, plural; empty: all.
    pub resources: Vec<String>,
    /// Subresource; `-` means none.
    pub subresource: Option<String>,
    /// Verbs; empty: all.
    pub verbs: Vec<String>,
    /// The body it reads.
    pub body: Body,
}

/// A body of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// The request's.
    Request,
    /// The response's.
    #[default]
    Response,
}

const KINDS: [(&str, ParamKind); 8] = [
    ("text", ParamKind::Text),
    ("choice", ParamKind::Choice),
    ("int", ParamKind::Int),
    ("float", ParamKind::Float),
    ("flag", ParamKind::Flag),
    ("time", ParamKind::Time),
    ("duration", ParamKind::Duration),
    ("text-list", ParamKind::TextList),
];

/// Names that flags of the program have.
const RESERVED: [&str; 15] = [
    "since",
    "until",
    "cluster",
    "archive",
    "config",
    "timezone",
    "verbose",
    "help",
    "list",
    "output",
    "output_file",
    "memory",
    "timeout",
    "explain",
    "no_chart",
];

impl ParamKind {
    /// The name in a header.
    pub fn as_str(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

impl Param {
    /// The flag on the command line, without dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Reads the values as typed; a list takes all, the others one.
    ///
    /// # Errors
    /// `Usage` when the text is not of the type.
    pub fn read(&self, texts: &[String], times: &TimeReader) -> Result<Value> {
        let not = |text: &str, what: &str, hint: &str| {
            Error::new(
                ErrorKind::Usage,
                format!("--{} takes {what}, not '{text}'", self.flag()),
            )
            .hint(hint.to_owned())
        };
        if self.kind == ParamKind::TextList {
            return Ok(Value::TextList(texts.to_vec()));
        }
        let text = texts.last().map_or("", String::as_str);
        Ok(match self.kind {
            ParamKind::Text | ParamKind::TextList => Value::Text(text.to_owned()),
            ParamKind::Choice if !self.choices.iter().any(|c| c == text) => {
                let what = format!("one of {}", self.choices.join(", "));
                return Err(not(text, &what, "choose one of them"));
            }
            ParamKind::Choice => Value::Text(text.to_owned()),
            ParamKind::Int => Value::Int(
                text.parse()
                    .map_err(|_| not(text, "a whole number", "such as 1000"))?,
            ),
            ParamKind::Float => Value::Float(
                text.parse::<f64>()
                    .ok()
                    .filter(|v| v.is_finite())
                    .ok_or_else(|| not(text, "a number", "such as 0.5"))?,
            ),
            ParamKind::Flag => Value::Flag(
                text.parse()
                    .map_err(|_| not(text, "true or false", "alone it means true"))?,
            ),
            ParamKind::Time => {
                Value::Time(times.parse(text).context(format!("--{}", self.flag()))?)
            }
            ParamKind::Duration => Value::Duration(
                parse_duration(text)
                    .context(format!("--{}", self.flag()))?
                    .num_microseconds()
                    .ok_or_else(|| not(text, "a shorter duration", "such as 30d"))?,
            ),
        })
    }
}

/// The parameters that every question may use without declaring them.
pub fn window_params() -> Vec<Param> {
    let param = |name: &str, kind, doc: String| Param {
        name: name.to_owned(),
        kind,
        choices: Vec::new(),
        absent: Absent::Null,
        doc,
    };
    vec![
        param(
            "since",
            ParamKind::Time,
            format!("only from this time on: {TIME_FORMS}"),
        ),
        param("until", ParamKind::Time, "only before this time".to_owned()),
        param("cluster", ParamKind::Text, "only this cluster".to_owned()),
    ]
}

impl Question {
    /// Parses and checks one file.
    ///
    /// # Errors
    /// `Usage`, naming file and line.
    pub fn parse(name: &str, path: &str, text: &str) -> Result<Self> {
        let lines = header::parse(
            path,
            text,
            &[
                "title", "param", "column", "needs", "logs", "chart", "left-out", "once", "cost",
                "example",
            ],
        )?;
        let query = one_query(path, text)?;
        let mut question = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            title: header::single(path, &lines, "title")?,
            params: Vec::new(),
            columns: Vec::new(),
            needs: None,
            logs: None,
            chart: None,
            left_out: None,
            once: Vec::new(),
            cost: header::optional(path, &lines, "cost")?,
            example: header::optional(path, &lines, "example")?,
            sql: text.to_owned(),
            query,
        };
        for line in &lines {
            match line.key.as_str() {
                "param" => {
                    let param = parse_param(path, line)?;
                    if question.params.iter().any(|p| p.name == param.name) {
                        let what = format!("a second parameter `{}`", param.name);
                        return Err(wrong(path, line.number, what));
                    }
                    question.params.push(param);
                }
                "column" => question
                    .columns
                    .push((line.words.clone(), line.value.clone())),
                "needs" => question.needs = Some(parse_needs(path, line)?),
                "logs" => question.logs = Some(parse_logs(path, line)?),
                "chart" => question.chart = Some(parse_chart(path, line)?),
                "left-out" => question.left_out = Some(parse_left_out(path, line)?),
                "once" => question
                    .once
                    .extend(parse_once(path, line, &question.query)?),
                _ => {}
            }
        }
        question.check_header(&lines)?;
        question.check_placeholders(&lines)?;
        Ok(question)
    }

    /// What the header says of logs and chart must name parameters and columns that are there.
    fn check_header(&self, lines: &[Line]) -> Result<()> {
        let at = |key: &str| lines.iter().find(|l| l.key == key).map_or(1, |l| l.number);
        if let Some(Logs::Named(param)) = &self.logs
            && !self.params.iter().any(|p| p.name == *param)
        {
            let what = format!("`${param}` is not a parameter");
            return Err(wrong(&self.path, at("logs"), what));
        }
        if let Some(left_out) = &self.left_out {
            let param = self.params.iter().find(|p| p.name == left_out.param);
            if !param.is_some_and(|p| p.choices.contains(&left_out.only)) {
                let what = format!("`{}` is no choice of a parameter", left_out.only);
                return Err(wrong(&self.path, at("left-out"), what));
            }
        }
        if let Some(chart) = &self.chart {
            for column in [&chart.time, &chart.value, &chart.by, &chart.per] {
                if !self.columns.iter().any(|(name, _)| name == column) {
                    let what = format!("`{column}` is not a column");
                    return Err(wrong(&self.path, at("chart"), what));
                }
            }
        }
        Ok(())
    }

    fn check_placeholders(&mut self, lines: &[Line]) -> Result<()> {
        let used = bind::placeholders(&mut self.query.clone());
        for param in &self.params {
            if !used.contains(&param.name) {
                let line = lines
                    .iter()
                    .find(|l| l.key == "param" && l.words.split(' ').next() == Some(&param.name))
                    .map_or(1, |l| l.number);
                let what = format!("parameter `{}` is not used in the query", param.name);
                return Err(wrong(&self.path, line, what));
            }
        }
        for param in window_params() {
            if used.contains(&param.name) {
                self.params.push(param);
            }
        }
        for name in used {
            if !self.params.iter().any(|p| p.name == name) {
                let needle = format!("${name}");
                let line = self
                    .sql
                    .lines()
                    .position(|l| !l.trim_start().starts_with("--") && l.contains(&needle))
                    .map_or(1, |at| at + 1);
                let what = format!("`{needle}` is not a parameter: declare it with `-- param`");
                return Err(wrong(&self.path, line, what));
            }
        }
        Ok(())
    }

    /// Every parameter's value: those given, else defaults, else null.
    ///
    /// # Errors
    /// `Usage` when a parameter that must be given is not, or a default is not of its type.
    pub fn complete(&self, mut given: Values, times: &TimeReader) -> Result<Values> {
        for param in &self.params {
            if given.contains_key(&param.name) {
                continue;
            }
            let value = match &param.absent {
                Absent::Null => Value::Null(param.kind),
                Absent::Default(text) => param
                    .read(&default_texts(param.kind, text), times)
                    .context(format!("{}: the default of {}", self.path, param.name))?,
                Absent::Refused => {
                    return Err(Error::new(
                        ErrorKind::Usage,
                        format!("{} needs --{}: {}", self.name, param.flag(), param.doc),
                    )
                    .hint(match &self.example {
                        Some(example) => format!("such as `{example}`"),
                        None => format!("see `kolumn ask {} --help`", self.name),
                    }));
                }
            };
            given.insert(param.name.clone(), value);
        }
        Ok(given)
    }

    /// The query with all values in it.
    ///
    /// # Errors
    /// `Bug` when a value is missing: [`Question::complete`] was not called.
    pub fn bind(&self, values: &Values) -> Result<Statement> {
        let mut query = self.query.clone();
        bind::bind(&mut query, values)?;
        Ok(Statement::Statement(Box::new(query)))
    }

    /// The query with all values in it, as text to read or to paste into `kolumn query`.
    ///
    /// # Errors
    /// As [`Question::bind`].
    pub fn to_sql(&self, values: &Values) -> Result<String> {
        Ok(format!("{:#}", self.bind(values)?))
    }

    /// Asks it.
    ///
    /// # Errors
    /// Those of [`Question::bind`] and [`Session::answer`].
    pub async fn ask(&self, session: &Session, values: &Values) -> Result<Answer> {
        let mut query = self.query.clone();
        bind::bind(&mut query, values)?;
        for part in &self.once {
            materialize::mark(&mut query, part);
        }
        session
            .answer(Statement::Statement(Box::new(query)))
            .await
            .context(format!("cannot answer {}", self.name))
    }

    /// What a reader of the answer should know: bodies that were not logged or were skipped,
    /// components whose logs are not in the archive, and,
    /// for an answer without rows, what the window covers.
    ///
    /// # Errors
    /// Those of querying.
    pub async fn notes(
        &self,
        session: &Session,
        values: &Values,
        rows: u64,
    ) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        if let Some(needs) = &self.needs {
            notes.extend(coverage::missing_bodies(session, &self.name, needs, values).await?);
        }
        notes.extend(self.left_out_rows(session, values).await?);
        if let Some(logs) = &self.logs {
            notes.extend(coverage::missing_logs(session, logs, values).await?);
        }
        if rows == 0 {
            notes.push(coverage::window(session, values).await?);
        }
        Ok(notes)
    }
}

impl Question {
    /// How many rows are left out, if a parameter has its default.
    async fn left_out_rows(&self, session: &Session, values: &Values) -> Result<Option<String>> {
        let Some(left_out) = &self.left_out else {
            return Ok(None);
        };
        let is_default = self.params.iter().any(|param| {
            param.name == left_out.param
                && matches!(
                    (&param.absent, values.get(&param.name)),
                    (Absent::Default(default), Some(Value::Text(given))) if default == given
                )
        });
        if !is_default {
            return Ok(None);
        }
        let mut values = values.clone();
        let only = Value::Text(left_out.only.clone());
        values.insert(left_out.param.clone(), only);
        if let Some(limit) = values.get_mut("limit") {
            *limit = Value::Int(i64::MAX);
        }
        let mut answer = self.ask(session, &values).await?;
        let mut rows = 0;
        while let Some(batch) = answer.batches.next().await {
            rows += batch?.num_rows();
        }
        Ok((rows > 0).then(|| format!("{rows} rows are left out: {}", left_out.what)))
    }
}

/// A default of a list is separated by commas.
fn default_texts(kind: ParamKind, text: &str) -> Vec<String> {
    match kind {
        ParamKind::TextList => text.split(',').map(|t| t.trim().to_owned()).collect(),
        _ => vec![text.to_owned()],
    }
}

fn one_query(path: &str, text: &str) -> Result<ast::Statement> {
    let statement =
        dialect::parse(text).map_err(|e| Error::new(ErrorKind::Usage, format!("{path}: {e}")))?;
    match statement {
        Statement::Statement(query) if matches!(*query, ast::Statement::Query(_)) => Ok(*query),
        _ => Err(Error::new(
            ErrorKind::Usage,
            format!("{path}: a question is one SELECT"),
        )),
    }
}

fn parse_param(path: &str, line: &Line) -> Result<Param> {
    let words = line.words.as_str();
    let form = || {
        let form = "-- param NAME TYPE required|optional|default VALUE: meaning, where TYPE may be `choice a|b|c`";
        wrong(path, line.number, format!("expected `{form}`"))
    };
    let (name, rest) = words.split_once(' ').ok_or_else(form)?;
    let (kind, rest) = rest.trim().split_once(' ').ok_or_else(form)?;
    let well_named = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !well_named {
        return Err(wrong(
            path,
            line.number,
            format!("`{name}` is no name: use a-z, 0-9 and _"),
        ));
    }
    if RESERVED.contains(&name) {
        return Err(wrong(
            path,
            line.number,
            format!("the name `{name}` is taken"),
        ));
    }
    let kind = KINDS
        .iter()
        .find(|(k, _)| *k == kind)
        .map(|(_, k)| *k)
        .ok_or_else(|| {
            let kinds: Vec<&str> = KINDS.iter().map(|(k, _)| *k).collect();
            let what = format!("unknown type `{kind}`; the types are {}", kinds.join(", "));
            wrong(path, line.number, what)
        })?;
    let (choices, rest) = match (kind, rest.trim().split_once(' ')) {
        (ParamKind::Choice, Some((choices, rest))) => {
            (choices.split('|').map(str::to_owned).collect(), rest)
        }
        (ParamKind::Choice, None) => return Err(form()),
        _ => (Vec::new(), rest),
    };
    let rest = rest.trim();
    let absent = match (rest, rest.strip_prefix("default ")) {
        ("required", _) => Absent::Refused,
        ("optional", _) => Absent::Null,
        (_, Some(value)) => Absent::Default(value.trim().trim_matches('"').to_owned()),
        _ => return Err(form()),
    };
    if line.value.is_empty() {
        return Err(wrong(
            path,
            line.number,
            format!("parameter `{name}` has no meaning"),
        ));
    }
    let param = Param {
        name: name.to_owned(),
        kind,
        choices,
        absent,
        doc: line.value.clone(),
    };
    if let Absent::Default(text) = &param.absent {
        let times = TimeReader {
            zone: chrono_tz::Tz::UTC,
            now: DateTime::UNIX_EPOCH,
        };
        param
            .read(&default_texts(kind, text), &times)
            .map_err(|e| wrong(path, line.number, format!("the default is wrong: {e}")))?;
    }
    Ok(param)
}

fn parse_needs(path: &str, line: &Line) -> Result<Needs> {
    let mut needs = Needs::default();
    for part in line.value.split_whitespace() {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match (key, value) {
            ("resource", value) if !value.is_empty() => {
                needs.resources = value.split(',').map(str::to_owned).collect();
            }
            ("subresource", value) if !value.is_empty() => {
                needs.subresource = Some(value.to_owned());
            }
            ("verbs", value) if !value.is_empty() => {
                needs.verbs = value.split(',').map(str::to_owned).collect();
            }
            ("body", "request") => needs.body = Body::Request,
            ("body", "response") => needs.body = Body::Response,
            _ => {
                let what = format!(
                    "`{part}` is none of resource=…,…, subresource=…, verbs=…,…, body=request|response"
                );
                return Err(wrong(path, line.number, what));
            }
        }
    }
    Ok(needs)
}

/// `-- logs: NAME, …` or `-- logs: $param`.
fn parse_logs(path: &str, line: &Line) -> Result<Logs> {
    let names: Vec<String> = line.value.split(',').map(|n| n.trim().to_owned()).collect();
    match names.as_slice() {
        [one] if one.starts_with('$') => Ok(Logs::Named(one.trim_start_matches('$').to_owned())),
        names if names.iter().any(|n| n.is_empty() || n.starts_with('$')) => Err(wrong(
            path,
            line.number,
            "expected `-- logs: COMPONENT, …` or `-- logs: $PARAMETER`",
        )),
        _ => Ok(Logs::Of(names)),
    }
}

/// `-- once: PART, …`, each of them a `WITH PART AS …` of the query.
fn parse_once(path: &str, line: &Line, query: &ast::Statement) -> Result<Vec<String>> {
    let mut query = query.clone();
    let names = line.value.split(',').map(|name| name.trim().to_owned());
    names
        .map(|name| match materialize::mark(&mut query, &name) {
            true => Ok(name),
            false => {
                let what = format!("`{name}` is no part of the query: expected `-- once: PART, …`");
                Err(wrong(path, line.number, what))
            }
        })
        .collect()
}

/// `-- left-out PARAM=CHOICE: what`.
fn parse_left_out(path: &str, line: &Line) -> Result<LeftOut> {
    match line.words.split_once('=') {
        Some((param, only)) if !param.is_empty() && !only.is_empty() && !line.value.is_empty() => {
            Ok(LeftOut {
                param: param.to_owned(),
                only: only.to_owned(),
                what: line.value.clone(),
            })
        }
        _ => Err(wrong(
            path,
            line.number,
            "expected `-- left-out PARAM=CHOICE: what these rows are, and how they are shown`",
        )),
    }
}

/// `-- chart: bars TIME VALUE by SERIES per STEP`.
fn parse_chart(path: &str, line: &Line) -> Result<Chart> {
    let words: Vec<&str> = line.value.split_whitespace().collect();
    match words.as_slice() {
        ["bars", time, value, "by", by, "per", per] => Ok(Chart {
            time: (*time).to_owned(),
            value: (*value).to_owned(),
            by: (*by).to_owned(),
            per: (*per).to_owned(),
        }),
        _ => Err(wrong(
            path,
            line.number,
            "expected `-- chart: bars TIME VALUE by SERIES per STEP`, all names of columns",
        )),
    }
}

/// The built-in questions, and those of a user's folder; sorted by name.
///
/// # Errors
/// `Usage` when a file is not well-formed or has the name of another, `Missing` when the folder does
/// not exist.
pub fn load(folder: Option<&Path>) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    for SqlFile { name, path, text } in QUESTIONS {
        let question = Question::parse(name, path, text)
            .map_err(|e| Error::new(ErrorKind::Bug, e.to_string()))?;
        questions.push(question);
    }
    if let Some(folder) = folder {
        for question in load_folder(folder)? {
            if questions.iter().any(|q| q.name == question.name) {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!(
                        "{}: there is a built-in question of this name",
                        question.path
                    ),
                )
                .hint("rename the file"));
            }
            questions.push(question);
        }
    }
    questions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(questions)
}

fn load_folder(folder: &Path) -> Result<Vec<Question>> {
    let act = || format!("cannot read the questions in {}", folder.display());
    let mut questions = Vec::new();
    for entry in std::fs::read_dir(folder).context(act())? {
        let path = entry.context(act())?.path();
        if path.extension().is_none_or(|e| e != "sql") {
            continue;
        }
        let shown = path.display().to_string();
        let name = path
            .file_stem()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_owned();
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        {
            return Err(
                Error::new(ErrorKind::Usage, format!("{shown}: an odd name"))
                    .hint("name it with letters, digits and -"),
            );
        }
        let text = std::fs::read_to_string(&path).context(format!("cannot read {shown}"))?;
        questions.push(Question::parse(&name, &shown, &text)?);
    }
    Ok(questions)
}

/// The question of a name.
///
/// # Errors
/// `Missing`, with the nearest names.
pub fn find<'a>(questions: &'a [Question], name: &str) -> Result<&'a Question> {
    questions
        .iter()
        .find(|q| q.name == name)
        .ok_or_else(|| unknown(questions, name))
}

/// The error for a question that does not exist.
pub fn unknown(questions: &[Question], name: &str) -> Error {
    let mut near: Vec<(usize, &str)> = questions
        .iter()
        .map(|q| (distance(&q.name, name), q.name.as_str()))
        .filter(|(distance, near)| {
            *distance <= name.len().max(near.len()) / 2 || near.contains(name)
        })
        .collect();
    near.sort_unstable();
    let near: Vec<String> = near.iter().take(3).map(|(_, n)| format!("`{n}`")).collect();
    let hint = if near.is_empty() {
        "`kolumn ask --list` shows all".to_owned()
    } else {
        format!(
            "did you mean {}? `kolumn ask --list` shows all",
            near.join(" or ")
        )
    };
    Error::new(ErrorKind::Missing, format!("there is no question '{name}'")).hint(hint)
}

/// Levenshtein distance: inserts, deletes and changes that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-- title: T?\n-- param user text optional: who\n-- param limit int default 10: rows\n-- param text text required: what\n-- column a: b\n-- needs: resource=nodes subresource=status body=response verbs=patch,update\n\nSELECT $user, $since, $text LIMIT $limit\n";

    fn fails(text: &str) -> String {
        Question::parse("q", "q.sql", text).unwrap_err().to_string()
    }

    fn times() -> TimeReader {
        TimeReader {
            zone: chrono_tz::Tz::UTC,
            now: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_header_is_read() {
        let q = Question::parse("q", "q.sql", GOOD).unwrap();
        assert_eq!(q.title, "T?");
        let names: Vec<&str> = q.params.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["user", "limit", "text", "since"]);
        assert_eq!(q.params[1].absent, Absent::Default("10".to_owned()));
        assert_eq!(q.needs.unwrap().verbs, ["patch", "update"]);
    }

    #[test]
    fn choices_logs_and_charts_are_read() {
        let text = "-- title: t\n-- param per choice minute|hour default hour: x\n-- column at: x\n-- column n: x\n-- column who: x\n-- column per: x\n-- logs: etcd, kubelet\n-- chart: bars at n by who per per\n\nSELECT $per";
        let q = Question::parse("q", "q.sql", text).unwrap();
        assert_eq!(q.params[0].choices, ["minute", "hour"]);
        let read = |text: &str| q.params[0].read(&[text.to_owned()], &times());
        assert_eq!(read("minute").unwrap(), Value::Text("minute".to_owned()));
        let e = read("week").unwrap_err().to_string();
        assert!(e.contains("one of minute, hour, not 'week'"), "{e}");
        let names = vec!["etcd".to_owned(), "kubelet".to_owned()];
        assert_eq!(q.logs, Some(Logs::Of(names)));
        assert_eq!(q.chart.unwrap().value, "n");

        let fault = fails("-- title: t\n-- chart: pie a b\n\nSELECT 1");
        assert!(fault.contains("q.sql:2: expected `-- chart"), "{fault}");
        let fault = fails("-- title: t\n-- chart: bars a b by c per d\n\nSELECT 1");
        assert!(fault.contains("q.sql:2: `a` is not a column"), "{fault}");
        let fault = fails("-- title: t\n-- logs: $who\n\nSELECT 1");
        assert!(fault.contains("q.sql:2: `$who` is not a"), "{fault}");
    }

    #[test]
    fn faults_name_file_and_line() {
        assert!(fails("SELECT 1").contains("q.sql:1: the header has no `-- title"));
        assert!(fails("-- title: t\n-- what is this\nSELECT 1").starts_with("q.sql:2: expected"));
        assert!(fails("-- title: t\n-- colour: red\nSELECT 1").contains("q.sql:2: unknown key"));
        assert!(fails("-- title: t\n\nSELECT\n $nope").contains("q.sql:4: `$nope` is not a"));
        let unused = "-- title: t\n-- param a int optional: x\n\nSELECT 1";
        assert!(fails(unused).contains("q.sql:2: parameter `a` is not used"));
        let kind = "-- title: t\n-- param a string optional: x\n\nSELECT $a";
        assert!(fails(kind).contains("q.sql:2: unknown type `string`"));
        let default = "-- title: t\n-- param a int default x: x\n\nSELECT $a";
        assert!(fails(default).contains("q.sql:2: the default is wrong"));
        let taken = "-- title: t\n-- param output int optional: x\n\nSELECT $output";
        assert!(fails(taken).contains("`output` is taken"));
        assert!(fails("-- title: t\n\nSELECT 1; SELECT 2").contains("more than one statement"));
        assert!(fails("-- title: t\n\nDROP TABLE audit").contains("is one SELECT"));
        assert!(fails("-- title: t\n\nSELEC 1").contains("q.sql: "));
    }

    #[test]
    fn values_are_bound_as_values() {
        let q = Question::parse("q", "q.sql", GOOD).unwrap();
        let missing = q.complete(Values::new(), &times()).unwrap_err();
        assert!(missing.to_string().contains("needs --text"));
        let evil = "'; DROP TABLE audit; --";
        let given = Values::from([("text".to_owned(), Value::Text(evil.to_owned()))]);
        let values = q.complete(given, &times()).unwrap();
        let Statement::Statement(bound) = q.bind(&values).unwrap() else {
            panic!()
        };
        let text = bound.to_string();
        assert!(text.contains("'''; DROP TABLE audit; --'"), "{text}");
        assert!(text.ends_with("LIMIT 10"), "{text}");
        assert!(!text.contains('$'));
    }

    #[test]
    fn built_in_questions_are_well_formed() {
        let questions = load(None).unwrap();
        assert!(
            questions
                .iter()
                .all(|q| !q.columns.is_empty() && q.example.is_some())
        );
    }

    #[test]
    fn near_names_are_suggested() {
        let questions = load(None).unwrap();
        let e = find(&questions, "create-by-user").unwrap_err();
        assert!(
            e.hint_text().unwrap().contains("`creates-by-user`"),
            "{e:?}"
        );
        assert_eq!(distance("kitten", "sitting"), 3);
        assert!(
            find(&questions, "qqq")
                .unwrap_err()
                .hint_text()
                .unwrap()
                .starts_with("`kolumn")
        );
    }
}
