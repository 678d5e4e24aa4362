//! Bytes into events: what a frame (one line, or one JSON document) holds.
//!
//! A frame may hold many records (an `EventList`, an Event Hub message, an array). Each record comes
//! out exactly once, as an event or as a rejection. Nothing here does I/O or knows where bytes came
//! from; nothing here panics on any input.

pub mod aks;
pub mod audit;
pub mod cloudwatch;
pub mod component;
pub mod cut;
pub mod frame;
pub mod inventory;
pub mod legacy;
mod object;
pub mod reject;
#[cfg(test)]
mod samples;

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    decode::reject::{Reason, Reject},
    event::{
        audit::{AuditEvent, Text},
        component::LogLine,
        inventory::InventoryRow,
    },
};

/// What an audit record was decoded from; the value of column `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON line of kube-apiserver's log backend.
    AuditJson,
    /// A line of the legacy text format.
    AuditLegacy,
    /// An item of an `EventList`, as the webhook backend posts it.
    AuditWebhook,
    /// An AKS diagnostic record: the event is a string inside.
    AksDiagnostic,
    /// A row of a Log Analytics table.
    AksTable,
    /// The message of a CloudWatch log event (EKS).
    CloudWatch,
    /// A line that a container wrote, in a log file of its runtime.
    ContainerLog,
}

impl Format {
    /// The value of column `format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuditJson => "audit-json",
            Self::AuditLegacy => "audit-legacy",
            Self::AuditWebhook => "audit-webhook",
            Self::AksDiagnostic => "aks-diagnostic",
            Self::AksTable => "aks-table",
            Self::CloudWatch => "cloudwatch",
            Self::ContainerLog => "container-log",
        }
    }
}

/// Formats as a person asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum FormatFamily {
    /// Told by content, record by record
    Auto,
    /// JSON lines of kube-apiserver
    AuditJson,
    /// Legacy text lines of kube-apiserver
    AuditLegacy,
    /// `EventList` bodies of the audit webhook
    AuditWebhook,
    /// AKS: diagnostic settings, Event Hub, Log Analytics exports
    Aks,
    /// EKS: CloudWatch export tasks, Firehose, Lambda and Kinesis payloads, Insights, OpenSearch
    Eks,
    /// Logs of components: klog, logfmt, container runtime, journal
    Component,
}

impl FormatFamily {
    /// True if records of a format are wanted.
    pub fn takes(self, format: Format) -> bool {
        match self {
            Self::Auto => true,
            Self::AuditJson => format == Format::AuditJson,
            Self::AuditLegacy => format == Format::AuditLegacy,
            Self::AuditWebhook => format == Format::AuditWebhook,
            Self::Aks => matches!(format, Format::AksDiagnostic | Format::AksTable),
            Self::Eks => format == Format::CloudWatch,
            Self::Component => format == Format::ContainerLog,
        }
    }
}

/// The wrapper that a cloud puts around an event.
#[derive(Debug, Default, Clone)]
pub struct Envelope<'a> {
    /// Cluster, from the resource id, in lower case.
    pub cluster: Option<String>,
    /// API server replica.
    pub api_server: Option<Text<'a>>,
    /// The wrapper without its time and the event, a JSON object.
    pub json: Option<String>,
    /// The wrapper's time field, as received.
    pub time: Option<Text<'a>>,
}

/// An audit event with its wrapper.
#[derive(Debug, Clone)]
pub struct AuditRecord<'a> {
    /// The event.
    pub event: AuditEvent<'a>,
    /// What it was decoded from.
    pub format: Format,
    /// The wrapper; empty for plain files.
    pub envelope: Envelope<'a>,
}

/// Why a record is not stored; counted, and no part of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// CloudWatch's check of a destination: `CONTROL_MESSAGE`, `aws-logs-write-test`.
    ControlMessage,
    /// The source's settings drop events of stage `RequestReceived`.
    RequestReceived,
    /// The source's settings drop health probes.
    HealthProbe,
}

impl DropReason {
    /// The code shown in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlMessage => "control-message",
            Self::RequestReceived => "request-received",
            Self::HealthProbe => "health-probe",
        }
    }
}

/// One record of a frame.
#[derive(Debug)]
pub enum Record<'a> {
    /// An audit event, and the length of its record in bytes.
    Audit(Box<AuditRecord<'a>>, usize),
    /// A line of a component's log, without its offset; lines are joined to entries later.
    Line(Box<LogLine<'a>>),
    /// A row of a Container Insights table, and its length in bytes.
    Inventory(Box<InventoryRow<'a>>, usize),
    /// A record that carries nothing to store.
    Dropped(DropReason),
    /// A record that could not be decoded, with its bytes.
    Rejected(Reject, &'a [u8]),
}

/// Decodes one frame and hands each of its records to `sink`, in order.
pub fn decode_frame(frame: &[u8], sink: &mut dyn FnMut(Record<'_>)) {
    let text = match std::str::from_utf8(frame) {
        Ok(text) => text.trim(),
        Err(e) => return sink(Record::Rejected(Reject::new(Reason::InvalidUtf8, e), frame)),
    };
    match text.as_bytes().first() {
        None => {}
        Some(b'{') => decode_object(text, sink),
        Some(b'[') => decode_array(text, sink),
        Some(_) if legacy::is_legacy(text) => match legacy::parse(text) {
            Ok(event) => sink(audit_record(event, Format::AuditLegacy, frame.len())),
            Err(reject) => sink(Record::Rejected(reject, frame)),
        },
        Some(_) if text == cloudwatch::WRITE_TEST => {
            sink(Record::Dropped(DropReason::ControlMessage))
        }
        Some(_) if component::decode_line(text, sink) => {}
        Some(_) => sink(Record::Rejected(
            Reject::new(Reason::UnknownText, "neither JSON nor a legacy audit line"),
            frame,
        )),
    }
}

/// What is known of an object beside its bytes, for records that do not tell it themselves.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Table of Log Analytics whose rows the object holds.
    pub table: Option<String>,
    /// Stream of CloudWatch whose events an export task wrote to the object.
    pub export: Option<cloudwatch::export::ExportContext>,
}

impl Context {
    /// Tells by the object's address and its first bytes, decompressed; `cluster` is the source's.
    pub fn of(uri: &str, head: &[u8], cluster: Option<&str>) -> Self {
        Self {
            table: inventory::table_of(uri).map(str::to_owned),
            export: cloudwatch::export::ExportContext::of(uri, head, cluster),
        }
    }
}

/// As [`decode_frame`], of an object of which something is known beside its bytes.
pub fn decode_frame_of(frame: &[u8], context: &Context, sink: &mut dyn FnMut(Record<'_>)) {
    if let Some(export) = &context.export {
        return cloudwatch::export::decode_export_line(frame, export, sink);
    }
    if let Some(table) = &context.table
        && let Ok(text) = std::str::from_utf8(frame)
        && let Ok(shape) = Shape::of(text)
        && inventory::is_row_without_table(&shape)
    {
        if let Err(reject) = inventory::decode(&shape, table, text, sink) {
            sink(Record::Rejected(reject, frame));
        }
        return;
    }
    decode_frame(frame, sink);
}

fn audit_record(event: AuditEvent<'_>, format: Format, bytes: usize) -> Record<'_> {
    Record::Audit(
        Box::new(AuditRecord {
            event,
            format,
            envelope: Envelope::default(),
        }),
        bytes,
    )
}

/// The plain audit event is by far the most frequent, so it is tried before anything is looked up.
fn decode_object(text: &str, sink: &mut dyn FnMut(Record<'_>)) {
    if let Ok(event) = audit::parse(text) {
        return sink(audit_record(event, Format::AuditJson, text.len()));
    }
    let shape = match Shape::of(text) {
        Ok(shape) => shape,
        Err(e) if e.to_string().starts_with("trailing characters") => {
            return decode_several(text, sink);
        }
        Err(e) => return decode_broken(text, &e, sink),
    };
    if cloudwatch::is_cloudwatch(&shape) {
        return cloudwatch::decode(text, &shape, sink);
    }
    if let Some(items) = shape.event_list() {
        for item in items {
            match audit::parse_item(item.get()) {
                Ok(event) => sink(audit_record(event, Format::AuditWebhook, item.get().len())),
                Err(reject) => sink(Record::Rejected(reject, item.get().as_bytes())),
            }
        }
    } else if let Some(records) = shape.array("records") {
        for record in records {
            decode_one(record.get(), sink);
        }
    } else {
        decode_one(text, sink);
    }
}

/// Decodes text that begins like an object and is no JSON: an event that was cut, perhaps.
fn decode_broken(text: &str, error: &serde_json::Error, sink: &mut dyn FnMut(Record<'_>)) {
    match cut::salvage(text, None, Reject::from_json(error)) {
        Ok(event) => sink(audit_record(event, Format::AuditJson, text.len())),
        Err(reject) => sink(Record::Rejected(reject, text.as_bytes())),
    }
}

/// Decodes an object that is one record: a wrapped event, or an event in an unusual form.
fn decode_one(text: &str, sink: &mut dyn FnMut(Record<'_>)) {
    let shape = match Shape::of(text) {
        Ok(shape) => shape,
        Err(e) => return sink(Record::Rejected(Reject::from_json(&e), text.as_bytes())),
    };
    if aks::is_aks(&shape) {
        if let Err(reject) = aks::decode(&shape, text, sink) {
            sink(Record::Rejected(reject, text.as_bytes()));
        }
        return;
    }
    if cloudwatch::is_cloudwatch(&shape) {
        return cloudwatch::decode(text, &shape, sink);
    }
    if component::decode_object(&shape, text, sink) {
        return;
    }
    match audit::parse(text) {
        Ok(event) => sink(audit_record(event, Format::AuditJson, text.len())),
        Err(reject) => sink(Record::Rejected(reject, text.as_bytes())),
    }
}

fn decode_array(text: &str, sink: &mut dyn FnMut(Record<'_>)) {
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(items) => items
            .iter()
            .for_each(|item| match item.get().as_bytes().first() {
                Some(b'{') => decode_object(item.get(), sink),
                _ => sink(Record::Rejected(
                    Reject::new(
                        Reason::UnknownJson,
                        "an element of an array that is no object",
                    ),
                    item.get().as_bytes(),
                )),
            }),
        Err(e) => sink(Record::Rejected(Reject::from_json(&e), text.as_bytes())),
    }
}

/// Decodes JSON values that follow each other with nothing or blanks between.
fn decode_several(text: &str, sink: &mut dyn FnMut(Record<'_>)) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    loop {
        let start = values.byte_offset();
        let rest = text.get(start..).unwrap_or_default();
        match values.next() {
            Some(Ok(value)) if value.get().starts_with('{') => decode_object(value.get(), sink),
            Some(Ok(value)) => sink(Record::Rejected(
                Reject::new(Reason::UnknownJson, "a JSON value that is no object"),
                value.get().as_bytes(),
            )),
            Some(Err(e)) => return decode_broken(rest.trim_start(), &e, sink),
            None => return,
        }
    }
}

/// The top-level fields of a JSON object, verbatim and in order.
#[derive(Debug)]
pub struct Shape<'a> {
    /// Field names and values; a name may stand twice.
    pub fields: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Shape<'a> {
    /// Reads the top level of an object.
    ///
    /// # Errors
    /// If the text is not one JSON object.
    pub fn of(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The last value of a field.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.fields
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| *v)
    }

    /// The value of a field that is a string.
    pub fn text(&self, name: &str) -> Option<Text<'a>> {
        self.get(name).and_then(|v| json_text(v.get()))
    }

    pub(super) fn array(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        let value = self.get(name)?.get();
        value
            .starts_with('[')
            .then(|| serde_json::from_str(value).ok())?
    }

    fn event_list(&self) -> Option<Vec<&'a RawValue>> {
        (self.text("kind")? == "EventList").then(|| self.array("items"))?
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Shape<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> serde::de::Visitor<'de> for Fields {
            type Value = Shape<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some((JsonText(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Shape { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Unescapes JSON string text, borrowing where nothing is escaped; `None` if it is no valid string.
pub fn json_text(json: &str) -> Option<Text<'_>> {
    serde_json::from_str::<JsonText<'_>>(json).ok().map(|t| t.0)
}

/// A string, borrowed from the input where it needs no unescaping (serde's own `Cow` never borrows).
#[derive(Debug)]
pub struct JsonText<'a>(pub Text<'a>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(v))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(v.to_owned()))
            }
            fn visit_string<E>(self, v: String) -> Result<Self::Value, E> {
                Ok(Cow::Owned(v))
            }
        }
        deserializer.deserialize_str(Visitor).map(JsonText)
    }
}
