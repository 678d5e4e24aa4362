//! The SQL that is understood: DataFusion's usual dialect without commas at the end of a SELECT
//! list. With them the parser takes `SELECT name, cluster FROM audit` for a list that ends before
//! the keyword CLUSTER, and `cluster` is the name of our first column.

use std::any::TypeId;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};

use super::failure::sql_error;
use crate::error::{Error, ErrorKind, Result};

#[derive(Debug)]
struct ReadDialect;

macro_rules! as_generic {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool { GenericDialect.$name() })*
    };
}

impl Dialect for ReadDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        GenericDialect.is_delimited_identifier_start(c)
    }

    fn is_identifier_start(&self, c: char) -> bool {
        GenericDialect.is_identifier_start(c)
    }

    fn is_identifier_part(&self, c: char) -> bool {
        GenericDialect.is_identifier_part(c)
    }

    fn supports_projection_trailing_commas(&self) -> bool {
        false
    }

    // Whatever of the generic dialect a query may use; what only DDL or SET uses is left out.
    as_generic!(
        allow_extract_custom,
        allow_extract_single_quotes,
        support_map_literal_syntax,
        supports_array_typedef_with_brackets,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_cte_without_as,
        supports_dictionary_syntax,
        supports_explain_with_utility_options,
        supports_extract_comma_syntax,
        supports_filter_during_aggregation,
        supports_from_first_select,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_interval_options,
        supports_left_associative_joins_without_parens,
        supports_limit_comma,
        supports_named_fn_args_with_assignment_operator,
        supports_nested_comments,
        supports_parens_around_table_factor,
        supports_partition_by_after_order_by,
        supports_pipe_operator,
        supports_quote_delimited_string,
        supports_select_wildcard_except,
        supports_select_wildcard_exclude,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_select_wildcard_replace,
        supports_string_escape_constant,
        supports_struct_literal,
        supports_try_convert,
        supports_unicode_string_literal,
        supports_values_as_table_factor,
        supports_window_clause_named_window_reference,
        supports_window_function_null_treatment_arg,
    );
}

/// Parses exactly one statement.
///
/// # Errors
/// `Usage` when it cannot be understood, or is none or several.
pub fn parse(sql: &str) -> Result<Statement> {
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&ReadDialect)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| sql_error(&e))?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(Error::new(ErrorKind::Usage, "the query is empty")),
        (Some(_), false) => Err(
            Error::new(ErrorKind::Usage, "there is more than one statement")
                .hint("ask them one by one; `kolumn shell` takes several"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_may_be_called_cluster() {
        for sql in [
            "SELECT name, cluster FROM audit",
            "SELECT name, date, cluster FROM audit GROUP BY name, date, cluster ORDER BY name, cluster",
            "SELECT * EXCLUDE (cluster) FROM audit",
            "SELECT a->'b'->>'c', count(*) FILTER (WHERE x), {'a': 1}, [1, 2] FROM t",
            "SELECT x FROM t LEFT ANTI JOIN u ON t.a = u.a WHERE $p IS NULL",
        ] {
            if let Err(e) = parse(sql) {
                panic!("{sql}: {}", e.to_chain());
            }
        }
        assert!(parse("SELECT 1; SELECT 2").is_err());
        assert!(parse(" ").is_err());
    }
}
