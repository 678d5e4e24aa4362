//! An answer as bars over time: a panel for each series, one below the other, all over the same span.
//! In: rows with a time, a number and the name of a series. Out: lines of text that fit the terminal.
//! Promised: a step of time without rows is a step of the chart, shown as `·`; where there are more
//! steps than columns, a column adds up several and the last line says how many.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};

use super::{Output, table};
use crate::error::{Context, Error, ErrorKind, Result};

/// Columns of a chart where no terminal sets the width.
const WIDTH_DEFAULT: usize = 100;
/// Lines of a panel: more where there are few of them.
const LINES_FEW: usize = 4;
const LINES_MANY: usize = 2;
const PANELS_FEW: usize = 3;
const NAME_CHARS_MAX: usize = 60;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const NONE: char = '·';

/// What is drawn against what: names of columns, and the span if it is known.
#[derive(Debug, Clone)]
pub struct Axes {
    /// When a bar begins.
    pub time: String,
    /// How high it is, a whole number.
    pub value: String,
    /// Name of the series.
    pub by: String,
    /// How long a bar is: `minute`, `hour` or `day`, the same in all rows.
    pub per: String,
    /// Where the chart begins; else with the first row.
    pub since: Option<DateTime<Utc>>,
    /// Where the chart ends; else with the last row.
    pub until: Option<DateTime<Utc>>,
}

/// One row: step, value.
type Bar = (i64, i64);

/// The lines of a chart, and the number of rows that went into it.
///
/// # Errors
/// `Bug` when a column is missing or of another type.
pub fn draw(batches: &[RecordBatch], axes: &Axes, output: &Output) -> Result<(Vec<String>, u64)> {
    let mut series: BTreeMap<String, Vec<Bar>> = BTreeMap::new();
    let mut per = String::new();
    let mut rows = 0;
    for batch in batches {
        rows += batch.num_rows() as u64;
        read(batch, axes, &mut series, &mut per)?;
    }
    let Some(step) = step_micros(&per) else {
        return Ok((vec!["(0 rows)".to_owned()], rows));
    };
    let steps = || {
        series
            .values()
            .flatten()
            .map(|(time, _)| time.div_euclid(step))
    };
    let first = axes.since.map_or_else(
        || steps().min().unwrap_or(0),
        |t| t.timestamp_micros().div_euclid(step),
    );
    let last = axes.until.map_or_else(
        || steps().max().unwrap_or(0),
        |t| (t.timestamp_micros() - 1).div_euclid(step),
    );
    let count = usize::try_from(last.saturating_sub(first).saturating_add(1))
        .unwrap_or(1)
        .max(1);
    let width = output.width.unwrap_or(WIDTH_DEFAULT);
    let merged = count.div_ceil(width);
    let columns = count.div_ceil(merged);
    let height = if series.len() <= PANELS_FEW {
        LINES_FEW
    } else {
        LINES_MANY
    };
    let span = if merged == 1 {
        format!("{} {per}", if per == "hour" { "an" } else { "a" })
    } else {
        format!("in {merged} {per}s")
    };

    let mut lines = Vec::new();
    for (name, bars) in &series {
        let mut heights = vec![0_i64; columns];
        for (time, value) in bars {
            let at = usize::try_from(time.div_euclid(step) - first).map_or(columns, |s| s / merged);
            if let Some(height) = heights.get_mut(at) {
                *height = height.saturating_add(*value);
            }
        }
        let total: i64 = bars.iter().map(|(_, value)| *value).sum();
        let peak = heights.iter().copied().max().unwrap_or(0);
        let name = table::clean(name, NAME_CHARS_MAX);
        lines.push(format!(
            "{name}: {total} {}, at most {peak} {span}",
            axes.value
        ));
        lines.extend(panel(&heights, height));
        lines.push(String::new());
    }
    let shown = |step_number: i64| {
        let time = DateTime::from_timestamp_micros(step_number.saturating_mul(step));
        time.map_or_else(String::new, |time| {
            let zoned = time.with_timezone(&output.zone);
            zoned.format("%Y-%m-%d %H:%M %Z").to_string()
        })
    };
    let (from, to) = (shown(first), shown(last.saturating_add(1)));
    let gap = columns.saturating_sub(from.len() + to.len()).max(2);
    lines.push(format!("{from}{}{to}", " ".repeat(gap)));
    lines.push(if merged == 1 {
        format!("one column: one {per}; {NONE} none")
    } else {
        format!("one column: {merged} {per}s; {NONE} none")
    });
    Ok((lines, rows))
}

fn read(
    batch: &RecordBatch,
    axes: &Axes,
    series: &mut BTreeMap<String, Vec<Bar>>,
    per: &mut String,
) -> Result<()> {
    let act = "cannot draw the answer";
    let column = |name: &str, as_type: &DataType| {
        let found = batch
            .column_by_name(name)
            .ok_or_else(|| Error::new(ErrorKind::Bug, format!("{act}: it has no column {name}")))?;
        cast(found, as_type).context(act)
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times = column(&axes.time, &micros)?;
    let values = column(&axes.value, &DataType::Int64)?;
    let names = column(&axes.by, &DataType::Utf8)?;
    let pers = column(&axes.per, &DataType::Utf8)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let values = values.as_primitive::<Int64Type>();
    let (names, pers) = (names.as_string::<i32>(), pers.as_string::<i32>());
    for (((time, value), name), step) in times.iter().zip(values).zip(names).zip(pers) {
        let (Some(time), Some(step)) = (time, step) else {
            continue;
        };
        if per.is_empty() {
            per.push_str(step);
        } else if per != step {
            let what = format!("steps of {per} and {step} in one chart");
            return Err(ArrowError::InvalidArgumentError(what)).context(act);
        }
        let bars = series
            .entry(name.unwrap_or("(none)").to_owned())
            .or_default();
        bars.push((time, value.unwrap_or(0)));
    }
    Ok(())
}

fn step_micros(per: &str) -> Option<i64> {
    match per {
        "minute" => Some(60_000_000),
        "hour" => Some(3_600_000_000),
        "day" => Some(86_400_000_000),
        _ => None,
    }
}

/// Bars of so many lines; what is not zero is at least an eighth of a line high.
fn panel(heights: &[i64], lines: usize) -> Vec<String> {
    let peak = heights.iter().copied().max().unwrap_or(0).max(1);
    let full = i64::try_from(lines * 8).unwrap_or(i64::MAX);
    let eighths: Vec<i64> = heights
        .iter()
        .map(|h| {
            let scaled = i128::from(*h) * i128::from(full) / i128::from(peak);
            i64::try_from(scaled).unwrap_or(full).max(i64::from(*h > 0))
        })
        .collect();
    (0..lines)
        .rev()
        .map(|line| {
            let below = i64::try_from(line * 8).unwrap_or(i64::MAX);
            let text: String = eighths
                .iter()
                .map(|e| match (*e, line) {
                    (0, 0) => NONE,
                    (e, _) => {
                        let filled = usize::try_from((e - below).clamp(0, 8)).unwrap_or(0);
                        EIGHTHS[filled]
                    }
                })
                .collect();
            text.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::output::Format;

    fn rows(rows: &[(i64, i64, &str)]) -> RecordBatch {
        let times = rows.iter().map(|r| r.0 * 60_000_000);
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 4] = [
            ("time", Arc::new(times)),
            (
                "n",
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
            ),
            (
                "who",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.2))),
            ),
            (
                "per",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "minute"))),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn chart(batch: RecordBatch, width: usize, until: Option<i64>) -> Vec<String> {
        let axes = Axes {
            time: "time".to_owned(),
            value: "n".to_owned(),
            by: "who".to_owned(),
            per: "per".to_owned(),
            since: None,
            until: until.map(|m| DateTime::from_timestamp(m * 60, 0).unwrap()),
        };
        let output = Output {
            format: Format::Table,
            zone: chrono_tz::Tz::UTC,
            width: Some(width),
            file: None,
        };
        draw(&[batch], &axes, &output).unwrap().0
    }

    #[test]
    fn steps_without_rows_are_seen() {
        let lines = chart(
            rows(&[(0, 8, "a"), (1, 16, "a"), (4, 32, "a"), (4, 1, "b")]),
            80,
            Some(6),
        );
        assert_eq!(
            lines,
            [
                "a: 56 n, at most 32 a minute",
                "    █",
                "    █",
                " █  █",
                "██··█·",
                "",
                "b: 1 n, at most 1 a minute",
                "    █",
                "    █",
                "    █",
                "····█·",
                "",
                "1970-01-01 00:00 UTC  1970-01-01 00:06 UTC",
                "one column: one minute; · none",
            ]
        );
    }

    #[test]
    fn more_steps_than_columns_are_added_up() {
        let batch = rows(&[(0, 1, "a"), (1, 1, "a"), (99, 4, "a")]);
        let lines = chart(batch, 20, None);
        assert_eq!(lines[0], "a: 6 n, at most 4 in 5 minutes");
        assert_eq!(lines[4], "█··················█");
        assert_eq!(lines[3], "█                  █");
        assert_eq!(lines[2], "                   █");
        assert_eq!(lines.last().unwrap(), "one column: 5 minutes; · none");
    }

    #[test]
    fn what_is_little_is_not_nothing() {
        assert_eq!(panel(&[1, 1_000_000, 0], 1), ["▁█·"]);
        assert_eq!(panel(&[], 1), [""]);
    }

    #[test]
    fn an_answer_without_rows_says_so() {
        assert_eq!(chart(rows(&[]), 20, None), ["(0 rows)"]);
    }
}
