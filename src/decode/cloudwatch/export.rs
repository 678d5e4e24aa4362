//! Objects that a CloudWatch export task writes to S3: lines `2026-11-20T11:21:11.123Z <message>`,
//! of one stream each. Only the object's address tells which, and nothing in it tells the log group.

use std::borrow::Cow;

use crate::{
    decode::{
        AuditRecord, Envelope, Format, Record,
        cloudwatch::{Told, WRITE_TEST, looks_like_audit, parse_message, told_by_stream},
        object::wrapper_time,
        reject::{Reason, Reject},
    },
    event::{
        component::{LineOrigin, LogLine, Wrapper},
        time::Micros,
    },
};

/// A stream as the address of an exported object tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportStream<'u> {
    /// Id of the export task.
    pub task: &'u str,
    /// The log stream; a `/` in its name has become `-`.
    pub stream: &'u str,
}

/// What is known of an exported object beside its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportContext {
    /// The log stream.
    pub stream: String,
    /// Cluster, as the source's settings name it.
    pub cluster: Option<String>,
}

impl ExportContext {
    /// The context of an object, if an export task wrote it.
    pub fn of(uri: &str, head: &[u8], cluster: Option<&str>) -> Option<Self> {
        let export = export_stream_of(uri).filter(|_| begins_with_time(head))?;
        Some(Self {
            stream: export.stream.to_owned(),
            cluster: cluster.map(str::to_lowercase),
        })
    }
}

/// The stream of an object `…/<task>/<stream>/000000.gz`.
pub fn export_stream_of(uri: &str) -> Option<ExportStream<'_>> {
    let uri = uri.split(['?', '#']).next().unwrap_or(uri);
    let mut segments = uri.rsplit(['/', '\\']);
    let file = segments.next()?;
    let number = file.strip_suffix(".gz").unwrap_or(file);
    let is_number = number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit());
    let stream = segments.next().filter(|s| is_number && !s.is_empty())?;
    let task = segments.next().filter(|s| !s.is_empty())?;
    Some(ExportStream { task, stream })
}

/// True if an export task wrote the object, by its address and its first bytes, decompressed.
pub fn is_export(uri: &str, head: &[u8]) -> bool {
    ExportContext::of(uri, head, None).is_some()
}

fn begins_with_time(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    // The head may end within a character.
    let start = line.get(..64).unwrap_or(line);
    split_time(&String::from_utf8_lossy(start)).is_some()
}

/// The time, as it stands, and the message behind it; `None` of a line that continues one.
fn split_time(line: &str) -> Option<(&str, Micros, &str)> {
    let (text, message) = line.split_once(' ').unwrap_or((line, ""));
    let is_rfc_3339 = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T');
    let is_epoch = text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    if !is_rfc_3339 && !is_epoch {
        return None;
    }
    Some((text, wrapper_time(text)?, message))
}

/// Decodes one line of an exported object.
pub fn decode_export_line(line: &[u8], context: &ExportContext, sink: &mut dyn FnMut(Record<'_>)) {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(e) => return sink(Record::Rejected(Reject::new(Reason::InvalidUtf8, e), line)),
    };
    if text.trim() == WRITE_TEST {
        return sink(Record::Dropped(crate::decode::DropReason::ControlMessage));
    }
    let found = split_time(text);
    let (time_text, time, message) = match found {
        Some((time_text, time, message)) => (Some(time_text), Some(time), message),
        None => (None, None, text),
    };
    let component = match told_by_stream(Some(&context.stream)) {
        Told::Audit => None,
        Told::Component(component) => Some(component),
        Told::Nothing if looks_like_audit(message) => None,
        Told::Nothing => Some(&*context.stream),
    };
    if let Some(component) = component {
        let origin = LineOrigin {
            wrapper: Wrapper::CloudWatch,
            cluster: context.cluster.clone(),
            component: Some(Cow::Borrowed(component)),
            pod: Some(Cow::Borrowed(&context.stream)),
            time,
            time_text: time_text.map(Cow::Borrowed),
            ..LineOrigin::default()
        };
        return sink(Record::Line(Box::new(LogLine {
            text: Cow::Borrowed(message),
            origin,
            offset: 0,
            record_bytes: line.len(),
        })));
    }
    let event = match found {
        Some(_) => parse_message(message, time),
        None => Err(Reject::new(
            Reason::UnknownText,
            "a line without a time in an export of an audit stream",
        )),
    };
    match event {
        Ok(event) => {
            let envelope = Envelope {
                cluster: context.cluster.clone(),
                api_server: Some(Cow::Borrowed(&context.stream)),
                json: None,
                time: time_text.map(Cow::Borrowed),
            };
            let record = AuditRecord {
                event,
                format: Format::CloudWatch,
                envelope,
            };
            sink(Record::Audit(Box::new(record), line.len()));
        }
        Err(reject) => sink(Record::Rejected(reject, line)),
    }
}
