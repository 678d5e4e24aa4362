//! Runs the question tests in `tests/sql/*.ask`: what is asked, of which archive, and the answer that
//! is expected. Inputs go through the real pipeline, questions come from `sql/questions` as they are
//! on disk (an edited .sql file needs no compiling), and every question is asked twice, with pruning
//! and without it on one partition: both answers must be the same, also in order (K8).
//!
//! ```text
//! # A comment. The head of a file describes the archive that its questions are asked of:
//! ingest tests/data/demo
//! ingest tests/data/audit-json/truncated.log --cluster edge
//! event {"verb": "create", "user": {"username": "o'hara"}}
//!
//! # What is checked, and where the expected rows come from.
//! ask creates-by-user --user "o'hara" --since 2026-11-20
//! show time, user, resource
//! ----
//! time | user | resource
//! 2026-11-20T11:21:12.003Z | o'hara | pods
//! note: …
//! ```
//!
//! - `ingest PATH [--cluster NAME] [--format FORMAT]`: a path of the repository; each line is a run
//!   of its own, in order. Secrets are redacted, under a key of zeros. Files with the same head share
//!   one archive, so keep to heads that others have.
//! - `event JSON`: one audit event written by hand. Fields that it leaves out are those of
//!   [`plain_event`]; a field that is null is left out of the event; `stageTimestamp` is the received
//!   time if it is not given. Events of one head become one file `made.log`, ingested last; `line
//!   TEXT` puts any other line into that file, `cluster NAME` names its cluster (else `made`).
//! - `component JSON` and `inventory JSON`: one row of these tables by the names of its columns, written
//!   as a data file without the code that ingests. What it leaves out is that of [`plain_row`]; `fields`
//!   and `record` may be given as JSON; its cluster is that of `cluster NAME`, else `made`.
//! - `ask NAME --flag value …`: quotes as in a shell; `--timezone ZONE` reads and shows times in
//!   that zone. The present is always 2026-11-20T14:00:00Z.
//! - `show a, b`: only these columns, in this order. `show count`: only the number of rows.
//! - Below `----`, up to an empty line or the end: column names, then one line a row. Cells are
//!   separated by ` | `; null is `NULL`, the empty text `""`, a line end `\n`, times are RFC 3339.
//!   The repository's folder is cut off in paths. Then the notes below the answer (`note: …`), in
//!   which a note about the window of an answer without rows is included; or only `error: …`.
//!
//! `KOLUMN_ASK=creates` runs only files whose name holds that. `KOLUMN_UPDATE=1` writes the present
//! answers into the files instead of comparing: for a first draft or after a change of columns, and
//! then every row is to be checked against the input, since an answer of ours proves nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use clap::ValueEnum as _;
use kolumn::decode::FormatFamily;
use kolumn::error::{Error, ErrorKind, Result};
use kolumn::layout::columns::TableName;
use kolumn::layout::partition::ClusterName;
use kolumn::maintain::optimize;
use kolumn::output::{self, Format, Output};
use kolumn::pipeline::{self, Options, Redaction, Source, SourceSettings, Unobserved};
use kolumn::query::question::{self, ParamKind, Question, Values};
use kolumn::query::{Session, SessionOptions, time::TimeReader};
use kolumn::source::list::list_local;
use kolumn::table::Archive;
use kolumn::table::provider::Pruning;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::archive;
use crate::faulty::{Fault, FaultyStore};
use crate::fixture::{self, File, Fixture, event};

const NOW: &str = "2026-11-20T14:00:00Z";

/// An event of which a test gives only what matters to it.
fn plain_event() -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
        "auditID": "00000000-0000-0000-0000-000000000000", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/dev/pods", "verb": "list",
        "user": {"username": "alice", "groups": ["system:authenticated"]},
        "sourceIPs": ["192.0.2.1"], "userAgent": "test/1.0",
        "objectRef": {"resource": "pods", "namespace": "dev", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-11-20T12:00:00.000000Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test run is steered by environment variables"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn questions() -> Vec<Question> {
    files("sql/questions", "sql")
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let shown = format!("sql/questions/{}.sql", stem(path));
            Question::parse(stem(path), &shown, &text).unwrap_or_else(|e| panic!("{e}"))
        })
        .collect()
}

/// A file of tests: the lines of its head, and its cases with the lines around them.
struct Script {
    path: PathBuf,
    inputs: Vec<Input>,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Input {
    Ingest(Vec<String>),
    Line(String),
    Cluster(String),
    Row(&'static str, String),
}

enum Part {
    /// A comment, an empty line or a line of the head, kept when the file is written again.
    Text(String),
    Case(Case),
}

struct Case {
    line: usize,
    ask: String,
    show: Option<String>,
    expected: Vec<String>,
}

impl Script {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut script = Self {
            path: path.to_owned(),
            inputs: Vec::new(),
            parts: Vec::new(),
        };
        let mut lines = text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            let place = || format!("{}:{}", path.display(), at + 1);
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" | "#" => {}
                "ingest" => script.inputs.push(Input::Ingest(words(rest))),
                "line" => script.inputs.push(Input::Line(rest.to_owned())),
                "component" => script.inputs.push(Input::Row("component", rest.to_owned())),
                "inventory" => script.inputs.push(Input::Row("inventory", rest.to_owned())),
                "cluster" => script.inputs.push(Input::Cluster(rest.to_owned())),
                "event" => {
                    let event = made_event(rest).unwrap_or_else(|e| panic!("{}: {e}", place()));
                    script.inputs.push(Input::Line(event));
                }
                "ask" => {
                    let show = lines
                        .next_if(|(_, line)| line.starts_with("show "))
                        .map(|(_, line)| line.trim_start_matches("show ").to_owned());
                    let rule = lines.next().map(|(_, line)| line);
                    assert_eq!(rule, Some("----"), "{}: expected ----", place());
                    let mut expected = Vec::new();
                    while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
                        expected.push(line.to_owned());
                    }
                    script.parts.push(Part::Case(Case {
                        line: at + 1,
                        ask: rest.to_owned(),
                        show,
                        expected,
                    }));
                    continue;
                }
                _ => panic!("{}: cannot read `{line}`", place()),
            }
            script.parts.push(Part::Text(line.to_owned()));
        }
        script
    }

    fn cases(&self) -> impl Iterator<Item = &Case> {
        self.parts.iter().filter_map(|part| match part {
            Part::Case(case) => Some(case),
            Part::Text(_) => None,
        })
    }

    /// Writes the file with these answers in place of the expected ones.
    fn write(&self, answers: &[Vec<String>]) {
        let mut answers = answers.iter();
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(line) => text.push_str(line),
                Part::Case(case) => {
                    let _ = writeln!(text, "ask {}", case.ask);
                    if let Some(show) = &case.show {
                        let _ = writeln!(text, "show {show}");
                    }
                    text.push_str("----\n");
                    text.push_str(&answers.next().unwrap().join("\n"));
                }
            }
            text.push('\n');
        }
        std::fs::write(&self.path, text).unwrap();
    }
}

fn made_event(text: &str) -> serde_json::Result<String> {
    let mut event = plain_event();
    let fields = event.as_object_mut().unwrap();
    let given: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    fields.extend(given);
    let received = fields["requestReceivedTimestamp"].clone();
    fields.entry("stageTimestamp").or_insert(received);
    fields.retain(|_, value| !value.is_null());
    Ok(event.to_string())
}

/// Splits at spaces; what stands in single or double quotes stays together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {line}");
    words.extend(word);
    words
}

async fn ingest(inputs: &[Input], folder: &TempDir) -> Archive {
    let url = Url::from_directory_path(folder.path().join("archive")).unwrap();
    let archive = Archive::open_or_create(&url).await.unwrap();
    let mut made = String::new();
    let mut cluster = "made".to_owned();
    let mut rows: BTreeMap<(&str, String), Vec<Value>> = BTreeMap::new();
    for input in inputs {
        match input {
            Input::Ingest(words) => {
                let mut words = words.iter();
                let path = root().join(words.next().unwrap());
                let mut settings = SourceSettings::default();
                while let Some(flag) = words.next() {
                    let value = words.next().unwrap();
                    match flag.as_str() {
                        "--cluster" => settings.cluster = Some(ClusterName::parse(value).unwrap()),
                        "--format" => {
                            settings.format = FormatFamily::from_str(value, true).unwrap()
                        }
                        _ => panic!("ingest: unknown flag {flag}"),
                    }
                }
                run(&archive, &path, settings).await;
            }
            Input::Line(line) => {
                made.push_str(line);
                made.push('\n');
            }
            Input::Cluster(name) => cluster.clone_from(name),
            Input::Row(table, text) => {
                let number = rows.values().map(Vec::len).sum();
                let row = plain_row(table, text, number).unwrap_or_else(|e| panic!("{e}: {text}"));
                // A file for each hour, so that a window can leave some out.
                let hour = row["time"].as_str().unwrap()[..13].to_owned();
                rows.entry((table, hour)).or_default().push(row);
            }
        }
    }
    if !made.is_empty() {
        let path = folder.path().join("made.log");
        std::fs::write(&path, made).unwrap();
        let settings = SourceSettings {
            cluster: Some(ClusterName::parse(&cluster).unwrap()),
            ..SourceSettings::default()
        };
        run(&archive, &path, settings).await;
    }
    for (number, ((table, hour), rows)) in rows.into_iter().enumerate() {
        let mut tables = TableName::ALL.into_iter();
        let table = tables.find(|name| name.as_str() == table).unwrap();
        archive.load_or_create(table).await.unwrap();
        let mut file = File::audit(&cluster, &hour[..10], rows);
        file.sorted = false;
        fixture::write(&archive, table, number, file).await;
    }
    archive
}

/// A row of `component` or `inventory` of which a test gives only what matters to it.
fn plain_row(table: &str, text: &str, number: usize) -> serde_json::Result<Value> {
    let mut given: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    for name in ["fields", "record"] {
        if let Some(value @ (Value::Object(_) | Value::Array(_))) = given.get_mut(name) {
            *value = Value::String(value.to_string());
        }
    }
    let mut row = match table {
        "component" => json!({
            "component": "kube-controller-manager", "severity": "info", "time_source": "entry",
            "format": "klog", "wrapper": "plain", "lines": 1,
            "record": given.get("message").cloned().unwrap_or_default(),
        }),
        _ => json!({"record": "{}"}),
    };
    let fields = row.as_object_mut().unwrap();
    fields.insert(
        "source_uri".to_owned(),
        json!(format!("file:///made-{table}.log")),
    );
    fields.insert("source_offset".to_owned(), json!(number * 100));
    fields.insert("record_bytes".to_owned(), json!(100));
    fields.append(&mut given);
    Ok(row)
}

async fn run(archive: &Archive, path: &Path, settings: SourceSettings) {
    let settings = SourceSettings {
        redaction: Redaction::On([0; 32]),
        ..settings
    };
    let listing = list_local(path.to_str().unwrap(), None).unwrap();
    let observer = Arc::new(Unobserved);
    let sources = vec![Source { listing, settings }];
    let report = pipeline::ingest(archive.clone(), sources, Options::default(), observer)
        .await
        .unwrap_or_else(|e| panic!("{}: {}", path.display(), e.to_chain()));
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

/// An archive with the sessions that were opened on it.
struct Opened {
    folder: TempDir,
    archive: Archive,
    sessions: BTreeMap<(bool, String), Session>,
}

impl Opened {
    async fn ask(&mut self, questions: &[Question], case: &Case, pruning: Pruning) -> Vec<String> {
        match self.answer(questions, case, pruning).await {
            Ok(lines) => lines,
            Err(e) => vec![format!("error: {}", e.to_chain())],
        }
    }

    /// The session of a zone: with pruning, or without it and on one partition.
    async fn session(&mut self, pruning: Pruning, zone: Tz) -> Result<&Session> {
        let key = (pruning == Pruning::On, zone.name().to_owned());
        if !self.sessions.contains_key(&key) {
            let options = SessionOptions {
                zone,
                partitions: (pruning == Pruning::Off).then_some(NonZeroUsize::MIN),
                pruning,
                ..SessionOptions::default()
            };
            let session = Session::open(&self.archive, &options).await?;
            self.sessions.insert(key.clone(), session);
        }
        Ok(&self.sessions[&key])
    }

    async fn answer(
        &mut self,
        questions: &[Question],
        case: &Case,
        pruning: Pruning,
    ) -> Result<Vec<String>> {
        let words = words(&case.ask);
        let (name, flags) = words.split_first().expect("a question");
        let question = question::find(questions, name)?;
        let mut flags = flags_of(question, flags);
        let zone = flags
            .remove("timezone")
            .map_or("UTC".to_owned(), |mut z| z.remove(0));
        let times = TimeReader {
            zone: zone.parse().expect("an IANA time zone"),
            now: NOW.parse().unwrap(),
        };
        let mut values = Values::new();
        for (name, texts) in flags {
            let param = question.params.iter().find(|p| p.name == name).unwrap();
            values.insert(name, param.read(&texts, &times)?);
        }
        let values = question.complete(values, &times)?;
        let file = self.folder.path().join("answer.json");
        let session = self.session(pruning, times.zone).await?;
        let answer = question.ask(session, &values).await?;
        let schema = answer.schema.clone();
        let columns: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let documented: Vec<String> = question.columns.iter().map(|(n, _)| n.clone()).collect();
        if columns != documented {
            let what = format!("the answer has {columns:?}, the header {documented:?}");
            return Err(Error::new(ErrorKind::Bug, what));
        }
        let output = Output {
            format: Format::Json,
            zone: times.zone,
            width: None,
            file: Some(file.clone()),
        };
        let rows = output::write(schema, answer.batches, &output).await?;
        let notes = question.notes(session, &values, rows).await?;
        let text = std::fs::read_to_string(file).unwrap();
        let all = columns.join(", ");
        let mut lines = match case.show.as_deref().unwrap_or(&all) {
            "count" => vec![format!("{rows} rows")],
            show => self.table(&show.split(", ").collect::<Vec<_>>(), &text),
        };
        for note in notes {
            lines.push(format!("note: {note}"));
        }
        Ok(lines)
    }

    fn table(&self, columns: &[&str], json_lines: &str) -> Vec<String> {
        let mut lines = vec![columns.join(" | ")];
        for line in json_lines.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let cells: Vec<String> = columns
                .iter()
                .map(|name| self.cell(row.get(name).expect("a column of the answer")))
                .collect();
            lines.push(cells.join(" | "));
        }
        lines
    }

    fn cell(&self, value: &Value) -> String {
        match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            Value::String(text) => {
                let mut text = text.replace('\\', "\\\\").replace('\n', "\\n");
                for folder in [root(), self.folder.path()] {
                    let url = Url::from_directory_path(folder).unwrap();
                    text = text.replace(url.as_str(), "");
                }
                text
            }
            other => other.to_string(),
        }
    }
}

/// Texts by parameter name. A flag of type `flag` stands alone, as on the command line.
fn flags_of(question: &Question, words: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flag = word
            .strip_prefix("--")
            .unwrap_or_else(|| panic!("{}: `{word}` is no flag", question.name));
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        let name = flag.replace('-', "_");
        let kind = match question.params.iter().find(|p| p.name == name) {
            Some(param) => param.kind,
            None if name == "timezone" => ParamKind::Text,
            None => panic!("{} has no parameter {name}", question.name),
        };
        let value = match (value, kind) {
            (Some(value), _) => value,
            (None, ParamKind::Flag) => "true".to_owned(),
            (None, _) => words.next().expect("a value after the flag").clone(),
        };
        let texts = flags.entry(name).or_default();
        match kind {
            ParamKind::TextList => texts.extend(value.split(',').map(str::to_owned)),
            _ => texts.push(value),
        }
    }
    flags
}

/// Asks everything in the files of one archive; what is not as expected, as text.
async fn check(scripts: Vec<Script>, questions: Arc<Vec<Question>>, update: bool) -> Vec<String> {
    let folder = tempfile::Builder::new()
        .prefix("kolumn-ask-")
        .tempdir()
        .unwrap();
    let archive = ingest(&scripts[0].inputs, &folder).await;
    let mut opened = Opened {
        folder,
        archive,
        sessions: BTreeMap::new(),
    };
    let mut wrong = Vec::new();
    let mut asked = Vec::new();
    for script in &scripts {
        let mut answers = Vec::new();
        for case in script.cases() {
            let place = format!("{}:{}: ask {}", stem(&script.path), case.line, case.ask);
            let pruned = opened.ask(&questions, case, Pruning::On).await;
            let whole = opened.ask(&questions, case, Pruning::Off).await;
            if pruned != whole {
                let difference = difference(&whole, &pruned);
                wrong.push(format!(
                    "{place}\nK8: + with pruning, - without\n{difference}"
                ));
            }
            if !update && pruned != case.expected {
                let difference = difference(&case.expected, &pruned);
                wrong.push(format!("{place}\n+ answered, - expected\n{difference}"));
            }
            answers.push(pruned);
        }
        if update {
            script.write(&answers);
        }
        asked.push(answers);
    }
    // K8 over an optimize: other files, the same answers.
    let options = optimize::Options {
        all: true,
        ..optimize::Options::new(0)
    };
    let report = optimize::optimize(&opened.archive, &options, &optimize::Unobserved)
        .await
        .unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    opened.sessions.clear();
    for (script, before) in scripts.iter().zip(asked) {
        for (case, before) in script.cases().zip(before) {
            // How many rows were dropped since is what `verify` tells.
            if case.ask.starts_with("verify") {
                continue;
            }
            for pruning in [Pruning::On, Pruning::Off] {
                let after = opened.ask(&questions, case, pruning).await;
                if after != before {
                    let difference = difference(&before, &after);
                    wrong.push(format!(
                        "{}:{}: ask {}\n+ after an optimize, - before, {pruning:?}\n{difference}",
                        stem(&script.path),
                        case.line,
                        case.ask
                    ));
                }
            }
        }
    }
    wrong
}

/// The lines of which only one side has so many.
fn difference(before: &[String], after: &[String]) -> String {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in before {
        *counts.entry(line).or_default() -= 1;
    }
    for line in after {
        *counts.entry(line).or_default() += 1;
    }
    let mut text = String::new();
    for (sign, lines) in [('-', before), ('+', after)] {
        for line in lines {
            let wanted = if sign == '-' { -1 } else { 1 };
            if let Some(count) = counts.get_mut(line.as_str())
                && count.signum() == wanted
            {
                *count -= wanted;
                let _ = writeln!(text, "  {sign} {line}");
            }
        }
    }
    if text.is_empty() {
        text.push_str("  the same lines in another order:\n");
        for line in after {
            let _ = writeln!(text, "  + {line}");
        }
    }
    text
}

#[test]
fn questions_answer_what_is_expected() {
    let questions = Arc::new(questions());
    let filter = environment("KOLUMN_ASK").unwrap_or_default();
    let update = environment("KOLUMN_UPDATE").is_some();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Plans are walked recursively, in debug builds with large frames: as the binary has it.
        .thread_stack_size(8 << 20)
        .build()
        .unwrap();
    let wrong: Vec<String> = runtime.block_on(async {
        // Files with the same head share an archive.
        let mut archives: BTreeMap<Vec<Input>, Vec<Script>> = BTreeMap::new();
        for path in files("tests/sql", "ask") {
            if stem(&path).contains(&filter) {
                let script = Script::read(&path);
                archives
                    .entry(script.inputs.clone())
                    .or_default()
                    .push(script);
            }
        }
        let checks: Vec<_> = archives
            .into_values()
            .map(|scripts| tokio::spawn(check(scripts, Arc::clone(&questions), update)))
            .collect();
        let mut wrong = Vec::new();
        for check in checks {
            match check.await {
                Ok(lines) => wrong.extend(lines),
                Err(_) => wrong.push("a file could not be run: see the panic above".to_owned()),
            }
        }
        wrong
    });
    assert!(
        wrong.is_empty(),
        "{} wrong\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_question_has_a_test_with_rows_and_one_that_filters() {
    let scripts: Vec<Script> = files("tests/sql", "ask")
        .iter()
        .map(|p| Script::read(p))
        .collect();
    let mut missing = Vec::new();
    for question in questions() {
        let asked: Vec<(Vec<String>, &Case)> = scripts
            .iter()
            .flat_map(Script::cases)
            .map(|case| (words(&case.ask), case))
            .filter(|(words, _)| words.first() == Some(&question.name))
            .collect();
        let has_rows = asked
            .iter()
            .any(|(_, case)| case.show.as_deref() == Some("count") || case.expected.len() > 1);
        if !has_rows {
            missing.push(format!("{}: no test with rows", question.name));
        }
        let filters = asked.iter().any(|(words, _)| words.len() > 1);
        if !filters && !question.params.is_empty() {
            missing.push(format!("{}: no test that filters", question.name));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The verdicts of `verify`, each behind the last part of its object's path.
async fn verdicts(archive: &Archive) -> Vec<String> {
    let session = Session::open(archive, &SessionOptions::default())
        .await
        .unwrap();
    let questions = questions();
    let question = question::find(&questions, "verify").unwrap();
    let times = TimeReader {
        zone: Tz::UTC,
        now: NOW.parse().unwrap(),
    };
    let values = question.complete(Values::new(), &times).unwrap();
    let answer = question.ask(&session, &values).await.unwrap();
    let mut verdicts = Vec::new();
    for batch in answer.collect().await.unwrap() {
        let [verdict, object] = ["verdict", "object_uri"].map(|name| {
            let column = batch.column_by_name(name).unwrap();
            arrow::compute::cast(column, &DataType::Utf8).unwrap()
        });
        let (verdict, object) = (verdict.as_string::<i32>(), object.as_string::<i32>());
        for row in 0..batch.num_rows() {
            let name = object.value(row).rsplit('/').next().unwrap();
            verdicts.push(format!("{name}: {}", verdict.value(row)));
        }
    }
    verdicts
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_rows_that_are_missing_or_come_from_nowhere() {
    let mut fixture = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("a.log");
    std::fs::write(&log, made_event("{}").unwrap() + "\n").unwrap();
    run(&fixture.archive, &log, SourceSettings::default()).await;
    assert_eq!(verdicts(&fixture.archive).await, ["a.log: ok"]);

    let added = |uri: &str| event("pod", "2026-11-20T10:00:00Z", json!({"source_uri": uri}));
    let uri = Url::from_file_path(&log).unwrap();
    let rows = vec![added(uri.as_str()), added("file:///b.log")];
    fixture.write(File::audit("made", "2026-11-20", rows)).await;
    assert_eq!(
        verdicts(&fixture.archive).await,
        ["b.log: not in the ledger", "a.log: too many rows"]
    );

    // Somebody takes all files out of the table.
    let log = fixture.folder.path().join("audit/_delta_log");
    let mut versions: Vec<PathBuf> = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    versions.sort();
    let removes: Vec<String> = versions
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter_map(|line| {
            let action: Value = serde_json::from_str(&line).unwrap();
            let path = action["add"]["path"].as_str()?;
            let remove = json!({"path": path, "deletionTimestamp": 0, "dataChange": true});
            Some(json!({ "remove": remove }).to_string())
        })
        .collect();
    let next = log.join(format!("{:020}.json", versions.len()));
    std::fs::write(next, removes.join("\n")).unwrap();
    assert_eq!(
        verdicts(&fixture.archive).await,
        ["a.log: rows are missing"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_batches_that_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("a.log");
    std::fs::write(&log, made_event("{}").unwrap() + "\n").unwrap();
    let mut seen = false;
    for at in (8..).step_by(4) {
        let place = folder.path().join(format!("archive-{at}"));
        std::fs::create_dir_all(&place).unwrap();
        let store = FaultyStore::new(Fault::Dead, at);
        let outcome = archive::ingest_on(store, &place, &[&log], Options::default()).await;
        assert!(
            outcome.is_err(),
            "no run was stopped between plan and commit"
        );
        let url = archive::url(&place);
        let Ok(archive) = Archive::open(&url).await else {
            continue;
        };
        let found = verdicts(&archive).await;
        match found.join("\n").as_str() {
            "" | "a.log: ok" => {}
            "a.log: a batch is open: run the ingest again" => seen = true,
            other => panic!("stopped at {at}: {other}"),
        }
        run(&archive, &log, SourceSettings::default()).await;
        assert_eq!(verdicts(&archive).await, ["a.log: ok"], "{at}");
        if seen {
            break;
        }
    }
}
