//! logrus' key=value text: `time="…" level=info msg="…" arn="…" client="127.0.0.1:42858"`.

use std::borrow::Cow;

use crate::{
    decode::component::{
        Parsed, When,
        fields::{Field, Value, quoted_end},
        json::severity_of,
    },
    event::{component::EntryFormat, time::Micros},
};

/// True if a line begins as an entry of logrus does: with its time or its level, and a message.
pub(super) fn is_start(line: &[u8]) -> bool {
    let begins = [&b"time=\""[..], b"time=2", b"level=", b"ts=2", b"t=2"];
    begins.iter().any(|b| line.starts_with(b))
        && memchr::memmem::find(&line[..line.len().min(256)], b"level=").is_some()
}

/// Parses an entry.
pub(super) fn parse(text: &str) -> Option<Parsed<'_>> {
    if !is_start(text.as_bytes()) {
        return None;
    }
    let mut parsed = Parsed::new(EntryFormat::Logfmt, Cow::Borrowed(text));
    let mut message = None;
    let mut rest = text;
    while let Some((key, value, behind)) = pair(rest) {
        rest = behind;
        let field = Field::new(key, value);
        let content = field.value.text();
        let word = content.as_deref().unwrap_or_default();
        match key {
            "time" | "ts" | "t" if parsed.when == When::Unknown => match Micros::parse(word) {
                Some(time) => parsed.when = When::At(time),
                None => parsed.fields.push(field),
            },
            "level" | "lvl" if parsed.severity.is_none() => match severity_of(word) {
                Some(severity) => parsed.severity = Some(severity),
                None => parsed.fields.push(field),
            },
            "msg" if message.is_none() => message = content,
            "auditID" | "audit-ID" => {
                parsed.audit_id = content;
                parsed.fields.push(field);
            }
            _ => parsed.fields.push(field),
        }
    }
    let rest = rest.trim_end();
    parsed.message = match message {
        Some(message) if rest.is_empty() => message,
        Some(message) => Cow::Owned(format!("{message}{rest}")),
        None => Cow::Borrowed(text),
    };
    Some(parsed)
}

fn pair(text: &str) -> Option<(&str, Value<'_>, &str)> {
    let text = text.trim_start_matches(' ');
    let end = text
        .bytes()
        .position(|b| matches!(b, b'=' | b' ' | b'"' | b'\n'))?;
    if end == 0 || text.as_bytes()[end] != b'=' {
        return None;
    }
    let (key, behind) = (&text[..end], &text[end + 1..]);
    if let Some(quoted) = behind.strip_prefix('"') {
        let end = quoted_end(quoted)?;
        return Some((key, Value::Quoted(&quoted[..end]), &quoted[end + 1..]));
    }
    let end = behind.find([' ', '\n', '\r']).unwrap_or(behind.len());
    Some((
        key,
        Value::Text(Cow::Borrowed(&behind[..end])),
        &behind[end..],
    ))
}
