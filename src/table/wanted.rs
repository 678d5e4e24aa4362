//! What the filters of a query want to find in texts, for the search index. Only what must stand in a
//! text of a row for the filter to be true is wanted; of every other filter nothing is known.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::{InList, Like, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::encode::search_index::{Piece, Wanted};
use crate::layout::forms::forms;

/// What rows for which all `filters` are true hold, in columns of this schema.
pub(super) fn wanted(filters: &[Expr], schema: &Schema) -> Wanted {
    Wanted::All(filters.iter().map(|f| of_filter(f, schema)).collect())
}

fn of_filter(filter: &Expr, schema: &Schema) -> Wanted {
    let found = match filter {
        Expr::Alias(alias) => Some(of_filter(&alias.expr, schema)),
        Expr::IsTrue(inner) => Some(of_filter(inner, schema)),
        Expr::BinaryExpr(binary) => of_binary(binary, schema),
        Expr::Like(like) => of_like(like, schema),
        Expr::InList(list) => of_list(list, schema),
        Expr::ScalarFunction(call) => of_call(call, schema),
        _ => None,
    };
    found.unwrap_or(Wanted::Anything)
}

fn of_binary(binary: &BinaryExpr, schema: &Schema) -> Option<Wanted> {
    let BinaryExpr { left, op, right } = binary;
    let sides = || vec![of_filter(left, schema), of_filter(right, schema)];
    match op {
        Operator::And => Some(Wanted::All(sides())),
        Operator::Or => Some(Wanted::Any(sides())),
        Operator::Eq => of_equal(left, right, schema).or_else(|| of_equal(right, left, schema)),
        // strpos(text, 'x') > 0, as people who know no `contains` write it.
        Operator::Gt | Operator::NotEq => of_position(left, right, 0, schema),
        Operator::GtEq => of_position(left, right, 1, schema),
        Operator::Lt => of_position(right, left, 0, schema),
        Operator::LtEq => of_position(right, left, 1, schema),
        _ => None,
    }
}

/// Only ids: other columns are sorted or have few values, so that the index would tell little.
fn of_equal(column: &Expr, value: &Expr, schema: &Schema) -> Option<Wanted> {
    let piece = Piece::whole(literal(value)?);
    let columns = columns_of(column, schema)?;
    piece
        .holds_uuid()
        .then_some(Wanted::Text { columns, piece })
}

fn of_list(list: &InList, schema: &Schema) -> Option<Wanted> {
    let values = list.list.iter();
    let any = values.map(|value| of_equal(&list.expr, value, schema));
    (!list.negated).then(|| any.collect::<Option<_>>().map(Wanted::Any))?
}

fn of_position(call: &Expr, bound: &Expr, least: i64, schema: &Schema) -> Option<Wanted> {
    let (Expr::ScalarFunction(call), Expr::Literal(bound, _)) =
        (uncast(call, DataType::is_integer), bound)
    else {
        return None;
    };
    let bound: i64 = bound.to_string().parse().ok()?;
    let [text, part] = call.args.as_slice() else {
        return None;
    };
    (call.name() == "strpos" && bound == least).then(|| of_part(text, part, schema))?
}

/// The pieces between the wildcards.
fn of_like(like: &Like, schema: &Schema) -> Option<Wanted> {
    if like.negated || like.escape_char.is_some_and(|c| c != '\\') {
        return None;
    }
    let columns = columns_of(&like.expr, schema)?;
    let mut pieces = vec![String::new()];
    let mut characters = literal(&like.pattern)?.chars();
    while let Some(c) = characters.next() {
        match (c, pieces.last_mut()) {
            ('%' | '_', _) => pieces.push(String::new()),
            ('\\', _) => {
                // What is escaped stands for itself; whatever it is, the text before and behind is known.
                characters.next();
                pieces.push(String::new());
            }
            (c, Some(piece)) => piece.push(c),
            (_, None) => {}
        }
    }
    let text = |piece: &String| Wanted::Text {
        columns: columns.clone(),
        piece: Piece::new(piece),
    };
    Some(Wanted::All(pieces.iter().map(text).collect()))
}

fn of_call(call: &ScalarFunction, schema: &Schema) -> Option<Wanted> {
    match (call.name(), call.args.as_slice()) {
        ("contains" | "starts_with" | "ends_with", [text, part]) => of_part(text, part, schema),
        ("coalesce", [first, Expr::Literal(value, _)]) if value.to_string() == "false" => {
            Some(of_filter(first, schema))
        }
        ("text_matches", [needle, texts @ ..]) => {
            let needle = literal(needle)?;
            let columns = texts.iter().map(|text| columns_of(text, schema));
            let columns: Vec<String> = columns.collect::<Option<Vec<_>>>()?.concat();
            let text = |form: String| Wanted::Text {
                columns: columns.clone(),
                piece: Piece::new(&form),
            };
            Some(Wanted::Any(forms(needle).into_iter().map(text).collect()))
        }
        _ => None,
    }
}

fn of_part(text: &Expr, part: &Expr, schema: &Schema) -> Option<Wanted> {
    Some(Wanted::Text {
        columns: columns_of(text, schema)?,
        piece: Piece::new(literal(part)?),
    })
}

/// The columns in whose text, but for the case of its letters, the text of an expression stands.
fn columns_of(expr: &Expr, schema: &Schema) -> Option<Vec<String>> {
    match expr {
        Expr::Alias(alias) => columns_of(&alias.expr, schema),
        Expr::Literal(value, _) if value.is_null() => Some(Vec::new()),
        Expr::Column(column) => {
            let field = schema.field_with_name(&column.name).ok()?;
            is_text(field.data_type()).then(|| vec![column.name.clone()])
        }
        Expr::Cast(cast) if is_text(cast.field.data_type()) => columns_of(&cast.expr, schema),
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            ("lower", [text]) => columns_of(text, schema),
            // As the index joins the texts of a list.
            ("array_to_string", [list, separator]) if literal(separator) == Some(" ") => {
                let Expr::Column(column) = uncast(list, is_list_of_text) else {
                    return None;
                };
                let field = schema.field_with_name(&column.name).ok()?;
                is_list_of_text(field.data_type()).then(|| vec![column.name.clone()])
            }
            _ => None,
        },
        _ => None,
    }
}

/// What is cast to types that `fits` takes.
fn uncast(expr: &Expr, fits: fn(&DataType) -> bool) -> &Expr {
    match expr {
        Expr::Cast(cast) if fits(cast.field.data_type()) => uncast(&cast.expr, fits),
        other => other,
    }
}

fn literal(expr: &Expr) -> Option<&str> {
    match uncast(expr, is_text) {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
    )
}

fn is_list_of_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(element) if is_text(element.data_type()))
}
