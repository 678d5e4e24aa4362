//! Statements of PostgreSQL's clients as the engine can plan them, where nothing else does that: equal
//! columns side by side, arrays made of subqueries in questions about the catalog, and parameters that
//! the client said are arrays.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, LimitClause, ObjectName, Query, SelectItem, SetExpr,
    Statement, TableFactor, TimezoneInfo, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Span;
use pgwire::api::Type;

/// Columns of `pg_type` that hold functions; PostgreSQL compares them with 0 and writes that as `-`.
const FUNCTION_COLUMNS: [&str; 4] = ["typinput", "typoutput", "typreceive", "typsend"];

/// Columns of the catalog that hold arrays: positions of columns, options.
const ARRAY_COLUMNS: [&str; 7] = [
    "reloptions",
    "conkey",
    "confkey",
    "indkey",
    "indclass",
    "indoption",
    "indcollation",
];

/// Truths of the catalog, which PostgreSQL compares with texts.
const TRUTH_COLUMNS: [&str; 8] = [
    "indisprimary",
    "indisunique",
    "indisvalid",
    "relhasindex",
    "relispartition",
    "attisdropped",
    "attnotnull",
    "atthasdef",
];

/// Tables of the catalog of which nothing here has rows: defaults, sequences, collations of columns.
const NEVER_FILLED: [&str; 3] = ["pg_attrdef", "pg_sequence", "pg_collation"];

/// A statement with names for equal columns, and without what the engine cannot plan of the catalog's
/// questions.
pub(super) fn polished(mut statement: Statement) -> Statement {
    // The visitor never ends early.
    let _ = VisitMut::visit(&mut statement, &mut Polish);
    statement
}

struct Polish;

fn value(value: Value) -> Expr {
    Expr::Value(ValueWithSpan {
        value,
        span: Span::empty(),
    })
}

/// The name of a column of the catalog that holds arrays.
fn array_column(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::CompoundIdentifier(names) => names
            .last()
            .filter(|name| ARRAY_COLUMNS.contains(&name.value.as_str())),
        _ => None,
    }
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) if text == "0")
}

/// The last part of a column's name.
fn column_name(expr: &Expr) -> Option<String> {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(names) => names.last()?,
        _ => return None,
    };
    Some(name.value.to_ascii_lowercase())
}

fn is_function_column(expr: &Expr) -> bool {
    column_name(expr).is_some_and(|name| FUNCTION_COLUMNS.contains(&name.as_str()))
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

fn name_of(function: &Function) -> Option<String> {
    let last = function.name.0.last()?.as_ident()?;
    Some(last.value.to_ascii_lowercase())
}

fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Vec::new();
    };
    let exprs = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    exprs.collect()
}

/// `to_timestamp('2026-11-20 10:00:00', 'YYYY-MM-DD HH24:MI:SS')` and `to_date` with such a format: the
/// engine's formats are others, and this one it reads without.
fn time_of_text(function: &Function) -> Option<Expr> {
    let data_type = match name_of(function)?.as_str() {
        "to_timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        "to_date" => DataType::Date,
        _ => return None,
    };
    match arguments(function).as_slice() {
        [time, format]
            if text_of(time).is_some()
                && text_of(format).is_some_and(|format| format.starts_with("YYYY-MM-DD")) =>
        {
            Some(cast((*time).clone(), data_type))
        }
        _ => None,
    }
}

/// `date_trunc('hour', t) + INTERVAL '5 minutes' * floor(extract(minute FROM t) / 5)`: an interval cannot be
/// multiplied here, and `date_bin` is what is meant.
fn bin_of_time(left: &Expr, right: &Expr) -> Option<Expr> {
    let Expr::Function(truncated) = left else {
        return None;
    };
    let Expr::BinaryOp {
        left: interval,
        op: BinaryOperator::Multiply,
        right: count,
    } = right
    else {
        return None;
    };
    let (Expr::Interval(_), Expr::Floor { .. }) = (interval.as_ref(), count.as_ref()) else {
        return None;
    };
    let time = match arguments(truncated).as_slice() {
        [unit, time] if name_of(truncated)? == "date_trunc" && text_of(unit).is_some() => *time,
        _ => return None,
    };
    let text = format!("date_bin({interval}, {time})");
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_expr())
        .ok()
}

impl VisitorMut for Polish {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            let mut seen: HashMap<String, usize> = HashMap::new();
            for item in &mut select.projection {
                let SelectItem::UnnamedExpr(expr) = item else {
                    continue;
                };
                // What takes the place of a column keeps its name.
                let column = match &*expr {
                    Expr::Cast { expr, .. } => expr.as_ref(),
                    expr => expr,
                };
                if let Some(name) = array_column(column) {
                    let (expr, alias) = (expr.clone(), name.clone());
                    *item = SelectItem::ExprWithAlias { expr, alias };
                    continue;
                }
                let text = expr.to_string();
                let count = seen.entry(text.clone()).or_default();
                *count += 1;
                if *count > 1 {
                    let alias = Ident::with_quote('"', format!("{text}:{count}"));
                    let expr = expr.clone();
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            // Such as the roles of a policy: the tables that it would be made of are empty.
            Expr::Function(function)
                if matches!(function.args, FunctionArguments::Subquery(_))
                    && function.name.to_string().eq_ignore_ascii_case("array") =>
            {
                *expr = null_array(DataType::Text);
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } if is_function_column(left) && is_zero(right) => {
                **right = value(Value::SingleQuotedString("-".to_owned()));
            }
            // A subquery that refers to the row outside must be seen to give one value.
            Expr::Subquery(query) => match catalog_table(query) {
                Some(table) if NEVER_FILLED.contains(&table.as_str()) => {
                    *expr = value(Value::Null);
                }
                Some(_) => give_one_value(query),
                None => {}
            },
            // Filters and steps of time as Superset writes them for PostgreSQL.
            Expr::Function(function) if time_of_text(function).is_some() => {
                if let Some(made) = time_of_text(function) {
                    *expr = made;
                }
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Plus,
                right,
            } => {
                if let Some(made) = bin_of_time(left, right) {
                    *expr = made;
                }
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } if column_name(left).is_some_and(|name| TRUTH_COLUMNS.contains(&name.as_str())) => {
                match text_of(right) {
                    Some("t" | "true") => **right = value(Value::Boolean(true)),
                    Some("f" | "false") => **right = value(Value::Boolean(false)),
                    _ => {}
                }
            }
            // The engine knows one escape.
            Expr::Like {
                pattern,
                escape_char,
                ..
            }
            | Expr::ILike {
                pattern,
                escape_char,
                ..
            } => {
                if let Some(escape) = one_char(escape_char.as_ref()) {
                    match pattern.as_mut() {
                        Expr::Value(ValueWithSpan {
                            value: Value::SingleQuotedString(text),
                            ..
                        }) => {
                            *text = with_backslashes(text, escape);
                            *escape_char = None;
                        }
                        other => {
                            if let Some(made) = escaped_with_backslashes(other, escape) {
                                *other = made;
                                *escape_char = None;
                            }
                        }
                    }
                }
            }
            // The library lacks them or has them as texts, and nothing here has constraints or indexes.
            Expr::CompoundIdentifier(_) => {
                if let Some(name) = array_column(expr) {
                    let texts = name.value == "reloptions";
                    *expr = null_array(match texts {
                        true => DataType::Text,
                        false => DataType::BigInt(None),
                    });
                }
            }
            // The places of such an array.
            Expr::Function(function)
                if function
                    .name
                    .0
                    .last()
                    .and_then(|part| part.as_ident())
                    .is_some_and(|name| name.value.eq_ignore_ascii_case("generate_subscripts")) =>
            {
                function.name = ObjectName::from(vec![Ident::new("unnest")]);
                if let FunctionArguments::List(list) = &mut function.args {
                    list.args.truncate(1);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The table of the catalog that a subquery reads first.
fn catalog_table(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let TableFactor::Table { name, .. } = &select.from.first()?.relation else {
        return None;
    };
    let last = name.0.last()?.as_ident()?.value.to_ascii_lowercase();
    last.starts_with("pg_").then_some(last)
}

/// `SELECT x` becomes `SELECT max(x)`: rows of the catalog are asked for by what they are alone in.
fn give_one_value(query: &mut Query) {
    let simple = query.limit_clause.is_none() && query.fetch.is_none() && query.order_by.is_none();
    if let SetExpr::Select(select) = query.body.as_mut()
        && simple
        && let [item] = select.projection.as_mut_slice()
        && let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
        && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        && let Ok(made) = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(&format!("max({expr})"))
            .and_then(|mut parser| parser.parse_expr())
    {
        *expr = made;
    }
}

fn one_char(text: Option<&ValueWithSpan>) -> Option<char> {
    let text = text?.value.clone().into_string()?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Some(c),
        _ => None,
    }
}

/// A pattern of `LIKE` whose escape is a backslash, from one with another escape.
fn with_backslashes(pattern: &str, escape: char) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == escape {
            text.push('\\');
            text.extend(chars.next());
        } else if c == '\\' {
            text.push_str("\\\\");
        } else {
            text.push(c);
        }
    }
    text
}

/// The same for a pattern that is known later, such as a parameter.
fn escaped_with_backslashes(pattern: &Expr, escape: char) -> Option<Expr> {
    if !escape.is_ascii_punctuation() || matches!(escape, '\'' | '\\') {
        return None;
    }
    let text = format!(
        "replace(replace(replace({pattern}, '{escape}{escape}', chr(1)), '{escape}', '\\'), chr(1), '{escape}')"
    );
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_expr())
        .ok()
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

fn null_array(element: DataType) -> Expr {
    cast(value(Value::Null), array(element))
}

/// The name of a parameter.
fn placeholder(expr: &Expr) -> Option<&String> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::Placeholder(name),
            ..
        }) => Some(name),
        _ => None,
    }
}

fn array(element: DataType) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None))
}

/// The type of a parameter that the client said is an array.
fn array_of(said: &Type) -> Option<DataType> {
    Some(array(match *said {
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY | Type::NAME_ARRAY => {
            DataType::Text
        }
        Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY => DataType::BigInt(None),
        Type::FLOAT4_ARRAY | Type::FLOAT8_ARRAY => DataType::DoublePrecision,
        Type::BOOL_ARRAY => DataType::Boolean,
        _ => return None,
    }))
}

/// A statement whose parameters are cast to the arrays that the client said they are: what surrounds
/// them does not tell the engine.
pub(super) fn with_arrays(mut statement: Statement, said: &[Option<Type>]) -> Statement {
    let arrays: HashMap<String, DataType> = said
        .iter()
        .enumerate()
        .filter_map(|(at, said)| Some((format!("${}", at + 1), array_of(said.as_ref()?)?)))
        .collect();
    if !arrays.is_empty() {
        let _ = VisitMut::visit(&mut statement, &mut Casts(arrays));
    }
    statement
}

struct Casts(HashMap<String, DataType>);

impl VisitorMut for Casts {
    type Break = ();

    // After its parts, so that the cast's own parameter is not visited again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(data_type) = placeholder(expr).and_then(|name| self.0.get(name)) {
            *expr = cast(expr.clone(), data_type.clone());
        }
        ControlFlow::Continue(())
    }
}

/// Parameters by position from 0 whose types only their place tells.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// They count rows.
    pub(super) counts: Vec<usize>,
    /// Something is compared with their elements.
    pub(super) arrays: Vec<usize>,
}

/// Finds the parameters whose types only their place tells.
pub(super) fn placed(statement: &Statement) -> Placed {
    let mut found = Placed::default();
    let _ = Visit::visit(statement, &mut found);
    found
}

fn position(expr: &Expr) -> Option<usize> {
    let number: usize = placeholder(expr)?.trim_start_matches('$').parse().ok()?;
    number.checked_sub(1)
}

impl Visitor for Placed {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (None, None),
        };
        let fetch = query.fetch.as_ref().and_then(|f| f.quantity.as_ref());
        let counts = [limit, offset, fetch].into_iter().flatten();
        self.counts.extend(counts.filter_map(position));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr {
            self.arrays.extend(position(right));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polish(sql: &str) -> String {
        let mut parser = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(sql)
            .unwrap();
        polished(parser.parse_statement().unwrap()).to_string()
    }

    #[test]
    fn what_clients_write_becomes_what_can_be_planned() {
        for (sql, made) in [
            ("SELECT 1, 1", "SELECT 1, 1 AS \"1:2\""),
            (
                "SELECT a FROM t WHERE b LIKE 'x/_%' ESCAPE '/'",
                "SELECT a FROM t WHERE b LIKE 'x\\_%'",
            ),
            (
                "SELECT to_timestamp('2026-11-20 01:00:00.0', 'YYYY-MM-DD HH24:MI:SS.US')",
                "SELECT CAST('2026-11-20 01:00:00.0' AS TIMESTAMP)",
            ),
            (
                "SELECT to_date('2026-11-20', 'YYYY-MM-DD')",
                "SELECT CAST('2026-11-20' AS DATE)",
            ),
            (
                "SELECT DATE_TRUNC('hour', t) + INTERVAL '5 minutes' * FLOOR(EXTRACT(MINUTE FROM t) / 5)",
                "SELECT date_bin(INTERVAL '5 minutes', t)",
            ),
            (
                "SELECT 1 FROM pg_index ix WHERE ix.indisprimary = 'f'",
                "SELECT 1 FROM pg_index ix WHERE ix.indisprimary = false",
            ),
            (
                "SELECT (SELECT d.adbin FROM pg_attrdef d WHERE d.adrelid = 1)",
                "SELECT NULL",
            ),
            ("SELECT a LIKE 'x' FROM t", "SELECT a LIKE 'x' FROM t"),
        ] {
            assert_eq!(polish(sql), made);
        }
    }
}
