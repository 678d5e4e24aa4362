//! `json_pretty(text) -> text`: JSON on several lines, two spaces a level, for people. It works on
//! tokens and parses nothing, so that numbers, escapes and the order of keys stay as received and no
//! body is refused: what is no JSON comes out nearly as it went in.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function, ready to register.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(JsonPretty {
        signature: Signature::string(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonPretty {
    signature: Signature,
}

impl ScalarUDFImpl for JsonPretty {
    fn name(&self) -> &str {
        "json_pretty"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let array = arrow::compute::cast(&array, &DataType::Utf8View)?;
        let texts: StringArray = array
            .as_string_view()
            .iter()
            .map(|text| text.map(pretty))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

/// Deeper levels are indented no further, so that a body of brackets does not grow by its square.
const INDENTED_LEVELS_MAX: usize = 40;

/// JSON text with each member and element on its own line.
fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut rest = text.trim_ascii();
    while let Some(c) = rest.chars().next() {
        let (token, after) = rest.split_at(token_bytes(rest, c));
        rest = after.trim_ascii_start();
        match c {
            '{' | '[' if rest.starts_with(['}', ']']) => {
                out.push_str(token);
                out.push_str(&rest[..1]);
                rest = rest[1..].trim_ascii_start();
            }
            '{' | '[' => {
                depth += 1;
                out.push_str(token);
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push_str(token);
            }
            ',' => {
                out.push_str(token);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push_str(token),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(INDENTED_LEVELS_MAX)));
}

/// Length of the token at the start: a string, one mark, or a run of anything else.
fn token_bytes(text: &str, first: char) -> usize {
    match first {
        '"' => {
            let mut escaped = false;
            let end = text.bytes().skip(1).position(|b| {
                let closes = b == b'"' && !escaped;
                escaped = b == b'\\' && !escaped;
                closes
            });
            end.map_or(text.len(), |at| at + 2)
        }
        '{' | '}' | '[' | ']' | ',' | ':' => 1,
        _ => text
            .find(|c: char| "{}[],:\"".contains(c) || c.is_ascii_whitespace())
            .unwrap_or(text.len())
            // White space that is no ASCII, or starts the text: it is its own token.
            .max(first.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_stand_on_their_own_lines() {
        let text = r#"{"a":{"b":[1,2.50,"x, {y}: \"z\""],"c":{},"d":[ ]},"e":null}"#;
        let lines = [
            "{",
            r#"  "a": {"#,
            r#"    "b": ["#,
            "      1,",
            "      2.50,",
            r#"      "x, {y}: \"z\"""#,
            "    ],",
            r#"    "c": {},"#,
            r#"    "d": []"#,
            "  },",
            r#"  "e": null"#,
            "}",
        ];
        assert_eq!(pretty(text), lines.join("\n"));
        assert_eq!(pretty(&lines.join("\n")), lines.join("\n"), "again");
    }

    #[test]
    fn what_is_no_json_is_kept() {
        for text in ["", "skipped", "\"open", "\"a\\", "ä\u{a0}ö", "true"] {
            assert_eq!(pretty(text), text);
        }
        assert_eq!(pretty("}}"), "\n}\n}");
    }

    #[test]
    fn deep_nesting_does_not_grow_by_its_square() {
        let text = "[".repeat(100_000) + "1" + &"]".repeat(100_000);
        assert!(pretty(&text).len() < text.len() * (2 * INDENTED_LEVELS_MAX + 2));
    }

    #[test]
    fn nothing_but_white_space_changes() {
        let text = r#"{"a":[{"b":"c d"},1e400,-0],"k":{"x":"ÿ \u00ff"}}"#;
        let squeezed: String = pretty(text).split('\n').map(str::trim_start).collect();
        assert_eq!(squeezed.replace(": ", ":"), text);
    }
}
