//! Entries that are JSON objects: klog with `--logging-format=json`, and zap (etcd, controllers).
//!
//! Records of klog have no level: `v` stands in what was written by Info, and in nothing else (in
//! the recordings, each record without `v` is an `E` line of the text format).

use std::borrow::Cow;

use crate::{
    decode::{
        Shape,
        component::{
            Parsed, When,
            clock::parse_epoch,
            fields::{Field, Value},
            klog::split_caller,
        },
        json_text,
    },
    event::{
        component::{EntryFormat, Severity},
        time::Micros,
    },
};

/// The level names of zap, logrus and their kin.
pub(super) fn severity_of(level: &str) -> Option<Severity> {
    let is = |names: &[&str]| names.iter().any(|n| level.eq_ignore_ascii_case(n));
    if is(&["info", "notice"]) {
        Some(Severity::Info)
    } else if is(&["warn", "warning"]) {
        Some(Severity::Warning)
    } else if is(&["error", "err"]) {
        Some(Severity::Error)
    } else if is(&["debug", "trace"]) {
        Some(Severity::Debug)
    } else if is(&["fatal", "panic", "dpanic", "critical"]) {
        Some(Severity::Fatal)
    } else {
        None
    }
}

/// How an object is written, if it is an entry.
pub(super) fn format_of(shape: &Shape<'_>) -> Option<EntryFormat> {
    let has = |name: &str| shape.get(name).is_some();
    let is_number = |name: &str| {
        shape
            .get(name)
            .is_some_and(|v| v.get().starts_with(|c: char| c.is_ascii_digit()))
    };
    if has("auditID") || !has("msg") {
        None
    } else if has("level") && (has("ts") || has("time") || has("timestamp")) {
        Some(EntryFormat::ZapJson)
    } else if is_number("ts") {
        Some(EntryFormat::KlogJson)
    } else {
        None
    }
}

/// Parses an entry.
pub(super) fn parse(text: &str) -> Option<Parsed<'_>> {
    let shape = Shape::of(text).ok()?;
    let format = format_of(&shape)?;
    let mut parsed = Parsed::new(format, Cow::Borrowed(text));
    parsed.fields.reserve(shape.fields.len());
    let mut has_message = false;
    let mut has_verbosity = false;
    for (key, value) in shape.fields {
        let json = value.get();
        let word = || json_text(json);
        let is_zap = format == EntryFormat::ZapJson;
        let mut taken = false;
        match &*key {
            "ts" | "time" | "timestamp" if parsed.when == When::Unknown => {
                let time = match word() {
                    Some(text) => Micros::parse(&text).or_else(|| offset_without_colon(&text)),
                    None => parse_epoch(json),
                };
                if let Some(time) = time {
                    parsed.when = When::At(time);
                    taken = true;
                }
            }
            "level" if is_zap && parsed.severity.is_none() => {
                parsed.severity = word().and_then(|w| severity_of(&w));
                taken = parsed.severity.is_some();
            }
            "msg" if !has_message => {
                if let Some(message) = word() {
                    parsed.message = message;
                    has_message = true;
                    taken = true;
                }
            }
            "caller" if parsed.caller_file.is_none() => {
                if let Some(Cow::Borrowed(caller)) = word() {
                    let (file, line) = split_caller(caller);
                    parsed.caller_file = Some(Cow::Borrowed(file));
                    parsed.caller_line = line;
                    taken = true;
                }
            }
            "logger" if parsed.logger.is_none() => {
                parsed.logger = word();
                taken = parsed.logger.is_some();
            }
            "v" if !is_zap && !has_verbosity => {
                has_verbosity = true;
                parsed.verbosity = json.parse().ok();
                taken = parsed.verbosity.is_some();
            }
            "auditID" | "audit-ID" | "audit-id" => parsed.audit_id = word(),
            _ => {}
        }
        if !taken {
            parsed.fields.push(Field::new(key, Value::Json(json)));
        }
    }
    if format == EntryFormat::KlogJson {
        parsed.severity = Some(if has_verbosity {
            Severity::Info
        } else {
            Severity::Error
        });
    }
    Some(parsed)
}

/// zap's ISO 8601 encoder writes `2026-11-20T11:20:57.406+0000`.
fn offset_without_colon(text: &str) -> Option<Micros> {
    let at = text.len().checked_sub(5)?;
    let (time, offset) = (text.get(..at)?, text.get(at..)?);
    let (hours, minutes) = offset.split_at_checked(3)?;
    Micros::parse(&format!("{time}{hours}:{minutes}"))
}
