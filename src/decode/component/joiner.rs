//! Lines to entries.
//!
//! A plain file's text goes its own way: an entry is a slice of the chunk. Lines out of wrappers are
//! copied while their entry is open.

use std::borrow::Cow;

use crate::{
    decode::{
        AuditRecord, Envelope, Format, Record, Shape, audit,
        component::{
            Begins, Parsed, TextKind, When, begins, clock::Clock, context::LogContext, fields,
            objects::References, runtime::RuntimeDecoder,
        },
        frame::{Chunk, skip_bom},
        reject::{Reason, Reject},
    },
    event::{
        audit::Text,
        component::{ComponentEntry, LineOrigin, LogLine, Severity, TimeSource, Wrapper},
        time::Micros,
    },
};

/// An entry holds at most this much text, unless a single line is longer; the rest is another row.
/// The largest that a component writes, the dump of all goroutines, is cut at 64 MiB by Go.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Lines of an entry.
const ENTRY_LINES_MAX: i32 = 10_000;

/// Writers whose entries are open at a time; a node runs some hundred containers.
const OPEN_MAX: usize = 256;

/// Lines of one entry are written, and taken by the wrapper, within this time.
const PAUSE_MAX_MICROS: i64 = 5_000_000;

/// What comes out of a component's log.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are entries, and each lives for one call"
)]
pub enum Decoded<'a> {
    /// An entry.
    Entry(ComponentEntry<'a>),
    /// An audit event between the lines, or a line that could not be read, with its offset.
    Record(Record<'a>, u64),
}

/// The text of one entry with its origin.
struct RawEntry<'a> {
    text: &'a str,
    origin: LineOrigin<'a>,
    offset: u64,
    record_bytes: usize,
    lines: i32,
    line_times: Vec<Text<'a>>,
}

/// Times of one writer's entries.
#[derive(Debug, Clone, Copy, Default)]
struct Neighbours {
    before: Option<Micros>,
    after: Option<Micros>,
}

impl<'a> RawEntry<'a> {
    fn parse(self, clock: &mut Clock, near: &mut Neighbours) -> ComponentEntry<'a> {
        let parsed = Parsed::of(self.text);
        let (time, time_source) = time_of(parsed.when, clock, self.origin.time, *near);
        if time_source == TimeSource::Entry {
            clock.evidence = Some(time);
        }
        near.before = Some(time);
        let refs = References::of(&parsed.fields, parsed.logger.as_deref());
        let severity = parsed.severity.or_else(|| journal_priority(&self.origin));
        ComponentEntry {
            time,
            time_source,
            format: parsed.format,
            severity,
            caller_file: parsed.caller_file,
            caller_line: parsed.caller_line,
            message: parsed.message,
            fields: fields::write(&parsed.fields),
            node: refs.node,
            namespace: refs.namespace,
            pod: refs.pod,
            objects: refs.objects,
            audit_id: parsed.audit_id.filter(|id| !id.is_empty()),
            logger: parsed.logger,
            verbosity: parsed.verbosity,
            thread: parsed.thread,
            record: Cow::Borrowed(self.text),
            lines: self.lines,
            line_times: self.line_times,
            origin: self.origin,
            offset: self.offset,
            record_bytes: self.record_bytes,
        }
    }
}

fn time_of(
    when: When,
    clock: &mut Clock,
    wrapper: Option<Micros>,
    near: Neighbours,
) -> (Micros, TimeSource) {
    match when {
        When::At(time) => (time, TimeSource::Entry),
        When::Local(local) => (clock.local(local), TimeSource::Entry),
        When::Stamp(stamp) => clock.resolve(stamp, wrapper),
        When::Unknown => match (wrapper, near.before.or(near.after)) {
            (Some(time), _) => (time, TimeSource::Wrapper),
            (None, Some(time)) => (time, TimeSource::Neighbour),
            (None, None) => {
                let time = clock.object_time.or(clock.evidence).unwrap_or_default();
                (time, TimeSource::Object)
            }
        },
    }
}

/// The time that a line tells by itself.
fn own_time(line: &str, clock: &mut Clock, wrapper: Option<Micros>) -> Option<Micros> {
    let when = Parsed::of(line).when;
    (when != When::Unknown).then(|| time_of(when, clock, wrapper, Neighbours::default()).0)
}

/// The severity by the journal, for text that tells none.
fn journal_priority(origin: &LineOrigin<'_>) -> Option<Severity> {
    if origin.wrapper != Wrapper::Journald {
        return None;
    }
    let shape = Shape::of(origin.envelope.as_deref()?).ok()?;
    match &*shape.text("PRIORITY")? {
        "0" | "1" | "2" => Some(Severity::Fatal),
        "3" => Some(Severity::Error),
        "4" => Some(Severity::Warning),
        "5" | "6" => Some(Severity::Info),
        "7" => Some(Severity::Debug),
        _ => None,
    }
}

/// Decodes a chunk of a plain file. Lines that are no UTF-8 are handed out as rejections, lines that
/// are audit events as those.
pub fn decode_text_chunk(chunk: &Chunk, context: &LogContext, sink: &mut dyn FnMut(Decoded<'_>)) {
    let mut reader = TextReader {
        clock: Clock::new(context.zone, context.object_time, context.evidence),
        near: Neighbours::default(),
        context,
        open: None,
        sink,
    };
    let mut bytes = &chunk.bytes[..];
    let mut offset = chunk.offset;
    if offset == 0 {
        let text = skip_bom(bytes);
        offset += (bytes.len() - text.len()) as u64;
        bytes = text;
    }
    loop {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return reader.read(text, offset),
            Err(error) => error,
        };
        let valid = error.valid_up_to();
        let start = memchr::memrchr(b'\n', &bytes[..valid]).map_or(0, |i| i + 1);
        let end = memchr::memchr(b'\n', &bytes[valid..]).map_or(bytes.len(), |i| valid + i);
        reader.read(
            std::str::from_utf8(&bytes[..start]).unwrap_or_default(),
            offset,
        );
        let reject = Reject::new(Reason::InvalidUtf8, error);
        let record = Record::Rejected(reject, &bytes[start..end]);
        (reader.sink)(Decoded::Record(record, offset + start as u64));
        let next = bytes.len().min(end + 1);
        offset += next as u64;
        bytes = &bytes[next..];
    }
}

/// An entry in a plain text that is not at its end yet.
#[derive(Clone, Copy)]
struct OpenSlice {
    start: usize,
    end: usize,
    lines: i32,
}

struct TextReader<'c> {
    clock: Clock,
    near: Neighbours,
    context: &'c LogContext,
    open: Option<OpenSlice>,
    sink: &'c mut dyn FnMut(Decoded<'_>),
}

impl TextReader<'_> {
    fn read(&mut self, text: &str, offset: u64) {
        let bytes = text.as_bytes();
        let mut start = 0;
        let mut ends = memchr::memchr_iter(b'\n', bytes)
            .chain((!bytes.is_empty() && !bytes.ends_with(b"\n")).then_some(bytes.len()));
        for end in &mut ends {
            let line = &bytes[start..end];
            match begins(line) {
                Begins::Header => {
                    self.close(text, offset, Some(&text[start..end]));
                    self.open = Some(OpenSlice {
                        start,
                        end,
                        lines: 1,
                    });
                }
                Begins::Single => {
                    let line = &text[start..end];
                    self.close(text, offset, Some(line));
                    if !self.is_audit(line, offset + start as u64) {
                        self.open = Some(OpenSlice {
                            start,
                            end,
                            lines: 1,
                        });
                        self.close(text, offset, None);
                    }
                }
                Begins::Blank if self.open.is_none() => {}
                Begins::Blank | Begins::Indented | Begins::Text => {
                    let open = self
                        .open
                        .filter(|o| o.lines < ENTRY_LINES_MAX && end - o.start <= ENTRY_BYTES_MAX);
                    if let Some(open) = open {
                        self.open = Some(OpenSlice {
                            end,
                            lines: open.lines + 1,
                            ..open
                        });
                    } else {
                        self.close(text, offset, None);
                        self.open = Some(OpenSlice {
                            start,
                            end,
                            lines: 1,
                        });
                    }
                }
            }
            start = end + 1;
        }
        self.close(text, offset, None);
    }

    fn close(&mut self, text: &str, offset: u64, next: Option<&str>) {
        let Some(open) = self.open.take() else {
            return;
        };
        let record = &text[open.start..open.end];
        self.near.after = None;
        if let Some(next) = next.filter(|_| self.near.before.is_none()) {
            self.near.after = own_time(next, &mut self.clock, None);
        }
        let raw = RawEntry {
            text: record,
            origin: self.context.origin.borrowed(),
            offset: offset + open.start as u64,
            record_bytes: record.len(),
            lines: open.lines,
            line_times: Vec::new(),
        };
        let entry = raw.parse(&mut self.clock, &mut self.near);
        (self.sink)(Decoded::Entry(entry));
    }

    /// Hands out an audit event that stands between the lines of a log, as where a container writes
    /// both to its output.
    fn is_audit(&mut self, line: &str, offset: u64) -> bool {
        if !line.starts_with("{\"kind\":\"Event\"") {
            return false;
        }
        let Ok(event) = audit::parse(line) else {
            return false;
        };
        let envelope = Envelope {
            cluster: self.context.origin.cluster.clone(),
            ..Envelope::default()
        };
        let record = AuditRecord {
            event,
            format: Format::AuditJson,
            envelope,
        };
        let record = Record::Audit(Box::new(record), line.len());
        (self.sink)(Decoded::Record(record, offset));
        true
    }
}

/// Decodes a chunk of lines in a wrapper of a node. A line whose parts stand in two chunks, and an
/// entry whose lines do, comes out in two; see [`super::last_entry_start`].
pub fn decode_wrapped_chunk(
    chunk: &Chunk,
    kind: TextKind,
    context: &LogContext,
    sink: &mut dyn FnMut(Decoded<'_>),
) {
    if kind == TextKind::Plain {
        return decode_text_chunk(chunk, context, sink);
    }
    let mut decoder = RuntimeDecoder::new(kind, context.clone());
    let mut joiner = EntryJoiner::new(context);
    let mut take = |record: Record<'_>, offset: u64| match record {
        Record::Line(line) => joiner.push(*line, &mut |entry| sink(Decoded::Entry(entry))),
        other => sink(Decoded::Record(other, offset)),
    };
    for (offset, frame) in chunk.frames() {
        decoder.push(frame, offset, &mut take);
    }
    decoder.finish(&mut take);
    joiner.finish(&mut |entry| sink(Decoded::Entry(entry)));
}

/// Joins lines out of wrappers to entries, for each writer by itself.
#[derive(Debug)]
pub struct EntryJoiner {
    clock: Clock,
    writers: Vec<Writer>,
    /// Counts lines, to know which writer was silent for longest.
    turn: u64,
}

/// One writer, and its entry that is open.
#[derive(Debug)]
struct Writer {
    origin: LineOrigin<'static>,
    near: Neighbours,
    turn: u64,
    open: Option<OpenText>,
}

#[derive(Debug)]
struct OpenText {
    text: String,
    offset: u64,
    record_bytes: usize,
    lines: i32,
    line_times: Vec<Text<'static>>,
    /// Envelopes of lines after the first that differ from the first's: number of line, envelope.
    envelopes: Vec<(i32, String)>,
    /// Wrapper's time of the last line.
    last_time: Option<Micros>,
    takes: Takes,
}

/// Which lines without a header continue an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Any: it has a header, or is what a panic prints.
    Any,
    /// Only those that begin with a blank: it has no header either.
    Indented,
    /// None: it came with several lines in one wrapper.
    Nothing,
}

impl EntryJoiner {
    /// A joiner for the lines of one object, or of a range of it.
    pub fn new(context: &LogContext) -> Self {
        Self {
            clock: Clock::new(context.zone, context.object_time, context.evidence),
            writers: Vec::new(),
            turn: 0,
        }
    }

    /// Takes one line, and hands out the entries that it ends.
    pub fn push(&mut self, line: LogLine<'_>, sink: &mut dyn FnMut(ComponentEntry<'_>)) {
        self.turn += 1;
        let clock = &mut self.clock;
        let at = self.writers.iter().position(|w| w.is_of(&line.origin));
        let is_one_line = memchr::memchr(b'\n', line.text.as_bytes()).is_none();
        let begin = begins(line.text.as_bytes());
        let is_single = is_one_line && begin == Begins::Single;
        let at = match at {
            Some(at) => at,
            None => {
                if self.writers.len() >= OPEN_MAX {
                    let oldest = (0..self.writers.len()).min_by_key(|i| self.writers[*i].turn);
                    self.writers
                        .remove(oldest.unwrap_or(0))
                        .close(clock, None, sink);
                }
                self.writers.push(Writer {
                    origin: line.origin.borrowed().into_owned(),
                    near: Neighbours::default(),
                    turn: 0,
                    open: None,
                });
                self.writers.len() - 1
            }
        };
        let writer = &mut self.writers[at];
        writer.turn = self.turn;
        if is_one_line && writer.takes(&line, begin) {
            return writer.add(line);
        }
        writer.close(clock, Some(&line), sink);
        if is_single {
            let raw = RawEntry {
                text: &line.text,
                origin: line.origin.borrowed(),
                offset: line.offset,
                record_bytes: line.record_bytes,
                lines: 1,
                line_times: Vec::new(),
            };
            return sink(raw.parse(clock, &mut writer.near));
        }
        let takes = match begin {
            _ if !is_one_line => Takes::Nothing,
            Begins::Header => Takes::Any,
            Begins::Text if line.origin.wrapper != Wrapper::Plain && !is_panic(&line.text) => {
                Takes::Indented
            }
            _ => Takes::Any,
        };
        writer.open(line, takes);
    }

    /// Hands out the entries that are open, in the order of their first lines.
    pub fn finish(&mut self, sink: &mut dyn FnMut(ComponentEntry<'_>)) {
        let mut writers = std::mem::take(&mut self.writers);
        writers.sort_by_key(|w| w.open.as_ref().map(|o| o.offset));
        for mut writer in writers {
            writer.close(&mut self.clock, None, sink);
        }
    }
}

/// True for the first line of what Go prints when a program dies.
fn is_panic(line: &str) -> bool {
    ["panic: ", "fatal error: ", "goroutine ", "SIG", "runtime: "]
        .iter()
        .any(|p| line.starts_with(p))
}

impl Writer {
    fn is_of(&self, origin: &LineOrigin<'_>) -> bool {
        // The journal counts each line, and a line of CRI may be in parts: their envelopes are kept
        // one by one.
        let may_differ = matches!(
            origin.wrapper,
            Wrapper::Journald | Wrapper::Cri | Wrapper::Docker
        );
        self.origin.is_same_writer(origin)
            && (may_differ || self.origin.envelope == origin.envelope)
    }

    /// True if a line continues the entry that is open.
    fn takes(&self, line: &LogLine<'_>, begin: Begins) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        let fits =
            open.lines < ENTRY_LINES_MAX && open.text.len() + line.text.len() < ENTRY_BYTES_MAX;
        let pause = match (open.last_time, line.origin.time) {
            (Some(before), Some(now)) => now.0 - before.0,
            _ => 0,
        };
        fits && match (open.takes, begin) {
            (Takes::Nothing, _) | (_, Begins::Header | Begins::Single) => false,
            (_, Begins::Indented) => true,
            (Takes::Any, _) | (_, Begins::Blank) => pause <= PAUSE_MAX_MICROS,
            (Takes::Indented, _) => false,
        }
    }

    fn open(&mut self, line: LogLine<'_>, takes: Takes) {
        self.open = Some(OpenText {
            text: line.text.into_owned(),
            offset: line.offset,
            record_bytes: line.record_bytes,
            lines: 1,
            line_times: Vec::new(),
            envelopes: Vec::new(),
            last_time: line.origin.time,
            takes,
        });
        self.origin.time = line.origin.time;
        self.origin.time_text = line.origin.time_text.map(|t| Cow::Owned(t.into_owned()));
        self.origin.event_id = line.origin.event_id.map(|t| Cow::Owned(t.into_owned()));
        self.origin.envelope = line.origin.envelope;
    }

    fn add(&mut self, line: LogLine<'_>) {
        let Some(open) = &mut self.open else {
            return;
        };
        open.text.push('\n');
        open.text.push_str(&line.text);
        if line.origin.envelope != self.origin.envelope {
            let envelope = line.origin.envelope.unwrap_or_else(|| "{}".to_owned());
            open.envelopes.push((open.lines, envelope));
        }
        open.lines += 1;
        open.record_bytes += line.record_bytes;
        if let Some(time) = line.origin.time_text {
            open.line_times.push(Cow::Owned(time.into_owned()));
        }
        open.last_time = line.origin.time.or(open.last_time);
    }

    fn close(
        &mut self,
        clock: &mut Clock,
        next: Option<&LogLine<'_>>,
        sink: &mut dyn FnMut(ComponentEntry<'_>),
    ) {
        let Some(open) = self.open.take() else {
            return;
        };
        self.near.after = None;
        if let Some(next) = next.filter(|n| n.origin.time.is_none() && self.near.before.is_none()) {
            self.near.after = own_time(&next.text, clock, None);
        }
        let mut origin = self.origin.borrowed();
        if !open.envelopes.is_empty() {
            origin.envelope = Some(joined_envelope(origin.envelope.as_deref(), &open.envelopes));
        }
        let raw = RawEntry {
            text: &open.text,
            origin,
            offset: open.offset,
            record_bytes: open.record_bytes,
            lines: open.lines,
            line_times: open.line_times,
        };
        sink(raw.parse(clock, &mut self.near));
    }
}

/// Member of an envelope that holds those of later lines: `[[number of the line, envelope], …]`,
/// where the first line has number 0.
const LINES: &str = "kolumn.io/lines";

fn joined_envelope(first: Option<&str>, others: &[(i32, String)]) -> String {
    let mut out = first.unwrap_or("{}").trim_end().to_owned();
    out.pop();
    out.push_str(if out.len() > 1 { ",\"" } else { "\"" });
    out.push_str(LINES);
    out.push_str("\":[");
    for (i, (line, envelope)) in others.iter().enumerate() {
        out.push_str(if i > 0 { ",[" } else { "[" });
        out.push_str(&line.to_string());
        out.push(',');
        out.push_str(envelope);
        out.push(']');
    }
    out.push_str("]}");
    out
}
