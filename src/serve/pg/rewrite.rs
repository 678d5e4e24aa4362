//! Statements of PostgreSQL's clients as the engine can plan them, where nothing else does that: equal
//! columns side by side, arrays made of subqueries in questions about the catalog, and parameters that
//! the client said are arrays.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Ident,
    LimitClause, Query, SelectItem, SetExpr, Statement, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use pgwire::api::Type;

/// Columns of `pg_type` that hold functions; PostgreSQL compares them with 0 and writes that as `-`.
const FUNCTION_COLUMNS: [&str; 4] = ["typinput", "typoutput", "typreceive", "typsend"];

/// A statement with names for equal columns, and without what the engine cannot plan of the catalog's
/// questions.
pub(super) fn polished(mut statement: Statement) -> Statement {
    // The visitor never ends early.
    let _ = statement.visit(&mut Polish);
    statement
}

struct Polish;

fn value(value: Value) -> Expr {
    Expr::Value(ValueWithSpan {
        value,
        span: Span::empty(),
    })
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) if text == "0")
}

fn is_function_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(names) => match names.last() {
            Some(name) => name,
            None => return false,
        },
        _ => return false,
    };
    FUNCTION_COLUMNS.contains(&name.value.to_ascii_lowercase().as_str())
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
                // The same column twice is fine as long as it is a column.
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
                *expr = null_array();
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } if is_function_column(left) && is_zero(right) => {
                **right = value(Value::SingleQuotedString("-".to_owned()));
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
                if let Expr::Value(ValueWithSpan {
                    value: Value::SingleQuotedString(text),
                    ..
                }) = pattern.as_mut()
                    && let Some(escape) = one_char(escape_char.as_ref())
                {
                    *text = with_backslashes(text, escape);
                    *escape_char = None;
                }
            }
            // The library's `pg_class` lacks it, and no table here has options.
            Expr::CompoundIdentifier(names)
                if names.last().is_some_and(|name| name.value == "reloptions") =>
            {
                *expr = null_array();
            }
            _ => {}
        }
        ControlFlow::Continue(())
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

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

fn null_array() -> Expr {
    cast(value(Value::Null), text_array())
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

fn text_array() -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(
        Box::new(DataType::Text),
        None,
    ))
}

/// The element type of a parameter that the client said is an array.
fn array_of(said: &Type) -> Option<DataType> {
    let element = match *said {
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY | Type::NAME_ARRAY => {
            return Some(text_array());
        }
        Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY => DataType::BigInt(None),
        Type::FLOAT4_ARRAY | Type::FLOAT8_ARRAY => DataType::DoublePrecision,
        Type::BOOL_ARRAY => DataType::Boolean,
        _ => return None,
    };
    Some(DataType::Array(ArrayElemTypeDef::SquareBracket(
        Box::new(element),
        None,
    )))
}

/// A statement whose parameters are cast to the arrays that the client said they are: what surrounds
/// them does not tell the engine.
pub(super) fn with_arrays(mut statement: Statement, said: &[Option<Type>]) -> Statement {
    let arrays: HashMap<String, DataType> = said
        .iter()
        .enumerate()
        .filter_map(|(at, said)| Some((format!("${}", at + 1), array_of(said.as_ref()?)?)))
        .collect();
    let _ = statement.visit(&mut Casts(arrays));
    statement
}

struct Casts(HashMap<String, DataType>);

impl VisitorMut for Casts {
    type Break = ();

    // After its parts, so that the cast's own parameter is not visited again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Value(_) => {
                if let Some(data_type) = placeholder(expr).and_then(|name| self.0.get(name)) {
                    *expr = cast(expr.clone(), data_type.clone());
                }
            }
            // Of which nothing was said: an array of texts.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                if placeholder(right).is_some() =>
            {
                **right = cast((**right).clone(), text_array());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The parameters that count rows, by position from 0: nothing else of the plan tells their type.
pub(super) fn counting(statement: &mut Statement) -> Vec<usize> {
    let mut found = Counting(Vec::new());
    let _ = statement.visit(&mut found);
    found.0
}

struct Counting(Vec<usize>);

impl Counting {
    fn add(&mut self, expr: Option<&Expr>) {
        if let Some(name) = expr.and_then(placeholder)
            && let Ok(number) = name.trim_start_matches('$').parse::<usize>()
            && number > 0
        {
            self.0.push(number - 1);
        }
    }
}

impl VisitorMut for Counting {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                self.add(limit.as_ref());
                self.add(offset.as_ref().map(|offset| &offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.add(Some(offset));
                self.add(Some(limit));
            }
            None => {}
        }
        self.add(
            query
                .fetch
                .as_ref()
                .and_then(|fetch| fetch.quantity.as_ref()),
        );
        ControlFlow::Continue(())
    }
}
