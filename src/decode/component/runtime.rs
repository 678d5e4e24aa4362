//! Lines in the wrappers of a node: the log files of container runtimes, Docker's json-file driver,
//! exports of the journal.
//!
//! What a wrapper holds and no column takes stays in the envelope, a JSON object:
//! - CRI: `tag`, unless it is `F`; `parts`, if the line came in parts: `[bytes, time of the next part]`
//!   for each part but the last. The time of the line is that of its first part.
//! - Docker: every member but `log`, `stream` and `time`; `parts` as in CRI. `partial` marks a part
//!   that could not be joined, and `newline` a whole line at the end of which the newline was missing.
//! - Journal: every member but `MESSAGE` and `__REALTIME_TIMESTAMP`.

use std::borrow::Cow;

use crate::{
    decode::{
        AuditRecord, Envelope, Format, Record, Shape, audit,
        component::{
            TextKind,
            context::{LogContext, component_of_unit},
            fields::{Field, Value, write},
        },
        json_text, legacy,
        reject::{Reason, Reject},
    },
    event::{
        audit::Text,
        component::{LineOrigin, LogLine, Wrapper},
        time::Micros,
    },
};

/// A line in parts may be this long, as any frame may.
const LINE_BYTES_MAX: usize = crate::decode::frame::FRAME_BYTES_MAX;

/// The parts of one line of CRI.
pub(super) struct Cri<'a> {
    pub(super) time: &'a str,
    pub(super) stream: &'a str,
    pub(super) tag: &'a str,
    pub(super) text: &'a [u8],
}

impl<'a> Cri<'a> {
    /// Splits `<RFC3339Nano> <stdout|stderr> <P|F>[:tags] <text>`.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let head = &line[..line.len().min(128)];
        if !head.first()?.is_ascii_digit() || *head.get(10)? != b'T' {
            return None;
        }
        let time_end = memchr::memchr(b' ', head)?;
        let stream = match head.get(time_end + 1..time_end + 8)? {
            b"stdout " => "stdout",
            b"stderr " => "stderr",
            _ => return None,
        };
        let rest = &line[time_end + 8..];
        let head = &rest[..rest.len().min(64)];
        let tag_end =
            memchr::memchr(b' ', head).or((rest.len() == head.len()).then_some(rest.len()))?;
        let tag = std::str::from_utf8(&rest[..tag_end]).ok()?;
        if !matches!(tag.split(':').next()?, "P" | "F") {
            return None;
        }
        Some(Self {
            time: std::str::from_utf8(&line[..time_end]).ok()?,
            stream,
            tag,
            text: rest.get(tag_end + 1..).unwrap_or_default(),
        })
    }

    pub(super) fn is_part(&self) -> bool {
        self.tag.starts_with('P')
    }
}

/// A line of which parts came, and not the last.
#[derive(Debug)]
struct Parts {
    stream: String,
    time: String,
    bytes: Vec<u8>,
    offset: u64,
    record_bytes: usize,
    /// Length of each part, and time of the one behind it.
    lengths: Vec<(usize, String)>,
}

/// Takes lines out of wrappers. What a line holds comes out as [`Record::Line`], or as
/// [`Record::Audit`] if it is an audit event, with the offset of its first part.
#[derive(Debug)]
pub struct RuntimeDecoder {
    kind: TextKind,
    context: LogContext,
    open: Vec<Parts>,
    /// The journal does not tell streams: its legacy lines behind [`IMPACTED`] are no audit events.
    after_impacted: bool,
}

impl RuntimeDecoder {
    /// A decoder for the lines of one object, or of a range of it.
    pub fn new(kind: TextKind, context: LogContext) -> Self {
        Self {
            kind,
            context,
            open: Vec::new(),
            after_impacted: false,
        }
    }

    /// Takes one line, without its newline.
    pub fn push(&mut self, line: &[u8], offset: u64, sink: &mut dyn FnMut(Record<'_>, u64)) {
        if line.is_empty() {
            return;
        }
        match self.kind {
            TextKind::Cri => self.push_cri(line, offset, sink),
            TextKind::Docker | TextKind::Journald => {
                let parsed = std::str::from_utf8(line)
                    .ok()
                    .and_then(|t| Some((t, Shape::of(t).ok()?)));
                match parsed {
                    Some((_, shape)) if is_docker(&shape) => {
                        self.push_docker(&shape, line, offset, sink)
                    }
                    Some((text, shape)) if is_journal(&shape) => {
                        let mut item = journal_line(&shape, text.len(), &self.context);
                        if let Ok(item) = &mut item {
                            self.after_impacted = item.text == IMPACTED
                                || self.after_impacted && legacy::is_legacy(&item.text);
                            if self.after_impacted {
                                item.legacy_line = LegacyLine::Impacted;
                            }
                        }
                        deliver(item, offset, line, sink);
                    }
                    _ => self.push_plain(line, offset, sink),
                }
            }
            TextKind::Plain => self.push_plain(line, offset, sink),
        }
    }

    /// Hands out lines of which the last part did not come.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Record<'_>, u64)) {
        for parts in std::mem::take(&mut self.open) {
            self.close(parts, "P", None, sink);
        }
    }

    fn push_plain(&self, line: &[u8], offset: u64, sink: &mut dyn FnMut(Record<'_>, u64)) {
        match std::str::from_utf8(line) {
            Ok(text) => {
                let mut origin = self.context.origin.clone();
                origin.wrapper = Wrapper::Plain;
                let line = LogLine {
                    text: Cow::Borrowed(text),
                    origin,
                    offset,
                    record_bytes: line.len(),
                };
                sink(Record::Line(Box::new(line)), offset);
            }
            Err(e) => sink(
                Record::Rejected(Reject::new(Reason::InvalidUtf8, e), line),
                offset,
            ),
        }
    }

    fn push_cri(&mut self, line: &[u8], offset: u64, sink: &mut dyn FnMut(Record<'_>, u64)) {
        // Windows writes the same, with a carriage return inside the text.
        let Some(cri) = Cri::parse(line) else {
            return self.push_plain(line, offset, sink);
        };
        let at = self.open.iter().position(|p| p.stream == cri.stream);
        if cri.is_part() || at.is_some() {
            let part = Part {
                stream: cri.stream,
                time: cri.time,
                text: cri.text,
                offset,
                record_bytes: line.len() + 1,
            };
            let parts = self.add(at, &part);
            if !cri.is_part() || parts.bytes.len() > LINE_BYTES_MAX {
                let parts = self.open.swap_remove(at.unwrap_or(self.open.len() - 1));
                self.close(parts, cri.tag, None, sink);
            }
            return;
        }
        let envelope =
            (cri.tag != "F").then(|| [Field::new("tag", Value::Text(Cow::Borrowed(cri.tag)))]);
        let text = match std::str::from_utf8(cri.text) {
            Ok(text) => text,
            Err(e) => {
                return sink(
                    Record::Rejected(Reject::new(Reason::InvalidUtf8, e), line),
                    offset,
                );
            }
        };
        let wrapped = Wrapped {
            wrapper: Wrapper::Cri,
            text: Cow::Borrowed(text),
            time: cri.time,
            stream: cri.stream,
            envelope: envelope.as_ref().and_then(|e| write(e)),
            record_bytes: line.len(),
        };
        deliver(Ok(wrapped.into_item(&self.context)), offset, line, sink);
    }

    fn push_docker(
        &mut self,
        shape: &Shape<'_>,
        line: &[u8],
        offset: u64,
        sink: &mut dyn FnMut(Record<'_>, u64),
    ) {
        let (Some(text), Some(stream), Some(time)) =
            (shape.text("log"), shape.text("stream"), shape.text("time"))
        else {
            let item = docker_line(shape, line.len(), &self.context);
            return deliver(item, offset, line, sink);
        };
        let at = self.open.iter().position(|p| p.stream == stream);
        let is_part = !text.ends_with('\n');
        if !is_part && at.is_none() {
            let item = docker_line(shape, line.len(), &self.context);
            return deliver(item, offset, line, sink);
        }
        let whole = text.strip_suffix('\n').unwrap_or(&text);
        let part = Part {
            stream: &stream,
            time: &time,
            text: whole.as_bytes(),
            offset,
            record_bytes: line.len() + 1,
        };
        let parts = self.add(at, &part);
        if !is_part || parts.bytes.len() > LINE_BYTES_MAX {
            let parts = self.open.swap_remove(at.unwrap_or(self.open.len() - 1));
            let tag = if is_part { "P" } else { "F" };
            self.close(parts, tag, docker_rest(shape), sink);
        }
    }

    fn add(&mut self, at: Option<usize>, part: &Part<'_>) -> &Parts {
        let at = at.unwrap_or_else(|| {
            self.open.push(Parts {
                stream: part.stream.to_owned(),
                time: part.time.to_owned(),
                bytes: Vec::with_capacity(2 * part.text.len()),
                offset: part.offset,
                record_bytes: 0,
                lengths: Vec::new(),
            });
            self.open.len() - 1
        });
        let parts = &mut self.open[at];
        if let Some(last) = parts.lengths.last_mut() {
            part.time.clone_into(&mut last.1);
        }
        parts.lengths.push((part.text.len(), String::new()));
        parts.bytes.extend_from_slice(part.text);
        parts.record_bytes += part.record_bytes;
        parts
    }

    /// A line whose parts are together.
    fn close(
        &self,
        parts: Parts,
        tag: &str,
        rest: Option<Vec<(String, String)>>,
        sink: &mut dyn FnMut(Record<'_>, u64),
    ) {
        let text = match std::str::from_utf8(&parts.bytes) {
            Ok(text) => text,
            Err(e) => {
                let reject = Reject::new(Reason::InvalidUtf8, e);
                return sink(Record::Rejected(reject, &parts.bytes), parts.offset);
            }
        };
        let joined = parts.lengths.len().saturating_sub(1);
        let lengths = serde_json::Value::from(
            parts.lengths[..joined]
                .iter()
                .map(|(n, t)| serde_json::json!([n, t]))
                .collect::<Vec<_>>(),
        )
        .to_string();
        let mut fields = Vec::new();
        if tag != "F" {
            fields.push(Field::new("tag", Value::Text(Cow::Borrowed(tag))));
        }
        if joined > 0 {
            fields.push(Field::new("parts", Value::Json(&lengths)));
        }
        let rest = rest.unwrap_or_default();
        fields.extend(
            rest.iter()
                .map(|(k, v)| Field::new(k.as_str(), Value::Json(v))),
        );
        let wrapped = Wrapped {
            wrapper: if self.kind == TextKind::Docker {
                Wrapper::Docker
            } else {
                Wrapper::Cri
            },
            text: Cow::Borrowed(text),
            time: &parts.time,
            stream: &parts.stream,
            envelope: write(&fields),
            record_bytes: parts.record_bytes.saturating_sub(1),
        };
        deliver(
            Ok(wrapped.into_item(&self.context)),
            parts.offset,
            &parts.bytes,
            sink,
        );
    }
}

struct Part<'a> {
    stream: &'a str,
    time: &'a str,
    text: &'a [u8],
    offset: u64,
    record_bytes: usize,
}

/// One whole line of CRI or Docker.
struct Wrapped<'a> {
    wrapper: Wrapper,
    text: Text<'a>,
    time: &'a str,
    stream: &'a str,
    envelope: Option<String>,
    record_bytes: usize,
}

impl<'a> Wrapped<'a> {
    fn into_item(self, context: &'a LogContext) -> Item<'a> {
        let mut origin = context.origin.borrowed();
        origin.wrapper = self.wrapper;
        origin.stream = Some(Cow::Borrowed(self.stream));
        origin.time = Micros::parse(self.time);
        origin.time_text = Some(Cow::Borrowed(self.time));
        origin.envelope = self.envelope;
        Item {
            text: self.text,
            origin,
            record_bytes: self.record_bytes,
            legacy_line: LegacyLine::on(Some(self.stream)),
        }
    }
}

/// A line out of its wrapper, before it is looked at.
struct Item<'a> {
    text: Text<'a>,
    origin: LineOrigin<'a>,
    record_bytes: usize,
    legacy_line: LegacyLine,
}

/// What a legacy audit line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LegacyLine {
    /// An audit event.
    Event,
    /// A line of kube-apiserver's own log, about an event that could not be written.
    Impacted,
}

impl LegacyLine {
    /// kube-apiserver logs to stderr, its audit log goes to stdout.
    fn on(stream: Option<&str>) -> Self {
        match stream {
            Some("stderr") => Self::Impacted,
            _ => Self::Event,
        }
    }
}

/// The line after which the log tells of events that could not be written.
const IMPACTED: &str = "Impacted events:";

/// True if a text may be an audit event.
fn may_be_audit(text: &str, legacy_line: LegacyLine) -> bool {
    if text.starts_with('{') {
        text.starts_with("{\"kind\":\"Event\"")
            && memchr::memmem::find(text.as_bytes(), b"\"auditID\"").is_some()
    } else {
        legacy_line == LegacyLine::Event && legacy::is_legacy(text)
    }
}

fn deliver(
    item: Result<Item<'_>, Reject>,
    offset: u64,
    line: &[u8],
    sink: &mut dyn FnMut(Record<'_>, u64),
) {
    let item = match item {
        Ok(item) => item,
        Err(reject) => return sink(Record::Rejected(reject, line), offset),
    };
    let text = &*item.text;
    if may_be_audit(text, item.legacy_line) {
        let parsed = if text.starts_with('{') {
            audit::parse(text)
        } else {
            legacy::parse(text)
        };
        if let Ok(event) = parsed {
            let envelope = audit_envelope(&item.origin);
            let record = AuditRecord {
                event,
                format: Format::ContainerLog,
                envelope,
            };
            return sink(Record::Audit(Box::new(record), item.record_bytes), offset);
        }
    }
    let line = LogLine {
        text: item.text,
        origin: item.origin,
        offset,
        record_bytes: item.record_bytes,
    };
    sink(Record::Line(Box::new(line)), offset);
}

/// The wrapper of an audit event: `wrapper` and `stream` stand first, then the line's envelope.
fn audit_envelope<'a>(origin: &LineOrigin<'a>) -> Envelope<'a> {
    let mut fields = vec![Field::new(
        "wrapper",
        Value::Text(Cow::Borrowed(origin.wrapper.as_str())),
    )];
    if let Some(stream) = &origin.stream {
        fields.push(Field::new("stream", Value::Text(Cow::Borrowed(stream))));
    }
    let rest = origin.envelope.as_deref().and_then(|e| Shape::of(e).ok());
    if let Some(rest) = rest {
        fields.extend(
            rest.fields
                .into_iter()
                .map(|(k, v)| Field::new(k, Value::Json(v.get()))),
        );
    }
    Envelope {
        cluster: origin.cluster.clone(),
        api_server: origin.pod.clone(),
        json: write(&fields),
        time: origin.time_text.clone(),
    }
}

/// True for an object of Docker's json-file driver.
pub(super) fn is_docker(shape: &Shape<'_>) -> bool {
    let is_text = |name: &str| shape.get(name).is_some_and(|v| v.get().starts_with('"'));
    is_text("log")
        && (is_text("time") || is_text("stream"))
        && shape.get("auditID").is_none()
        && shape.fields.len() < 6
}

/// True for an entry of the journal.
pub(super) fn is_journal(shape: &Shape<'_>) -> bool {
    shape.get("MESSAGE").is_some() && shape.get("__REALTIME_TIMESTAMP").is_some()
}

fn docker_rest(shape: &Shape<'_>) -> Option<Vec<(String, String)>> {
    let rest = shape
        .fields
        .iter()
        .filter(|(k, _)| !matches!(&**k, "log" | "stream" | "time"))
        .map(|(k, v)| (k.to_string(), v.get().to_owned()));
    Some(rest.collect())
}

fn docker_line<'a>(
    shape: &Shape<'a>,
    bytes: usize,
    context: &'a LogContext,
) -> Result<Item<'a>, Reject> {
    let missing = || Reject::new(Reason::InvalidJson, "`log` is no valid string");
    let text = shape.text("log").ok_or_else(missing)?;
    let (text, is_whole) = match text {
        Cow::Borrowed(t) => (
            Cow::Borrowed(t.strip_suffix('\n').unwrap_or(t)),
            t.ends_with('\n'),
        ),
        Cow::Owned(mut t) => {
            let is_whole = t.ends_with('\n');
            t.truncate(t.len() - usize::from(is_whole));
            (Cow::Owned(t), is_whole)
        }
    };
    let mut origin = context.origin.borrowed();
    origin.wrapper = Wrapper::Docker;
    origin.stream = shape.text("stream");
    origin.time_text = shape.text("time");
    origin.time = origin.time_text.as_deref().and_then(Micros::parse);
    let mut fields: Vec<Field<'_>> = shape
        .fields
        .iter()
        .filter(|(k, _)| !matches!(&**k, "log" | "stream" | "time"))
        .map(|(k, v)| Field::new(&**k, Value::Json(v.get())))
        .collect();
    if !is_whole {
        fields.push(Field::new("partial", Value::Json("true")));
    }
    origin.envelope = write(&fields);
    Ok(Item {
        text,
        legacy_line: LegacyLine::on(origin.stream.as_deref()),
        origin,
        record_bytes: bytes,
    })
}

fn journal_line<'a>(
    shape: &Shape<'a>,
    bytes: usize,
    context: &'a LogContext,
) -> Result<Item<'a>, Reject> {
    let invalid = |what: &str| Reject::new(Reason::InvalidUtf8, format!("MESSAGE: {what}"));
    let message = shape.get("MESSAGE").map(|v| v.get()).unwrap_or_default();
    let mut is_bytes = false;
    let text = match message.as_bytes().first() {
        Some(b'"') => json_text(message).ok_or_else(|| invalid("no valid string"))?,
        Some(b'[') => {
            is_bytes = true;
            let bytes: Vec<u8> =
                serde_json::from_str(message).map_err(|e| Reject::from_json(&e))?;
            Cow::Owned(String::from_utf8(bytes).map_err(|e| invalid(&e.to_string()))?)
        }
        // Messages over journalctl's limit come as null.
        _ => Cow::Borrowed(""),
    };
    let mut origin = context.origin.borrowed();
    origin.wrapper = Wrapper::Journald;
    origin.time_text = shape.text("__REALTIME_TIMESTAMP");
    origin.time = origin
        .time_text
        .as_deref()
        .and_then(|t| t.parse().ok())
        .map(Micros);
    origin.node = shape.text("_HOSTNAME").or(origin.node);
    let unit = shape
        .text("_SYSTEMD_UNIT")
        .filter(|u| u.ends_with(".service"));
    let name = shape.text("SYSLOG_IDENTIFIER").or(unit);
    origin.component = name
        .map(|n| Cow::Owned(component_of_unit(&n).to_owned()))
        .or(origin.component);
    let rest: Vec<Field<'_>> = shape
        .fields
        .iter()
        .filter(|(k, v)| match &**k {
            // What is no text is known by its place in the envelope.
            "MESSAGE" => is_bytes || !v.get().starts_with('"'),
            "__REALTIME_TIMESTAMP" => origin.time_text.is_none(),
            _ => true,
        })
        .map(|(k, v)| match &**k {
            "MESSAGE" if is_bytes => Field::new("MESSAGE", Value::Json("[]")),
            k => Field::new(k, Value::Json(v.get())),
        })
        .collect();
    origin.envelope = write(&rest);
    Ok(Item {
        text,
        origin,
        record_bytes: bytes,
        legacy_line: LegacyLine::Event,
    })
}

/// Decodes an object that is one line in a wrapper, or one entry of a component in JSON, by itself:
/// a part of a line is not joined. False if the object is neither.
pub(super) fn decode_object(
    shape: &Shape<'_>,
    text: &str,
    sink: &mut dyn FnMut(Record<'_>),
) -> bool {
    let context = LogContext::default();
    let item = if is_docker(shape) {
        docker_line(shape, text.len(), &context)
    } else if is_journal(shape) {
        journal_line(shape, text.len(), &context)
    } else if super::json::format_of(shape).is_some() {
        let origin = LineOrigin::default();
        Ok(Item {
            text: Cow::Borrowed(text),
            origin,
            record_bytes: text.len(),
            legacy_line: LegacyLine::Event,
        })
    } else {
        return false;
    };
    deliver(item, 0, text.as_bytes(), &mut |record, _| sink(record));
    true
}
