//! Logs of components: lines of text into [`ComponentEntry`] rows.
//!
//! Lines come from files as they stand ([`decode_text_chunk`]), out of the wrappers of a node
//! ([`RuntimeDecoder`]) or of a cloud, as [`LogLine`]s, and are joined to entries ([`EntryJoiner`]).
//! What a line cannot be parsed as stays in its message; `record` is the exact text in any case.
//!
//! An entry is a contiguous run of its writer's lines: a JSON or logfmt line in the middle of klog
//! text stands for itself, and text without a header behind it begins an entry of its own. klog writes
//! an entry with one system call, so nothing of another writer stands inside.

pub mod context;
pub mod joiner;
pub mod runtime;

mod clock;
mod fields;
mod json;
mod klog;
mod logfmt;
mod objects;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use self::{
    context::{LogContext, component_of_stream},
    joiner::{Decoded, EntryJoiner, decode_text_chunk, decode_wrapped_chunk},
    runtime::RuntimeDecoder,
};
use crate::{
    decode::{
        Record, Shape,
        component::{
            clock::{Dated, Stamp},
            fields::Field,
            runtime::Cri,
        },
        frame::skip_bom,
        legacy,
    },
    event::{
        audit::Text,
        component::{EntryFormat, LineOrigin, LogLine, Severity},
        time::Micros,
    },
};

/// How the lines of an object are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// Not at all.
    Plain,
    /// By the container runtime interface.
    Cri,
    /// By Docker's json-file driver.
    Docker,
    /// By the journal's JSON export.
    Journald,
}

/// True if the beginning of an object looks like the log of a component.
pub fn is_component_text(head: &[u8]) -> bool {
    text_kind(head).is_some()
}

/// Lines that are looked at to tell what an object holds.
const SNIFF_LINES: usize = 500;

/// JSON lines of these that are parsed.
const SNIFF_JSON_LINES: usize = 3;

/// How the log of a component that an object begins with is wrapped; `None` if it is none.
///
/// The first line that is known decides. Continuations, which a rotated file may begin with, and
/// audit events, which may be mixed into the log of a container, are looked past.
pub fn text_kind(head: &[u8]) -> Option<TextKind> {
    let mut json_lines = 0;
    let head = skip_bom(head);
    let whole = memchr::memchr(b'\n', head).is_some();
    for line in head.split(|b| *b == b'\n').take(SNIFF_LINES) {
        let line = line.trim_ascii_end();
        match line.first() {
            Some(b'{') if json_lines < SNIFF_JSON_LINES => {
                json_lines += 1;
                if let Some(kind) = json_kind(line, whole) {
                    return Some(kind);
                }
            }
            Some(b'I' | b'W' | b'E' | b'F') if klog::stamp(line).is_some() => {
                return Some(TextKind::Plain);
            }
            Some(b't' | b'l') if logfmt::is_start(line) => return Some(TextKind::Plain),
            Some(b'0'..=b'9') if Cri::parse(line).is_some() => return Some(TextKind::Cri),
            _ => {}
        }
    }
    None
}

/// What a JSON line is, by its first member if it is cut or plainly an audit event.
fn json_kind(line: &[u8], whole: bool) -> Option<TextKind> {
    let compact = |a: &[u8], b: &[u8]| line.starts_with(a) || line.starts_with(b);
    if compact(b"{\"kind\":", b"{\"kind\": ") {
        return None;
    }
    let text = str::from_utf8(line).ok();
    let Some(shape) = text.and_then(|t| Shape::of(t).ok()) else {
        let docker = compact(b"{\"log\":\"", b"{\"log\": \"");
        return match whole {
            _ if docker => Some(TextKind::Docker),
            _ if line.starts_with(b"{\"ts\":1") => Some(TextKind::Plain),
            _ => None,
        };
    };
    if runtime::is_docker(&shape) {
        Some(TextKind::Docker)
    } else if runtime::is_journal(&shape) {
        Some(TextKind::Journald)
    } else {
        json::format_of(&shape).map(|_| TextKind::Plain)
    }
}

/// What a line of a component begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// A header of klog, or the time of another program.
    Header,
    /// An entry that is one line: JSON, logfmt.
    Single,
    /// Text that surely continues an entry.
    Indented,
    /// Nothing.
    Blank,
    /// Any other text.
    Text,
}

/// What a line, out of its wrapper, begins with.
fn begins(line: &[u8]) -> Begins {
    match line.first() {
        Some(b'I' | b'W' | b'E' | b'F') if klog::stamp(line).is_some() => Begins::Header,
        Some(b'{') if line.starts_with(b"{\"") && line.trim_ascii_end().ends_with(b"}") => {
            Begins::Single
        }
        Some(b't' | b'l') if logfmt::is_start(line) => Begins::Single,
        Some(b'0'..=b'9') if clock::dated(line).is_some() && !is_legacy(line) => Begins::Header,
        Some(b' ' | b'\t') if line.trim_ascii().is_empty() => Begins::Blank,
        Some(b' ' | b'\t') => Begins::Indented,
        Some(b'T') if line.starts_with(b"Trace[") => Begins::Indented,
        Some(b'\r') if line.len() == 1 => Begins::Blank,
        Some(0xef) if skip_bom(line).len() < line.len() => begins(skip_bom(line)),
        None => Begins::Blank,
        _ => Begins::Text,
    }
}

fn is_legacy(line: &[u8]) -> bool {
    let head = &line[..line.len().min(64)];
    memchr::memmem::find(head, b" AUDIT: ").is_some()
}

/// True if a raw line, plain or in a wrapper, begins an entry, as far as a short look tells. Where the
/// line before may be a part of a line, look with [`last_entry_start`].
pub fn starts_entry(line: &[u8]) -> bool {
    const LOOK: usize = 4096;
    let line = skip_bom(line);
    if let Some(cri) = Cri::parse(line) {
        return starts_plain(cri.text) || cri.text.starts_with(b"{");
    }
    if line.first() != Some(&b'{') {
        return starts_plain(line);
    }
    let head = &line[..line.len().min(LOOK)];
    for key in [
        &b"\"log\":"[..],
        b"\"MESSAGE\":",
        b"\"log_s\":",
        b"\"LogMessage\":",
        b"\"message\":",
    ] {
        if let Some(at) = memchr::memmem::find(head, key) {
            let value = head[at + key.len()..].trim_ascii_start();
            let Some(text) = value.strip_prefix(b"\"") else {
                return true;
            };
            let is_json = text.starts_with(b"{");
            return is_json || starts_plain(text) || text.starts_with(b"time=\\\"");
        }
    }
    true
}

fn starts_plain(line: &[u8]) -> bool {
    matches!(begins(line), Begins::Header | Begins::Single)
}

/// Lines that are looked back at to find parts of lines.
const PARTS_LOOK_BACK: usize = 64;

/// The last place in a buffer of whole lines where an entry begins, so that the buffer may be cut
/// there. `None` if there is none behind its first byte.
pub fn last_entry_start(buffer: &[u8]) -> Option<usize> {
    let mut end = buffer.strip_suffix(b"\n").unwrap_or(buffer).len();
    loop {
        let start = memchr::memrchr(b'\n', &buffer[..end])? + 1;
        if starts_entry(&buffer[start..end]) && !is_inside_parts(&buffer[..start]) {
            return Some(start);
        }
        end = start - 1;
    }
}

/// True if the last line of either stream is a part of a line.
fn is_inside_parts(before: &[u8]) -> bool {
    let mut seen = [false; 2];
    let mut end = before.len().saturating_sub(1);
    for _ in 0..PARTS_LOOK_BACK {
        let start = memchr::memrchr(b'\n', &before[..end]).map_or(0, |i| i + 1);
        let line = &before[start..end];
        match Cri::parse(line) {
            Some(cri) => {
                let stream = &mut seen[usize::from(cri.stream == "stderr")];
                if !*stream && cri.is_part() {
                    return true;
                }
                *stream = true;
            }
            // A part of Docker's has no newline at the end of its text.
            None if line.starts_with(b"{\"log\"") => {
                let Some(at) = memchr::memmem::rfind(line, b"\"stream\"") else {
                    return false;
                };
                let log = line[..at]
                    .trim_ascii_end()
                    .strip_suffix(b",")
                    .unwrap_or(&line[..at]);
                return !log.ends_with(b"\\n\"");
            }
            None => return false,
        }
        if start == 0 || seen == [true; 2] {
            return false;
        }
        end = start - 1;
    }
    false
}

/// What an entry tells of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Nothing.
    Unknown,
    /// All.
    At(Micros),
    /// All but year and zone.
    Stamp(Stamp),
    /// All but the zone.
    Local(i64),
}

/// The text of an entry, parsed.
#[derive(Debug)]
struct Parsed<'a> {
    format: EntryFormat,
    when: When,
    severity: Option<Severity>,
    caller_file: Option<Text<'a>>,
    caller_line: Option<i32>,
    message: Text<'a>,
    fields: Vec<Field<'a>>,
    audit_id: Option<Text<'a>>,
    logger: Option<Text<'a>>,
    verbosity: Option<i32>,
    thread: Option<i64>,
}

impl<'a> Parsed<'a> {
    fn new(format: EntryFormat, message: Text<'a>) -> Self {
        Self {
            format,
            when: When::Unknown,
            severity: None,
            caller_file: None,
            caller_line: None,
            message,
            fields: Vec::new(),
            audit_id: None,
            logger: None,
            verbosity: None,
            thread: None,
        }
    }

    /// Parses an entry of any format; text that is none stays text.
    fn of(record: &'a str) -> Self {
        let text = record.strip_prefix('\u{feff}').unwrap_or(record);
        let known = match text.as_bytes().first() {
            Some(b'I' | b'W' | b'E' | b'F') => klog::parse(text),
            Some(b'{') => json::parse(text),
            Some(b't' | b'l') => logfmt::parse(text),
            _ => None,
        };
        let mut parsed = known.unwrap_or_else(|| Self::of_text(text));
        if parsed.message == "Event occurred" {
            objects::name_event(&mut parsed.fields);
        }
        parsed
    }

    fn of_text(text: &'a str) -> Self {
        let mut parsed = Self::new(EntryFormat::Text, Cow::Borrowed(text));
        let mut rest = text;
        if let Some((time, length)) = clock::dated(text.as_bytes()) {
            parsed.when = match time {
                Dated::Whole(time) => When::At(time),
                Dated::Local(local) => When::Local(local),
            };
            rest = text.get(length..).unwrap_or_default();
        }
        parsed.severity = text_severity(rest);
        parsed
    }
}

/// The severity that the first word of a text names: `[ERROR] plugin/errors: …`, `INFO\t…`, a panic.
fn text_severity(text: &str) -> Option<Severity> {
    if text.starts_with("panic: ") || text.starts_with("fatal error: ") {
        return Some(Severity::Fatal);
    }
    let word = text.trim_start_matches([' ', '\t', '[']);
    let is_marked = word.len() < text.len();
    let end = word.find(|c: char| !c.is_ascii_alphabetic())?;
    let is_upper = word[..end].bytes().all(|b| b.is_ascii_uppercase());
    (end > 3 && is_marked && is_upper).then(|| json::severity_of(&word[..end]))?
}

/// Decodes an object that is a line of Docker or the journal, or an entry in JSON, by itself. False
/// if it is neither.
pub(super) fn decode_object(
    shape: &Shape<'_>,
    text: &str,
    sink: &mut dyn FnMut(Record<'_>),
) -> bool {
    runtime::decode_object(shape, text, sink)
}

/// Decodes a line of text that begins an entry. False if it does not.
pub(super) fn decode_line(text: &str, sink: &mut dyn FnMut(Record<'_>)) -> bool {
    if begins(text.as_bytes()) != Begins::Header && !logfmt::is_start(text.as_bytes())
        || legacy::is_legacy(text)
    {
        return false;
    }
    sink(Record::Line(Box::new(LogLine {
        text: Cow::Borrowed(text),
        origin: LineOrigin::default(),
        offset: 0,
        record_bytes: text.len(),
    })));
    true
}
