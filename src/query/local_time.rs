//! Times without an offset are read in the session's zone, as PostgreSQL reads them: `'2026-11-20 21:47'`
//! and `TIMESTAMP '…'` compared with a time of the archive, which is UTC. Runs after types were made to
//! fit, which is when such a time has become a cast to the column's type; arrow would read it as UTC.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

const UTC: &str = "UTC";

/// The rule.
#[derive(Debug)]
pub(super) struct LocalTime;

impl AnalyzerRule for LocalTime {
    fn name(&self) -> &'static str {
        "local_time"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = match config.execution.time_zone.as_deref() {
            None | Some(UTC) => return Ok(plan),
            Some(zone) => zone,
        };
        let changed = plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let changed = expr.transform_up(|expr| local(expr, zone))?;
                Ok(changed.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(changed.data)
    }
}

fn local(expr: Expr, zone: &str) -> Result<Transformed<Expr>> {
    let Expr::Cast(cast) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let DataType::Timestamp(unit, Some(target)) = cast.field.data_type() else {
        return Ok(Transformed::no(expr));
    };
    let is_naive = match cast.expr.as_ref() {
        Expr::Literal(value, _) => matches!(
            value.data_type(),
            DataType::Utf8
                | DataType::Utf8View
                | DataType::LargeUtf8
                | DataType::Timestamp(_, None)
        ),
        // `TIMESTAMP '…'`.
        Expr::Cast(inner) => {
            matches!(inner.field.data_type(), DataType::Timestamp(_, None))
                && matches!(inner.expr.as_ref(), Expr::Literal(..))
        }
        _ => false,
    };
    if target.as_ref() != UTC || !is_naive {
        return Ok(Transformed::no(expr));
    }
    let in_zone = DataType::Timestamp(*unit, Some(zone.into()));
    let utc = cast.field.data_type().clone();
    let local = Expr::Cast(Cast::new(cast.expr.clone(), in_zone));
    Ok(Transformed::yes(Expr::Cast(Cast::new(
        Box::new(local),
        utc,
    ))))
}
