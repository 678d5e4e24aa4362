//! SQL function `condition_of(conditions, type)`: the condition of a type among the conditions of an
//! object, as a struct; null if there is none. It takes one row for each object where `unnest` makes
//! one for each condition.

use arrow::array::{Array, AsArray as _, UInt64Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(ConditionOf {
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ConditionOf {
    signature: Signature,
}

impl ScalarUDFImpl for ConditionOf {
    fn name(&self) -> &str {
        "condition_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::List(item), DataType::Utf8 | DataType::Utf8View] if matches!(item.data_type(), DataType::Struct(fields) if fields.find("type").is_some()) => {
                Ok(item.data_type().clone())
            }
            [conditions, of] => plan_err!(
                "condition_of takes conditions and the type of one, not ({conditions}, {of})"
            ),
            _ => plan_err!("condition_of takes two arguments"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [conditions, of] = args.args.as_slice() else {
            return exec_err!("condition_of takes two arguments");
        };
        let ColumnarValue::Scalar(of) = of else {
            return exec_err!("condition_of takes one type for all rows");
        };
        let conditions = conditions.to_array(args.number_rows)?;
        let lists = conditions.as_list::<i32>();
        let items = lists.values().as_struct();
        let Some(Some(of)) = of.try_as_str() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(
                items.data_type(),
            )?));
        };
        let Some(types) = items.column_by_name("type") else {
            return exec_err!("condition_of was given a list of something else");
        };
        let types = cast(types, &DataType::Utf8View)?;
        let types = types.as_string_view();
        let mut found = UInt64Array::builder(lists.len());
        for row in 0..lists.len() {
            let ends = &lists.value_offsets()[row..=row + 1];
            let (Ok(from), Ok(to)) = (usize::try_from(ends[0]), usize::try_from(ends[1])) else {
                return exec_err!("condition_of was given a damaged list");
            };
            let at = (from..to)
                .filter(|_| lists.is_valid(row))
                .find(|at| types.is_valid(*at) && types.value(*at) == of);
            found.append_option(at.map(|at| at as u64));
        }
        let found = found.finish();
        let array = if found.null_count() == found.len() {
            new_null_array(items.data_type(), found.len())
        } else {
            take(items, &found, None)?
        };
        Ok(ColumnarValue::Array(array))
    }
}
