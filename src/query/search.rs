//! `search('text')`: does the text, whatever its case, stand anywhere in the row? A function does not
//! know the row that it is called for, so each call is written again as `text_matches` over the columns
//! of the one table or view that the rows come from: of `audit`, `component` and whatever has their
//! columns those that hold every text of a record, else all columns of text. Where the row comes from
//! none or several, the call is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, TableReference, exec_err, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::functions_nested::expr_fn::array_to_string;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::layout::columns::TableName;

const NAME: &str = "search";

/// Columns that tell how a record was read, not what it says.
const NOT_SAID: [&str; 10] = [
    "facts_source",
    "format",
    "name_source",
    "object_uid_source",
    "request_object_state",
    "resource_version_source",
    "response_object_state",
    "source_uri",
    "time_source",
    "wrapper",
];

/// Adds the function and what writes its calls again.
pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let matches = registry.udf("text_matches")?;
    registry.register_udf(Arc::new(ScalarUDF::from(Search::new())))?;
    registry.register_function_rewrite(Arc::new(Rewrite { matches }))
}

/// `search(text) -> boolean`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Search {
    signature: Signature,
}

impl Search {
    fn new() -> Self {
        Self {
            signature: Signature::string(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Search {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("search() was not written again as text_matches()")
    }
}

#[derive(Debug)]
struct Rewrite {
    matches: Arc<ScalarUDF>,
}

impl FunctionRewrite for Rewrite {
    fn name(&self) -> &str {
        NAME
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(call) = expr else {
            return Ok(Transformed::no(expr));
        };
        if call.name() != NAME {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        let mut args = call.args;
        if args.len() != 1 {
            return plan_err!(
                "search() takes one text to find, not {} arguments",
                args.len()
            );
        }
        args.extend(texts(schema)?);
        let call = ScalarFunction::new_udf(Arc::clone(&self.matches), args);
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    }
}

/// What is looked into.
fn texts(schema: &DFSchema) -> Result<Vec<Expr>> {
    // What a query without a name computes has no relation.
    let relations: BTreeSet<&TableReference> =
        schema.iter().filter_map(|(relation, _)| relation).collect();
    if relations.len() > 1 || schema.fields().is_empty() {
        return plan_err!(
            "search() looks into the rows of one table or view, not of {}: in a join, put it into \
             a query of its own, (SELECT … FROM audit WHERE search('…'))",
            match relations.len() {
                0 => "none",
                _ => "several",
            }
        );
    }
    let has = |name: &&'static str| schema.has_column_with_unqualified_name(name);
    let told = TableName::ALL
        .into_iter()
        .map(TableName::searched_columns)
        .find(|columns| !columns.is_empty() && columns.iter().all(has));
    let is_searched = |field: &Field| match told {
        Some(columns) => columns.contains(&field.name().as_str()),
        None => !NOT_SAID.contains(&field.name().as_str()),
    };
    let columns = schema.iter().filter(|(_, field)| is_searched(field));
    let texts: Vec<Expr> = columns
        .filter_map(|(relation, field)| {
            let column = Expr::Column(Column::new(relation.cloned(), field.name()));
            match field.data_type() {
                DataType::List(element) if is_text(element.data_type()) => {
                    Some(array_to_string(column, lit(" ")))
                }
                data_type => is_text(data_type).then_some(column),
            }
        })
        .collect();
    if texts.is_empty() {
        return plan_err!("search() found no column of text to look into");
    }
    Ok(texts)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
    )
}
