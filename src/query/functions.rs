//! SQL functions of ours. `text_matches(needle, column, …)`: is the needle, whatever its case, in any
//! of the columns; it scans gigabytes of JSON bodies, so the inner loop is one pass of byte compares
//! that the compiler turns into SIMD, and equal views are looked at once. `duration_text(d)`: a time
//! span for people. Both are pure: same arguments, same answer.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StringViewArray};
use arrow::datatypes::{DataType, DurationMicrosecondType, Int64Type, IntervalMonthDayNanoType};
use arrow::datatypes::{IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::layout::forms::forms;

/// Every function of ours, ready to register.
pub(super) fn all() -> Vec<ScalarUDF> {
    let mut all = vec![
        ScalarUDF::from(TextMatches::new()),
        ScalarUDF::from(DurationText::new()),
        super::condition_of::function(),
        super::json_pretty::function(),
        super::revisions::scalar_function(),
    ];
    all.extend(super::time_step::functions());
    all
}

/// `text_matches(needle, column, …) -> boolean`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextMatches {
    signature: Signature,
}

impl TextMatches {
    fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null
    )
}

impl ScalarUDFImpl for TextMatches {
    fn name(&self) -> &str {
        "text_matches"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if arg_types.len() < 2 || !arg_types.iter().all(is_text) {
            return plan_err!(
                "text_matches takes a text to find and one or more text columns, not ({})",
                arg_types
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let (needle, columns) = match args.args.split_first() {
            Some((needle, columns)) => (needle, columns),
            None => return exec_err!("text_matches was called without arguments"),
        };
        match needle {
            ColumnarValue::Scalar(needle) => {
                let Some(Some(needle)) = needle.try_as_str() else {
                    return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
                };
                let needle = Needle::new(needle);
                let mut found = vec![false; rows];
                for column in columns {
                    needle.mark(&column.to_array(rows)?, &mut found)?;
                }
                Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(found))))
            }
            ColumnarValue::Array(needles) => {
                let needles = arrow::compute::cast(needles, &DataType::Utf8View)?;
                let arrays = ColumnarValue::values_to_arrays(columns)?;
                let found = needles
                    .as_string_view()
                    .iter()
                    .enumerate()
                    .map(|(row, needle)| {
                        let Some(needle) = needle else {
                            return Ok(None);
                        };
                        let needle = Needle::new(needle);
                        let mut found = [false];
                        for array in &arrays {
                            needle.mark(&array.slice(row, 1), &mut found)?;
                        }
                        Ok(Some(found[0]))
                    })
                    .collect::<Result<BooleanArray>>()?;
                Ok(ColumnarValue::Array(Arc::new(found)))
            }
        }
    }
}

/// A text to find, in every form in which it may stand in a column.
#[derive(Debug)]
struct Needle {
    forms: Vec<Form>,
}

/// Views at least so long are remembered: the answer costs more than the look-up.
const REMEMBERED_BYTES_MIN: u32 = 128;

impl Needle {
    fn new(text: &str) -> Self {
        Self {
            forms: forms(text).iter().map(|f| Form::new(f)).collect(),
        }
    }

    fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| form.is_in(text))
    }

    /// Sets `found[row]` where the array's text holds the needle.
    fn mark(&self, array: &ArrayRef, found: &mut [bool]) -> Result<()> {
        match array.data_type() {
            DataType::Utf8View => self.mark_views(array.as_string_view(), found),
            DataType::Utf8 => self.mark_texts(array.as_string::<i32>().iter(), found),
            DataType::LargeUtf8 => self.mark_texts(array.as_string::<i64>().iter(), found),
            DataType::Null => {}
            other => return exec_err!("text_matches cannot look into a column of type {other}"),
        }
        Ok(())
    }

    fn mark_texts<'a>(&self, texts: impl Iterator<Item = Option<&'a str>>, found: &mut [bool]) {
        for (text, found) in texts.zip(found) {
            if !*found {
                *found = text.is_some_and(|text| self.is_in(text));
            }
        }
    }

    fn mark_views(&self, array: &StringViewArray, found: &mut [bool]) {
        // Equal views of one array point to the same bytes, as dictionary pages give them.
        let mut seen: HashMap<u128, bool> = HashMap::new();
        for (row, (view, found)) in array.views().iter().zip(found).enumerate() {
            if *found || array.is_null(row) {
                continue;
            }
            let length = u32::try_from(*view & u128::from(u32::MAX)).unwrap_or(u32::MAX);
            *found = if length < REMEMBERED_BYTES_MIN {
                self.is_in(array.value(row))
            } else {
                *seen
                    .entry(*view)
                    .or_insert_with(|| self.is_in(array.value(row)))
            };
        }
    }
}

/// One lower-case text to find.
#[derive(Debug)]
enum Form {
    Ascii(AsciiForm),
    /// Text with other letters: `part` is its longest ASCII run, looked for first.
    Unicode {
        lower: String,
        part: Option<AsciiForm>,
    },
}

impl Form {
    fn new(lower: &str) -> Self {
        if lower.is_ascii() {
            return Self::Ascii(AsciiForm::new(lower));
        }
        // `k` and `s` are left out: the Kelvin sign and the long s are also lower-cased to them.
        let part = lower
            .split(|c: char| !c.is_ascii() || c == 'k' || c == 's' || c == 'i')
            .max_by_key(|run| run.len())
            .filter(|run| !run.is_empty())
            .map(AsciiForm::new);
        Self::Unicode {
            lower: lower.to_owned(),
            part,
        }
    }

    fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Ascii(form) => form.is_in(text.as_bytes()),
            Self::Unicode { lower, part } => {
                part.as_ref().is_none_or(|part| part.is_in(text.as_bytes()))
                    && text.to_lowercase().contains(lower.as_str())
            }
        }
    }
}

/// A lower-case ASCII text, and two of its bytes that are rare in audit events: places where both
/// stand at their distance are compared in full.
#[derive(Debug)]
struct AsciiForm {
    bytes: Vec<u8>,
    first: Probe,
    second: Probe,
}

/// One byte of the text: a byte of the haystack fits if `(byte | mask) == byte`.
#[derive(Debug, Clone, Copy)]
struct Probe {
    at: usize,
    byte: u8,
    mask: u8,
}

/// Bytes from frequent to rare in JSON of Kubernetes audit events (counted on the recording).
const FREQUENT: &[u8] = b"\"eatnoirs:,lcd-pum.fhg0/k{}1yv2w[]b34567x89_qjz";

/// So many positions are tested at once.
const LANES: usize = 64;

impl AsciiForm {
    fn new(lower: &str) -> Self {
        let bytes = lower.as_bytes().to_vec();
        let mut places: Vec<usize> = (0..bytes.len()).collect();
        let rarity = |byte: u8| {
            FREQUENT
                .iter()
                .position(|b| *b == byte)
                .unwrap_or(FREQUENT.len())
        };
        places.sort_by_key(|at| std::cmp::Reverse(rarity(bytes[*at])));
        let probe = |at: usize| {
            let byte = bytes.get(at).copied().unwrap_or(0);
            Probe {
                at,
                byte,
                mask: if byte.is_ascii_lowercase() { 0x20 } else { 0 },
            }
        };
        let first = probe(places.first().copied().unwrap_or(0));
        let second = probe(places.get(1).copied().unwrap_or(first.at));
        Self {
            bytes,
            first,
            second,
        }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        let length = self.bytes.len();
        if length == 0 {
            return true;
        }
        let Some(starts) = (text.len() + 1).checked_sub(length).filter(|n| *n > 0) else {
            return false;
        };
        let one = &text[self.first.at..self.first.at + starts];
        let two = &text[self.second.at..self.second.at + starts];
        let mut chunks = one.chunks_exact(LANES).zip(two.chunks_exact(LANES));
        let mut base = 0;
        for (a, b) in &mut chunks {
            let mut any = 0u8;
            for lane in 0..LANES {
                any |= u8::from(self.fits(a[lane], b[lane]));
            }
            if any != 0 && self.is_among(text, base, base + LANES) {
                return true;
            }
            base += LANES;
        }
        self.is_among(text, base, starts)
    }

    #[inline]
    fn fits(&self, a: u8, b: u8) -> bool {
        ((a | self.first.mask) == self.first.byte) & ((b | self.second.mask) == self.second.byte)
    }

    /// Compares in full at the starts from `from` to before `to`.
    fn is_among(&self, text: &[u8], from: usize, to: usize) -> bool {
        (from..to).any(|start| {
            self.fits(text[start + self.first.at], text[start + self.second.at])
                && text[start..start + self.bytes.len()].eq_ignore_ascii_case(&self.bytes)
        })
    }
}

/// `duration_text(duration | interval | microseconds) -> text`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DurationText {
    signature: Signature,
}

impl DurationText {
    fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for DurationText {
    fn name(&self) -> &str {
        "duration_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match &arg_types[0] {
            DataType::Duration(_)
            | DataType::Interval(_)
            | DataType::Int64
            | DataType::Int32
            | DataType::Null => Ok(DataType::Utf8),
            other => plan_err!(
                "duration_text takes a duration, an interval or microseconds, not {other}"
            ),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let texts: StringArray = match array.data_type() {
            DataType::Interval(_) => {
                let unit = DataType::Interval(IntervalUnit::MonthDayNano);
                arrow::compute::cast(&array, &unit)?
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .iter()
                    .map(|v| {
                        v.map(|v| {
                            let days = i64::from(v.months) * 30 + i64::from(v.days);
                            duration_text(days * 86_400_000_000 + v.nanoseconds / 1_000)
                        })
                    })
                    .collect()
            }
            DataType::Duration(_) => {
                arrow::compute::cast(&array, &DataType::Duration(TimeUnit::Microsecond))?
                    .as_primitive::<DurationMicrosecondType>()
                    .iter()
                    .map(|v| v.map(duration_text))
                    .collect()
            }
            _ => arrow::compute::cast(&array, &DataType::Int64)?
                .as_primitive::<Int64Type>()
                .iter()
                .map(|v| v.map(duration_text))
                .collect(),
        };
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

/// A span of microseconds for people: `2d 03h 04m 05s`, `1h 02m 03s`, `2m 03s`, `4.25s`.
pub fn duration_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    let (d, h, m, s) = (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    if d > 0 {
        format!("{sign}{d}d {h:02}h {m:02}m {s:02}s")
    } else if h > 0 {
        format!("{sign}{h}h {m:02}m {s:02}s")
    } else if m > 0 {
        format!("{sign}{m}m {s:02}s")
    } else {
        let text = format!("{s}.{:03}", micros % 1_000_000 / 1_000);
        format!(
            "{sign}{}s",
            text.trim_end_matches('0').trim_end_matches('.')
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needle: &str, text: &str) -> bool {
        Needle::new(needle).is_in(text)
    }

    #[test]
    fn a_needle_is_found_whatever_its_case_and_place() {
        let long = format!("{}Azure-Vote{}", "x".repeat(200), "y".repeat(70));
        for needle in ["azure-vote", "AZURE-VOTE", "e-v", "xA", "ey", "y"] {
            assert!(found(needle, &long), "{needle}");
        }
        assert!(!found("azure_vote", &long));
        assert!(!found("azure-votes", &long));
        assert!(found("", ""));
        assert!(!found("a", ""));
        assert!(found("a", "A"));
        assert!(!found("[", "{"), "only letters fold");
        assert!(!found("@", "`"));
    }

    #[test]
    fn every_place_agrees_with_a_plain_search() {
        let text = "{\"kind\":\"Pod\",\"Metadata\":{\"name\":\"Web-0\"}}".repeat(5);
        let lower = text.to_lowercase();
        for start in 0..text.len() {
            for length in [1, 2, 3, 7, 33, 70, 130] {
                let Some(needle) = lower.get(start..start + length) else {
                    continue;
                };
                assert!(AsciiForm::new(needle).is_in(text.as_bytes()), "{needle}");
                let absent = format!("{needle}~");
                assert!(!AsciiForm::new(&absent).is_in(text.as_bytes()));
            }
        }
    }

    #[test]
    fn a_needle_is_found_in_its_json_form() {
        assert!(found("say \"hi\"", r#"{"a":"Say \"Hi\""}"#));
        assert!(found("a<b", r#"{"a":"A\u003cB"}"#));
        assert!(found("a<b", r#"{"a":"a<b"}"#));
        assert!(found("x & y", r#"{"a":"x \u0026 y"}"#));
        assert!(found(r"c:\dir", r#"{"a":"C:\\Dir"}"#));
        assert!(found("one\ntwo", r#"{"a":"one\ntwo"}"#));
        assert!(found(
            r#""image":"nginx""#,
            r#"{"ann":"{\"image\":\"nginx\"}"}"#
        ));
        assert!(found(
            r#"say "hi""#,
            r#"{"ann":"{\"a\":\"say \\\"hi\\\"\"}"}"#
        ));
    }

    #[test]
    fn other_letters_fold_too() {
        assert!(found("ÜBER", "das ist über alles"));
        assert!(found("straße", "Straße"));
        assert!(!found("über", "uber"));
    }

    #[test]
    fn rows_match_if_any_column_does_and_nulls_do_not() {
        let body = "b".repeat(300) + "Needle";
        let a: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some(body.as_str()),
            None,
            Some("x"),
            Some(body.as_str()),
        ]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![None, None, Some("NEEDLE"), None]));
        let needle = Needle::new("needle");
        let mut rows = [false; 4];
        needle.mark(&a, &mut rows).unwrap();
        needle.mark(&b, &mut rows).unwrap();
        assert_eq!(rows, [true, false, true, true]);
    }

    #[test]
    fn durations_read_well() {
        for (micros, text) in [
            (0, "0s"),
            (4_250_000, "4.25s"),
            (123_000_000, "2m 03s"),
            (3_723_000_000, "1h 02m 03s"),
            (183_845_000_000, "2d 03h 04m 05s"),
            (-1_500_000, "-1.5s"),
        ] {
            assert_eq!(duration_text(micros), text);
        }
    }
}
