//! SQL functions `minute_of(time)` and `day_of(time)`: when the minute or the UTC day of a time begins.
//! Unlike `date_trunc` they tell the optimizer which times a step holds, so that a filter on the step
//! becomes one on the time, which reaches the files.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

const SECOND: i64 = 1_000_000;

pub(super) fn functions() -> [ScalarUDF; 2] {
    [("minute_of", 60 * SECOND), ("day_of", 86_400 * SECOND)].map(|(name, micros)| {
        ScalarUDF::from(StepOf {
            name,
            micros,
            signature: Signature::any(1, Volatility::Immutable),
        })
    })
}

/// The function of one length of a step.
#[derive(Debug, PartialEq, Eq, Hash)]
struct StepOf {
    name: &'static str,
    micros: i64,
    signature: Signature,
}

impl StepOf {
    fn begin(&self, time: i64) -> i64 {
        time - time.rem_euclid(self.micros)
    }
}

impl ScalarUDFImpl for StepOf {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match &arg_types[0] {
            DataType::Timestamp(_, zone) => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            other => plan_err!("{} takes a timestamp, not {other}", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let zone = match array.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let begins = arrow::compute::cast(&array, &micros)?
            .as_primitive::<TimestampMicrosecondType>()
            .unary::<_, TimestampMicrosecondType>(|time| self.begin(time))
            .with_timezone_opt(zone);
        Ok(ColumnarValue::Array(Arc::new(begins)))
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        Ok(input
            .first()
            .map_or(SortProperties::Unordered, |time| time.sort_properties))
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        let [time] = args else {
            return Ok(PreimageResult::None);
        };
        let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(value), zone), _) = literal else {
            return Ok(PreimageResult::None);
        };
        // The bounds have the type of the literal, which must be that of the column.
        if info.get_data_type(time)? != DataType::Timestamp(TimeUnit::Microsecond, zone.clone()) {
            return Ok(PreimageResult::None);
        }
        let begin = self.begin(*value);
        let Some(next) = begin.checked_add(self.micros) else {
            return Ok(PreimageResult::None);
        };
        // No step begins inside of another: such a value is between two steps, and no time is in it.
        let lower = if begin == *value { begin } else { next };
        let bound = |time| ScalarValue::TimestampMicrosecond(Some(time), zone.clone());
        Ok(PreimageResult::Range {
            expr: time.clone(),
            interval: Box::new(Interval::try_new(bound(lower), bound(next))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_where_they_should() {
        let [minute, day] = [60 * SECOND, 86_400 * SECOND].map(|micros| StepOf {
            name: "step",
            micros,
            signature: Signature::any(1, Volatility::Immutable),
        });
        assert_eq!(minute.begin(61 * SECOND + 1), 60 * SECOND);
        assert_eq!(minute.begin(60 * SECOND), 60 * SECOND);
        assert_eq!(minute.begin(-1), -60 * SECOND);
        assert_eq!(day.begin(86_400 * SECOND - 1), 0);
    }
}
