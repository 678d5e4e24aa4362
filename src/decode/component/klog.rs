//! klog text: `Lmmdd hh:mm:ss.uuuuuu threadid file:line] msg`, and what `InfoS` and `ErrorS` write
//! behind it: `"msg" key="value" key2=<JSON or Go's %+v>`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    decode::component::{
        Parsed, When,
        clock::Stamp,
        fields::{Field, Value, quoted_end, unquote},
    },
    event::{
        audit::Text,
        component::{EntryFormat, Severity},
    },
};

/// Length of `Lmmdd hh:mm:ss.uuuuuu`.
const STAMP_BYTES: usize = 21;

/// A header's file and line are no longer than this.
const CALLER_BYTES_MAX: usize = 300;

/// The stamp, if a line begins with a header.
pub(super) fn stamp(line: &[u8]) -> Option<Stamp> {
    if !matches!(line.first()?, b'I' | b'W' | b'E' | b'F') {
        return None;
    }
    Stamp::parse(&line[1..])
}

/// Parses an entry that begins with a header.
pub(super) fn parse(text: &str) -> Option<Parsed<'_>> {
    let stamp = stamp(text.as_bytes())?;
    let severity = match text.as_bytes()[0] {
        b'I' => Severity::Info,
        b'W' => Severity::Warning,
        b'E' => Severity::Error,
        _ => Severity::Fatal,
    };
    let rest = &text[STAMP_BYTES..];
    let (thread, rest) = thread(rest);
    let (caller, body) = caller(rest);
    let mut parsed = Parsed::new(EntryFormat::Klog, Cow::Borrowed(body));
    parsed.when = When::Stamp(stamp);
    parsed.severity = Some(severity);
    parsed.thread = thread;
    if let Some((file, line)) = caller {
        parsed.caller_file = Some(Cow::Borrowed(file));
        parsed.caller_line = line;
    }
    if body.starts_with('"') {
        structured(body, &mut parsed);
    } else if body.starts_with("Event(") {
        parsed.fields = event_fields(body).unwrap_or_default();
    } else if body.starts_with("Trace[") {
        parsed.audit_id = after(body, "audit-id:")
            .and_then(|t| t.split([',', ' ', ']']).next())
            .map(Cow::Borrowed);
    } else if let Some(legacy) = after(body, " AUDIT: id=\"") {
        parsed.audit_id = legacy.split('"').next().map(Cow::Borrowed);
    }
    parsed.audit_id = parsed.audit_id.filter(|id| !id.is_empty());
    Some(parsed)
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let at = memchr::memmem::find(text.as_bytes(), mark.as_bytes())?;
    text.get(at + mark.len()..)
}

/// The thread id, right-aligned to seven places; some writers leave the blank before it out.
fn thread(rest: &str) -> (Option<i64>, &str) {
    let trimmed = rest.trim_start_matches(' ');
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, behind) = trimmed.split_at(digits);
    match (number.parse(), behind.strip_prefix(' ')) {
        (Ok(number), Some(behind)) => (Some(number), behind),
        _ => (None, trimmed),
    }
}

type Caller<'a> = (&'a str, Option<i32>);

/// File and line, and the message behind `] `.
fn caller(rest: &str) -> (Option<Caller<'_>>, &str) {
    let head = &rest.as_bytes()[..rest.len().min(CALLER_BYTES_MAX)];
    let Some(end) = memchr::memchr3(b']', b' ', b'\n', head).filter(|i| head[*i] == b']') else {
        return (None, rest);
    };
    let body = &rest[end + 1..];
    let body = body.strip_prefix(' ').unwrap_or(body);
    let caller = split_caller(&rest[..end]);
    ((!caller.0.is_empty()).then_some(caller), body)
}

/// `file:line` as its parts.
pub(super) fn split_caller(text: &str) -> Caller<'_> {
    match text.rsplit_once(':').map(|(f, l)| (f, l.parse())) {
        Some((file, Ok(line))) => (file, Some(line)),
        _ => (text, None),
    }
}

fn structured<'a>(body: &'a str, parsed: &mut Parsed<'a>) {
    let Some(end) = quoted_end(&body[1..]) else {
        return;
    };
    let (message, rest) = (&body[1..1 + end], &body[end + 2..]);
    if !rest.trim_end().is_empty() && !rest.starts_with([' ', '\n']) {
        return;
    }
    let (fields, rest) = key_values(rest);
    let message = unquote(message);
    parsed.message = if rest.trim_end().is_empty() {
        message
    } else {
        Cow::Owned(format!("{message}{rest}"))
    };
    for field in &fields {
        match &*field.key {
            "logger" => parsed.logger = field.value.text(),
            "audit-ID" | "auditID" | "audit-id" => parsed.audit_id = field.value.text(),
            _ => {}
        }
    }
    parsed.fields = fields;
    parsed
        .fields
        .retain(|f| f.key != "logger" || f.value.text().is_none());
}

/// Reads ` key=value` as often as it stands there; the second value is what is left.
fn key_values(text: &str) -> (Vec<Field<'_>>, &str) {
    let mut fields = Vec::with_capacity(8);
    let mut rest = text;
    while let Some((field, behind)) = key_value(rest) {
        fields.push(field);
        rest = behind;
    }
    (fields, rest)
}

fn key_value(text: &str) -> Option<(Field<'_>, &str)> {
    let text = text.strip_prefix(' ')?.trim_start_matches(' ');
    let end = text
        .bytes()
        .position(|b| matches!(b, b'=' | b' ' | b'"' | b'\n' | b'\t'))?;
    if end == 0 || text.as_bytes()[end] != b'=' {
        return None;
    }
    let (value, rest) = value(&text[end + 1..])?;
    Some((Field::new(&text[..end], value), rest))
}

fn ends_value(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', '\n', '\r'])
}

fn value(text: &str) -> Option<(Value<'_>, &str)> {
    let (value, rest) = match text.as_bytes().first() {
        Some(b'"') => {
            let end = quoted_end(&text[1..])?;
            (Value::Quoted(&text[1..1 + end]), &text[end + 2..])
        }
        Some(b'<') if text.starts_with("<\n") => block(text)?,
        Some(b'{' | b'[') => json(text).or_else(|| go_value(text))?,
        _ => go_value(text)?,
    };
    ends_value(rest).then_some((value, rest))
}

/// `<`, lines that begin with a tab, ` >`.
fn block(text: &str) -> Option<(Value<'_>, &str)> {
    let mut value = String::new();
    let mut rest = text.strip_prefix("<\n")?;
    loop {
        if let Some(behind) = rest.strip_prefix(" >") {
            value.pop();
            return Some((Value::Text(Cow::Owned(value)), behind));
        }
        let (line, behind) = rest.split_once('\n')?;
        value.push_str(line.strip_prefix('\t').unwrap_or(line));
        value.push('\n');
        rest = behind;
    }
}

fn json(text: &str) -> Option<(Value<'_>, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let json = values.next()?.ok()?;
    let rest = &text[values.byte_offset()..];
    // JSON over several lines would be no value of klog.
    (ends_value(rest) && !json.get().contains('\n')).then_some((Value::Json(json.get()), rest))
}

/// Go's `%+v`: up to the blank that stands in no brackets.
fn go_value(text: &str) -> Option<(Value<'_>, &str)> {
    let mut depth = 0_usize;
    let mut end = text.len();
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => {
                end = i;
                break;
            }
            b'\n' | b'\r' => {
                end = i;
                break;
            }
            _ => {}
        }
    }
    if depth > 0 {
        end = text.find([' ', '\n']).unwrap_or(text.len());
    }
    let (token, rest) = text.split_at(end);
    Some((token_value(token), rest))
}

/// A token without quotes: JSON where that says the same exactly.
fn token_value(token: &str) -> Value<'_> {
    let is_json = match token {
        "true" | "false" | "null" => true,
        _ => is_exact_number(token),
    };
    if is_json {
        Value::Json(token)
    } else {
        Value::Text(Cow::Borrowed(token))
    }
}

/// True for decimal text that a 64-bit number gives back digit by digit.
fn is_exact_number(token: &str) -> bool {
    if !token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) || token.len() > 24 {
        return false;
    }
    if token.parse::<i64>().is_ok() {
        let digits = token.strip_prefix('-').unwrap_or(token);
        return token == "0" || !digits.starts_with('0');
    }
    token.contains('.')
        && !token.ends_with('.')
        && token
            .parse::<f64>()
            .is_ok_and(|n| n.is_finite() && (n.to_string() == token || format!("{n:.1}") == token))
}

/// `Event(v1.ObjectReference{Kind:"Pod", …}): type: 'Normal' reason: 'X' message`
fn event_fields(body: &str) -> Option<Vec<Field<'_>>> {
    let inner = body.strip_prefix("Event(")?;
    let inner = &inner[inner.find('{')? + 1..];
    let mut rest = inner;
    let (mut kind, mut namespace, mut name) = (None, None, None);
    let mut others = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(behind) = rest.strip_prefix("})") {
            rest = behind;
            break;
        }
        let (key, behind) = rest.split_once(":\"")?;
        let end = quoted_end(behind)?;
        let value = Value::Quoted(&behind[..end]);
        rest = &behind[end + 1..];
        match key {
            "Kind" => kind = Some(value),
            "Namespace" => namespace = Some(value),
            "Name" => name = Some(value),
            "UID" => others.push(Field::new("uid", value)),
            "APIVersion" => others.push(Field::new("apiVersion", value)),
            "ResourceVersion" => others.push(Field::new("resourceVersion", value)),
            "FieldPath" => others.push(Field::new("fieldPath", value)),
            _ => return None,
        }
    }
    let rest = rest.strip_prefix(": type: '")?;
    let (kind_of_event, rest) = rest.split_once('\'')?;
    let rest = rest.trim_start().strip_prefix("reason: '")?;
    let (reason, message) = rest.split_once('\'')?;
    let message = message.strip_prefix(' ').unwrap_or(message);
    let text = |v: &Option<Value<'_>>| v.as_ref().and_then(|v| v.text().map(Text::into_owned));
    let object = match (text(&namespace).filter(|n| !n.is_empty()), text(&name)?) {
        (Some(namespace), name) => format!("{namespace}/{name}"),
        (None, name) => name,
    };
    let mut fields = vec![Field::new("object", Value::Text(Cow::Owned(object)))];
    let named = [("kind", kind), ("namespace", namespace), ("name", name)];
    fields.extend(
        named
            .into_iter()
            .filter_map(|(k, v)| Some(Field::new(k, v?))),
    );
    fields.extend(others);
    for (key, value) in [
        ("type", kind_of_event),
        ("reason", reason),
        ("message", message),
    ] {
        fields.push(Field::new(key, Value::Text(Cow::Borrowed(value))));
    }
    Some(fields)
}
