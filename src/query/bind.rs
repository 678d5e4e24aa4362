//! Puts values into a parsed query: each `$name` in the syntax tree becomes a typed literal. Values
//! never pass through SQL text, so they need no quoting and cannot change the query.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use chrono::SecondsFormat;
use datafusion::sql::parser::DFParser;
use datafusion::sql::sqlparser::ast::{self, Expr, visit_expressions_mut};

use super::question::{ParamKind, Value, Values};
use crate::error::{Error, ErrorKind, Result};

fn name_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ast::ValueWithSpan {
            value: ast::Value::Placeholder(name),
            ..
        }) => Some(name.trim_start_matches('$')),
        _ => None,
    }
}

/// The names of all placeholders of a query.
pub(super) fn placeholders(query: &mut ast::Statement) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions_mut(query, |expr| {
        names.extend(name_of(expr).map(str::to_owned));
        ControlFlow::Continue(())
    });
    names
}

/// Replaces every placeholder by its value.
pub(super) fn bind(query: &mut ast::Statement, values: &Values) -> Result<()> {
    let done = visit_expressions_mut(query, |expr| {
        let Some(name) = name_of(expr) else {
            return ControlFlow::Continue(());
        };
        let bound = match values.get(name) {
            Some(value) => literal(value),
            None => Err(Error::new(ErrorKind::Bug, format!("${name} has no value"))),
        };
        match bound {
            Ok(bound) => {
                *expr = bound;
                ControlFlow::Continue(())
            }
            Err(e) => ControlFlow::Break(Box::new(e)),
        }
    });
    match done {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(e) => Err(*e),
    }
}

fn text(value: &str) -> Expr {
    Expr::Value(ast::Value::SingleQuotedString(value.to_owned()).into())
}

fn number(value: String) -> Expr {
    Expr::Value(ast::Value::Number(value, false).into())
}

/// The typed literal of a value.
fn literal(value: &Value) -> Result<Expr> {
    Ok(match value {
        Value::Null(kind) => shaped(null_shape(*kind), &[])?,
        Value::Text(value) => text(value),
        // The least integer has no positive counterpart to negate.
        Value::Int(value) if *value == i64::MIN => {
            shaped("arrow_cast($0, 'Int64')", &[text(&value.to_string())])?
        }
        Value::Int(value) if *value < 0 => Expr::UnaryOp {
            op: ast::UnaryOperator::Minus,
            expr: Box::new(number(value.unsigned_abs().to_string())),
        },
        Value::Int(value) => number(value.to_string()),
        Value::Float(value) => shaped("arrow_cast($0, 'Float64')", &[text(&format!("{value:?}"))])?,
        Value::Flag(value) => Expr::Value(ast::Value::Boolean(*value).into()),
        Value::Time(value) => shaped(
            "arrow_cast($0, 'Timestamp(Microsecond, Some(\"UTC\"))')",
            &[text(&value.to_rfc3339_opts(SecondsFormat::Micros, true))],
        )?,
        Value::Duration(micros) => {
            let whole = format!("{} seconds", micros / 1_000_000);
            let part = format!("{} microseconds", micros % 1_000_000);
            shaped(
                "arrow_cast($0, 'Interval(MonthDayNano)')",
                &[text(&format!("{whole} {part}"))],
            )?
        }
        Value::TextList(values) => {
            let slots: Vec<String> = (0..values.len()).map(|at| format!("${at}")).collect();
            let values: Vec<Expr> = values.iter().map(|v| text(v)).collect();
            let shape = format!(
                "arrow_cast(make_array({}), 'List(Utf8View)')",
                slots.join(", ")
            );
            shaped(&shape, &values)?
        }
    })
}

fn null_shape(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Text | ParamKind::Choice => "arrow_cast(NULL, 'Utf8View')",
        ParamKind::Int => "arrow_cast(NULL, 'Int64')",
        ParamKind::Float => "arrow_cast(NULL, 'Float64')",
        ParamKind::Flag => "arrow_cast(NULL, 'Boolean')",
        ParamKind::Time => "arrow_cast(NULL, 'Timestamp(Microsecond, Some(\"UTC\"))')",
        ParamKind::Duration => "arrow_cast(NULL, 'Interval(MonthDayNano)')",
        ParamKind::TextList => "arrow_cast(NULL, 'List(Utf8View)')",
    }
}

/// An expression of fixed shape with literals in its numbered slots.
fn shaped(shape: &str, slots: &[Expr]) -> Result<Expr> {
    let bug = |what: String| Error::new(ErrorKind::Bug, format!("cannot bind {shape}: {what}"));
    let mut expr = DFParser::parse_sql_into_expr(shape)
        .map_err(|e| bug(e.to_string()))?
        .expr;
    let done: ControlFlow<()> = visit_expressions_mut(&mut expr, |part| {
        let slot = name_of(part).and_then(|name| name.parse::<usize>().ok());
        match slot.map(|at| slots.get(at)) {
            None => {}
            Some(None) => return ControlFlow::Break(()),
            Some(Some(value)) => *part = value.clone(),
        }
        ControlFlow::Continue(())
    });
    match done {
        ControlFlow::Continue(()) => Ok(expr),
        ControlFlow::Break(()) => Err(bug("a slot has no value".to_owned())),
    }
}
