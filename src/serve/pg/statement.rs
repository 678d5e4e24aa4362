//! What a statement asks for. In: the text of one message. Out: acts, of which only questions reach the
//! engine; what would write, read a file of the server or change it is refused here already, and what
//! slips through by the guard of every plan. Questions about the catalog are rewritten for the engine,
//! others are only if they cannot be planned as they are.

use std::collections::BTreeSet;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    CloseCursor, ContextModifier, CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource,
    CopyTarget, Declare, DeclareType, Expr, FetchDirection, Ident, Query, Reset, Set, Statement,
    UnaryOperator, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use pgwire::api::Type;
use pgwire::error::ErrorInfo;

use super::failure::refused;
use super::rewrite::{counting, polished, with_arrays};
use crate::query;
use crate::serve::weight::weigh;

/// Statements of one message.
const STATEMENTS_MAX: usize = 100;

/// Words that make a text one about the catalog.
const CATALOG_WORDS: [&str; 6] = [
    "pg_",
    "regclass",
    "regtype",
    "regproc",
    "information_schema",
    "current_schema",
];

/// A query, and how it reads when rewritten for the engine.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) parsed: Parsed,
    pub(super) rewritten: Option<Parsed>,
}

impl Question {
    /// Takes in what the client said of its parameters; tells which of them count rows.
    pub(super) fn prepare(&mut self, said: &[Option<Type>]) -> Vec<usize> {
        let mut found = Vec::new();
        for parsed in [Some(&mut self.parsed), self.rewritten.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Parsed::Statement(statement) = parsed {
                **statement = with_arrays((**statement).clone(), said);
                found = counting(statement);
            }
        }
        found
    }
}

/// How `COPY … TO STDOUT` writes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CopyFormat {
    Text {
        delimiter: String,
        null: String,
    },
    Csv {
        delimiter: String,
        null: String,
        quote: String,
        header: bool,
    },
    Binary,
}

/// What a statement asks for.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Ask(Box<Question>),
    Copy(Box<Question>, CopyFormat),
    Declare(String, Box<Question>),
    /// Rows of a cursor; `None`: all.
    Fetch(String, Option<usize>),
    CloseCursor(Option<String>),
    Deallocate(Option<String>),
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    Show(String),
    ShowAll,
    ResetAll,
    DiscardAll,
    /// Accepted, and nothing to do.
    Nothing(&'static str),
}

/// Reads statements.
#[derive(Debug)]
pub(super) struct Reader {
    rewriter: PostgresCompatibilityParser,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            rewriter: PostgresCompatibilityParser::new(),
        }
    }

    /// Every statement of a message, with its text.
    pub(super) fn read(&self, sql: &str) -> Result<Vec<(String, Act)>, ErrorInfo> {
        weigh(sql).map_err(|told| refused("54001", told))?;
        let lower = sql.to_ascii_lowercase();
        let is_catalog = CATALOG_WORDS.iter().any(|word| lower.contains(word));
        let plain = || {
            Parser::new(&PostgreSqlDialect {})
                .try_with_sql(sql)
                .and_then(|mut parser| parser.parse_statements())
        };
        let read = match is_catalog {
            true => self.rewriter.parse(sql).or_else(|_| plain()),
            false => plain(),
        };
        let statements = match read {
            Ok(statements) => statements,
            // What only `kolumn query` understands.
            Err(e) => match query::parse(sql) {
                Ok(Parsed::Statement(statement)) => vec![*statement],
                Ok(parsed @ Parsed::Explain(_)) => {
                    let question = Question {
                        parsed,
                        rewritten: None,
                    };
                    return Ok(vec![(sql.trim().to_owned(), Act::Ask(Box::new(question)))]);
                }
                Ok(_) => return Err(read_only(sql)),
                Err(_) => {
                    return Err(refused(
                        "42601",
                        format!("the SQL cannot be understood: {e}"),
                    ));
                }
            },
        };
        if statements.len() > STATEMENTS_MAX {
            let told = format!("more than {STATEMENTS_MAX} statements in one message");
            return Err(refused("54000", told));
        }
        let alone = statements.len() == 1;
        let acts = statements.into_iter().map(|statement| {
            let text = match alone {
                true => sql.trim().to_owned(),
                false => statement.to_string(),
            };
            Ok((text, self.act(statement, is_catalog)?))
        });
        acts.collect()
    }

    fn question(&self, statement: Statement, rewritten: bool) -> Box<Question> {
        let wrapped = |statement| Parsed::Statement(Box::new(polished(statement)));
        Box::new(Question {
            rewritten: match rewritten {
                true => None,
                false => Some(wrapped(self.rewriter.rewrite(statement.clone()))),
            },
            parsed: wrapped(statement),
        })
    }

    fn act(&self, statement: Statement, rewritten: bool) -> Result<Act, ErrorInfo> {
        Ok(match statement {
            Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ExplainTable { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowFunctions { .. } => Act::Ask(self.question(statement, rewritten)),
            Statement::Copy {
                source,
                to: true,
                target: CopyTarget::Stdout,
                options,
                legacy_options,
                values,
            } if values.is_empty() => {
                let format = copy_format(&options, &legacy_options)?;
                let query = copied(source)?;
                Act::Copy(self.question(Statement::Query(query), rewritten), format)
            }
            Statement::Copy {
                target: CopyTarget::File { .. } | CopyTarget::Program { .. },
                ..
            } => {
                return Err(refused(
                    "42501",
                    "files and programs of the server are nobody's: COPY goes TO STDOUT",
                ));
            }
            Statement::Declare { stmts } => self.declare(stmts, rewritten)?,
            Statement::Fetch {
                name,
                direction,
                into: None,
                ..
            } => Act::Fetch(name.value, count_of(&direction)?),
            Statement::Close { cursor } => Act::CloseCursor(match cursor {
                CloseCursor::All => None,
                CloseCursor::Specific { name } => Some(name.value),
            }),
            Statement::Deallocate { name, .. } => {
                let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
                Act::Deallocate((!all).then_some(name.value))
            }
            Statement::StartTransaction { .. } => Act::Begin,
            Statement::Commit { .. } => Act::Commit,
            Statement::Rollback {
                savepoint: None, ..
            } => Act::Rollback,
            Statement::Rollback { .. } => Act::Nothing("ROLLBACK"),
            Statement::Savepoint { .. } => Act::Nothing("SAVEPOINT"),
            Statement::ReleaseSavepoint { .. } => Act::Nothing("RELEASE"),
            Statement::UNLISTEN { .. } => Act::Nothing("UNLISTEN"),
            Statement::Set(set) => set_of(set)?,
            Statement::Reset(reset) => match reset.reset {
                Reset::ALL => Act::ResetAll,
                Reset::ConfigurationParameter(name) => Act::Set {
                    name: name.to_string(),
                    value: None,
                    local: false,
                },
            },
            Statement::Discard { .. } => Act::DiscardAll,
            Statement::ShowVariable { variable } => show_of(&variable),
            other => return Err(read_only(&other.to_string())),
        })
    }

    fn declare(&self, mut declared: Vec<Declare>, rewritten: bool) -> Result<Act, ErrorInfo> {
        let declared = match (declared.pop(), declared.is_empty()) {
            (Some(declared), true) => declared,
            _ => return Err(refused("0A000", "one cursor is declared at a time")),
        };
        let name = declared.names.into_iter().next();
        match (declared.declare_type, name, declared.for_query) {
            (Some(DeclareType::Cursor), Some(name), Some(query))
                if declared.binary != Some(true) =>
            {
                let question = self.question(Statement::Query(query), rewritten);
                Ok(Act::Declare(name.value, question))
            }
            _ => Err(refused("0A000", "only DECLARE name CURSOR FOR a query")),
        }
    }
}

/// What is no question.
fn read_only(statement: &str) -> ErrorInfo {
    let word: String = statement
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphabetic)
        .take(20)
        .collect();
    let told = format!(
        "the archive is read-only for SQL: {} is no question",
        word.to_uppercase()
    );
    let mut info = refused("25006", told);
    info.hint = Some("ask with SELECT; rows come in by `kolumn ingest`".to_owned());
    info
}

fn copied(source: CopySource) -> Result<Box<Query>, ErrorInfo> {
    let (table, columns) = match source {
        CopySource::Query(query) => return Ok(query),
        CopySource::Table {
            table_name,
            columns,
        } => (table_name, columns),
    };
    let columns: Vec<String> = columns.iter().map(Ident::to_string).collect();
    let columns = match columns.is_empty() {
        true => "*".to_owned(),
        false => columns.join(", "),
    };
    let text = format!("SELECT {columns} FROM {table}");
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_query());
    parsed.map_err(|e| refused("42601", format!("the SQL cannot be understood: {e}")))
}

fn copy_format(
    options: &[CopyOption],
    legacy: &[CopyLegacyOption],
) -> Result<CopyFormat, ErrorInfo> {
    let unknown = |option: String| refused("0A000", format!("COPY here has no option {option}"));
    let (mut format, mut header) = ("text".to_owned(), false);
    let (mut delimiter, mut null, mut quote) = (None, None, '"');
    for option in options {
        match option {
            CopyOption::Format(name) => format = name.value.to_ascii_lowercase(),
            CopyOption::Delimiter(c) => delimiter = Some(*c),
            CopyOption::Null(text) => null = Some(text.clone()),
            CopyOption::Header(wanted) => header = *wanted,
            CopyOption::Quote(c) => quote = *c,
            CopyOption::Escape(c) if *c == quote => {}
            CopyOption::Encoding(name) if name.to_ascii_lowercase().replace('-', "") == "utf8" => {}
            other => return Err(unknown(other.to_string())),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Binary => format = "binary".to_owned(),
            CopyLegacyOption::Delimiter(c) => delimiter = Some(*c),
            CopyLegacyOption::Null(text) => null = Some(text.clone()),
            CopyLegacyOption::Header => header = true,
            CopyLegacyOption::Csv(options) => {
                format = "csv".to_owned();
                for option in options {
                    match option {
                        CopyLegacyCsvOption::Header => header = true,
                        CopyLegacyCsvOption::Quote(c) => quote = *c,
                        other => return Err(unknown(other.to_string())),
                    }
                }
            }
            other => return Err(unknown(other.to_string())),
        }
    }
    let one_byte = |c: char| -> Result<String, ErrorInfo> {
        match c.is_ascii() && !matches!(c, '\n' | '\r' | '\\') {
            true => Ok(c.to_string()),
            false => Err(refused("22023", "that is no delimiter or quote for COPY")),
        }
    };
    match format.as_str() {
        "binary" => Ok(CopyFormat::Binary),
        "text" if !header => Ok(CopyFormat::Text {
            delimiter: one_byte(delimiter.unwrap_or('\t'))?,
            null: null.unwrap_or_else(|| "\\N".to_owned()),
        }),
        "csv" => Ok(CopyFormat::Csv {
            delimiter: one_byte(delimiter.unwrap_or(','))?,
            null: null.unwrap_or_default(),
            quote: one_byte(quote)?,
            header,
        }),
        _ => Err(unknown(format!("FORMAT {format} with these options"))),
    }
}

fn count_of(direction: &FetchDirection) -> Result<Option<usize>, ErrorInfo> {
    let number = |value: &ValueWithSpan| match &value.value {
        Value::Number(text, _) => text.parse().ok(),
        _ => None,
    };
    let forward_only = || refused("55000", "a cursor here goes forward only");
    match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Ok(Some(1)),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => {
            number(limit).map(Some).ok_or_else(forward_only)
        }
        FetchDirection::All | FetchDirection::ForwardAll => Ok(None),
        _ => Err(forward_only()),
    }
}

/// The text of a value in `SET`.
fn value_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text.clone()),
            Value::Boolean(on) => Some(if *on { "on" } else { "off" }.to_owned()),
            other => other.clone().into_string(),
        },
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Some(format!("-{}", value_of(expr)?)),
        _ => None,
    }
}

fn set_of(set: Set) -> Result<Act, ErrorInfo> {
    let not_here = || refused("0A000", "that cannot be SET here");
    let act = |name: &str, value: Option<String>, local: bool| {
        let is_default = value
            .as_deref()
            .is_some_and(|value| value.eq_ignore_ascii_case("default"));
        Act::Set {
            name: name.to_owned(),
            value: value.filter(|_| !is_default),
            local,
        }
    };
    Ok(match set {
        Set::SingleAssignment {
            scope,
            hivevar: false,
            variable,
            values,
        } => {
            let local = match scope {
                None | Some(ContextModifier::Session) => false,
                Some(ContextModifier::Local) => true,
                Some(ContextModifier::Global) => return Err(not_here()),
            };
            let values: Option<Vec<String>> = values.iter().map(value_of).collect();
            let values = values.ok_or_else(not_here)?.join(", ");
            let name = variable.to_string().replace('"', "");
            act(&name, Some(values), local)
        }
        Set::SetTimeZone { local, value } => {
            let value = value_of(&value).ok_or_else(not_here)?;
            let own = value.eq_ignore_ascii_case("local");
            act("timezone", (!own).then_some(value), local)
        }
        Set::SetNames { charset_name, .. } => {
            act("client_encoding", Some(charset_name.value), false)
        }
        Set::SetNamesDefault {} => act("client_encoding", None, false),
        Set::SetTransaction { .. } => Act::Nothing("SET"),
        _ => return Err(not_here()),
    })
}

fn show_of(variable: &[Ident]) -> Act {
    let words: Vec<String> = variable
        .iter()
        .map(|word| word.value.to_ascii_lowercase())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["all"] => Act::ShowAll,
        ["time", "zone"] => Act::Show("timezone".to_owned()),
        ["transaction", "isolation", "level"] => Act::Show("transaction_isolation".to_owned()),
        ["session", "authorization"] => Act::Show("session_authorization".to_owned()),
        words => Act::Show(words.join(".")),
    }
}

/// The placeholders `$1`, `$2` … that types are known of, in their order.
pub(super) fn placeholder_count<'a>(ids: impl Iterator<Item = &'a String>) -> usize {
    let numbers: BTreeSet<usize> = ids
        .filter_map(|id| id.trim_start_matches('$').parse().ok())
        .collect();
    numbers.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Result<Vec<(String, Act)>, ErrorInfo> {
        Reader::new().read(sql)
    }

    #[test]
    fn questions_and_session_statements_are_told_apart() {
        for (sql, kind) in [
            ("SELECT 1", "Ask"),
            ("EXPLAIN SELECT 1", "Ask"),
            ("SELECT * EXCLUDE (cluster) FROM audit", "Ask"),
            ("SELECT '{}'::text->>'a', name, cluster FROM audit", "Ask"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT binary)", "Copy"),
            (
                "COPY audit (cluster, name) TO STDOUT WITH CSV HEADER",
                "Copy",
            ),
            (
                "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1",
                "Declare",
            ),
            ("FETCH FORWARD 10 FROM c", "Fetch"),
            ("CLOSE ALL", "CloseCursor(None)"),
            ("DEALLOCATE ALL", "Deallocate(None)"),
            ("BEGIN READ ONLY", "Begin"),
            ("SET application_name = 'x'", "Set"),
            ("SET LOCAL statement_timeout TO 100", "Set"),
            ("SET TIME ZONE 'UTC'", "Set"),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
                "Nothing",
            ),
            ("SHOW TRANSACTION ISOLATION LEVEL", "Show"),
            ("SHOW ALL", "ShowAll"),
            ("RESET ALL", "ResetAll"),
            ("DISCARD ALL", "DiscardAll"),
            ("UNLISTEN *", "Nothing"),
        ] {
            let acts = read(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(acts.len(), 1, "{sql}");
            let shown = format!("{:?}", acts[0].1);
            assert!(shown.starts_with(kind), "{sql}: {shown}");
        }
        assert_eq!(read("SELECT 1; SELECT 2;").unwrap().len(), 2);
    }

    #[test]
    fn too_deep_a_text_is_refused_before_it_is_parsed() {
        for sql in [
            format!("SELECT {}1", "1+".repeat(100_000)),
            format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
            format!("SELECT {}true", "NOT ".repeat(100_000)),
            vec!["SELECT 1, 1"; 20_000].join(" UNION ALL "),
        ] {
            assert_eq!(read(&sql).unwrap_err().code, "54001");
        }
        let many = format!("SELECT 1 IN ({})", vec!["1"; 50_000].join(","));
        assert_eq!(read(&many).unwrap().len(), 1);
    }
}
