//! Key-values of an entry, and the JSON object that column `fields` holds of them.
//!
//! A key that stands twice: an equal value is written once (klog JSON repeats the values of its
//! logger), a different one under `key#2`, `key#3` …, so that nothing is lost and the type stays.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use crate::{decode::json_text, event::audit::Text};

/// A value as it stands in the text.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Between the quotes of Go's `strconv.Quote`, still escaped.
    Quoted(&'a str),
    /// A JSON value.
    Json(&'a str),
    /// Plain text.
    Text(Text<'a>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) key: Text<'a>,
    pub(super) value: Value<'a>,
}

impl<'a> Field<'a> {
    pub(super) fn new(key: impl Into<Text<'a>>, value: Value<'a>) -> Self {
        Self {
            key: key.into(),
            value,
        }
    }
}

impl<'a> Value<'a> {
    /// The value as text; none if it is JSON and no string.
    pub(super) fn text(&self) -> Option<Text<'a>> {
        match self {
            Self::Quoted(inner) => Some(unquote(inner)),
            Self::Json(json) if json.starts_with('"') => json_text(json),
            Self::Json(_) => None,
            Self::Text(text) => Some(text.clone()),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Quoted(inner) if is_json_string_inside(inner) => {
                out.push('"');
                out.push_str(inner);
                out.push('"');
            }
            Self::Quoted(inner) => write_text(&unquote(inner), out),
            Self::Json(json) => out.push_str(json),
            Self::Text(text) => write_text(text, out),
        }
    }
}

/// True if the inside of a Go string means the same between the quotes of JSON.
fn is_json_string_inside(inner: &str) -> bool {
    let mut rest = inner.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        match rest.get(at + 1) {
            Some(b'"' | b'\\' | b'n' | b't' | b'r' | b'b' | b'f') => rest = &rest[at + 2..],
            _ => return false,
        }
    }
    !any_byte(inner, |b| b < 0x20)
}

/// Looks at all bytes, without a branch for each, which is faster for text that has none of them.
fn any_byte(text: &str, is: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |found, b| found | is(b))
}

/// Writes text as a JSON string.
pub(super) fn write_text(text: &str, out: &mut String) {
    if any_byte(text, |b| (b < 0x20) | (b == b'"') | (b == b'\\')) {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// More fields than this are looked up by hash.
const LINEAR_MAX: usize = 32;

/// Writes fields as a JSON object; `None` if there are none.
pub(super) fn write(fields: &[Field<'_>]) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(64 + 48 * fields.len());
    let mut by_key: HashMap<&str, Vec<Range<usize>>> = HashMap::new();
    let mut values: Vec<(&str, Range<usize>)> = Vec::with_capacity(fields.len().min(LINEAR_MAX));
    for field in fields {
        let before = out.len();
        out.push(if before == 0 { '{' } else { ',' });
        write_text(&field.key, &mut out);
        let key_end = out.len() - 1;
        out.push(':');
        let start = out.len();
        field.value.write(&mut out);
        let value = start..out.len();
        let (earlier, is_equal) = if fields.len() > LINEAR_MAX {
            let known = by_key.entry(&field.key).or_default();
            let is_equal = known
                .iter()
                .take(LINEAR_MAX)
                .any(|k| out[k.clone()] == out[value.clone()]);
            if !is_equal {
                known.push(value.clone());
            }
            (known.len() - usize::from(!is_equal), is_equal)
        } else {
            let mut known = values.iter().filter(|(key, _)| *key == field.key);
            let earlier = known.clone().count();
            let is_equal = earlier > 0 && known.any(|(_, k)| out[k.clone()] == out[value.clone()]);
            if !is_equal {
                values.push((&field.key, value.clone()));
            }
            (earlier, is_equal)
        };
        if is_equal {
            out.truncate(before);
        } else if earlier > 0 {
            let suffix = format!("#{}", earlier + 1);
            out.insert_str(key_end, &suffix);
            let moved = value.start + suffix.len()..value.end + suffix.len();
            if let Some(last) = values.last_mut() {
                last.1 = moved.clone();
            }
            if let Some(last) = by_key
                .get_mut(field.key.as_ref())
                .and_then(|k| k.last_mut())
            {
                *last = moved;
            }
        }
    }
    out.push('}');
    Some(out)
}

/// Where a Go string that begins behind its opening quote ends: the position of the closing quote.
pub(super) fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Undoes `strconv.Quote`. What is no escape of Go stays as it is.
pub(super) fn unquote(inner: &str) -> Text<'_> {
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out: Vec<u8> = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let tail = &rest[at + 1..];
        let Some(letter) = tail.chars().next() else {
            rest = &rest[at..];
            break;
        };
        let simple = match letter {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' => Some(b'\\'),
            '"' => Some(b'"'),
            '\'' => Some(b'\''),
            _ => None,
        };
        let digits = match letter {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let code = tail
            .get(1..1 + digits)
            .filter(|d| digits > 0 && d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok());
        match (simple, code, code.and_then(char::from_u32)) {
            (Some(byte), ..) => {
                out.push(byte);
                rest = &tail[1..];
            }
            (_, Some(code), _) if letter == 'x' => {
                out.push(u8::try_from(code).unwrap_or(b'?'));
                rest = &tail[3..];
            }
            (_, _, Some(c)) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &tail[1 + digits..];
            }
            _ => {
                out.push(b'\\');
                rest = tail;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    // Go writes bytes that are no UTF-8 as \x..; the record keeps them.
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_strings_are_unquoted() {
        assert_eq!(
            unquote(r"a\tb\n\x41\u00e9\U0001F600\'\q"),
            "a\tb\nA\u{e9}\u{1F600}'\\q"
        );
        assert_eq!(unquote("end\\"), "end\\");
        assert_eq!(unquote("\\\u{e9}"), "\\\u{e9}");
        assert_eq!(unquote(r"\xc3\xa9\x00"), "\u{e9}\0");
    }

    #[test]
    fn a_key_that_stands_twice_keeps_both_values() {
        let field = |k, v| Field::new(k, Value::Text(Cow::Borrowed(v)));
        let fields = [
            field("a", "1"),
            field("a", "1"),
            field("a", "2"),
            field("a", "3"),
            field("a", "2"),
        ];
        assert_eq!(
            write(&fields).unwrap(),
            r##"{"a":"1","a#2":"2","a#3":"3"}"##
        );
        let keys: Vec<String> = (0..40).map(|i| format!("k{i}")).collect();
        let mut many: Vec<Field<'_>> = keys.iter().map(|k| field(k.as_str(), "x")).collect();
        many.push(field("k3", "x"));
        many.push(field("k3", "y"));
        many.push(field("k3", "z"));
        many.push(field("k3", "y"));
        let text = write(&many).unwrap();
        assert!(
            text.ends_with(r##""k39":"x","k3#2":"y","k3#3":"z"}"##),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn fields_are_json_whatever_they_hold(inner in "[ -~\\\\\"\n\u{0}\u{e9}]{0,40}", key in ".{0,8}") {
            let end = quoted_end(&inner).unwrap_or(0);
            let value = Value::Quoted(&inner[..end]);
            let text = write(&[Field::new(key.as_str(), value.clone())]).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            let want = value.text();
            prop_assert_eq!(json[&key].as_str(), want.as_deref());
        }
    }
}
