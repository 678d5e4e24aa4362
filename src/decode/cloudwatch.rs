//! CloudWatch's wrappers around what an EKS control plane logs: subscription payloads, as they are
//! and as Lambda, Kinesis and Firehose hand them on; documents that a Lambda fills OpenSearch with;
//! results of Logs Insights; objects of an export task.
//!
//! One log event in, one audit event or one line out. The stream's name says what its events are;
//! where it says nothing, or there is none, the message does. The envelope holds every other value, so
//! that the wrapper can be built again: of a payload with many log events, the payload with this one.

use std::borrow::Cow;

use crate::{
    decode::{
        AuditRecord, DropReason, Envelope, Format, Record, Shape, audit, cut, json_text, legacy,
        object::{JsonObject, check_names_differ, without_newline, wrapper_time},
        reject::{Reason, Reject},
    },
    event::{
        audit::{AuditEvent, Text},
        component::{LineOrigin, LogLine, Wrapper},
        time::Micros,
    },
};

mod document;
pub mod export;
mod payload;

/// What CloudWatch writes to object `aws-logs-write-test` to see whether it may export there.
pub const WRITE_TEST: &str = "Permission Check Successful";

/// How Amazon hands log events on.
#[derive(Clone, Copy)]
enum Style {
    /// A subscription payload.
    Subscription,
    /// What invokes a Lambda.
    Lambda,
    /// What invokes a Lambda that reads Kinesis.
    Kinesis,
    /// One record of what invokes a Lambda that transforms for Firehose.
    Firehose,
    /// The answer of `get-query-results`.
    QueryResults,
    /// The answer of a search in OpenSearch.
    Hits,
    /// A document of OpenSearch, or a row that the console exports.
    Document,
}

impl Style {
    fn of(shape: &Shape<'_>) -> Option<Self> {
        let begins = |name: &str, with: char| {
            shape
                .get(name)
                .is_some_and(|value| value.get().starts_with(with))
        };
        let is_subscription = shape.get("logEvents").is_some()
            && ["messageType", "logGroup", "logStream"]
                .iter()
                .any(|name| shape.get(name).is_some());
        if is_subscription || begins("messageType", '"') && shape.get("logGroup").is_some() {
            Some(Self::Subscription)
        } else if begins("awslogs", '{') {
            Some(Self::Lambda)
        } else if begins("Records", '[') {
            Some(Self::Kinesis)
        } else if shape.get("recordId").is_some() && begins("data", '"') {
            Some(Self::Firehose)
        } else if begins("results", '[') {
            Some(Self::QueryResults)
        } else if begins("hits", '{') {
            Some(Self::Hits)
        } else if shape.get("@message").is_some()
            || begins("_source", '{')
            || shape.get("@log_stream").is_some()
            || shape.get("@logStream").is_some()
        {
            Some(Self::Document)
        } else {
            None
        }
    }
}

/// True if the object is one that Amazon's services write around log events.
pub fn is_cloudwatch(shape: &Shape<'_>) -> bool {
    Style::of(shape).is_some()
}

/// Decodes an object and hands each of its records to `sink`.
pub fn decode(text: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    let mut reject = |reject| sink(Record::Rejected(reject, text.as_bytes()));
    let Some(style) = Style::of(shape) else {
        return reject(Reject::new(Reason::UnknownJson, "no record of CloudWatch"));
    };
    if let Err(e) = check_names_differ(shape) {
        return reject(e);
    }
    match style {
        Style::Subscription => decode_subscription(text, shape, sink),
        Style::Lambda => payload::decode_lambda(text, shape, sink),
        Style::Kinesis => payload::decode_kinesis(text, shape, sink),
        Style::Firehose => payload::decode_data(text, shape, sink),
        Style::QueryResults => document::decode_results(text, shape, sink),
        Style::Hits => document::decode_hits(text, shape, sink),
        Style::Document => document::decode_document(text, shape, sink),
    }
}

fn decode_subscription(text: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    if shape.text("messageType").as_deref() == Some("CONTROL_MESSAGE") {
        return sink(Record::Dropped(DropReason::ControlMessage));
    }
    let Some(events) = shape.array("logEvents") else {
        let detail = "a subscription payload whose logEvents is no list";
        let reject = Reject::new(Reason::UnknownJson, detail);
        return sink(Record::Rejected(reject, text.as_bytes()));
    };
    let mut head = JsonObject::with_capacity(256);
    for (name, value) in shape.fields.iter().filter(|(name, _)| name != "logEvents") {
        head.push(name, value.get());
    }
    let head = head.finish();
    let group = shape.text("logGroup");
    let stream = shape.text("logStream");
    for event in events {
        let raw = event.get();
        let result = Shape::of(raw)
            .map_err(|e| Reject::from_json(&e))
            .and_then(|event| {
                check_names_differ(&event)?;
                let carried = Carried {
                    message: Message::of(&event, "message")?,
                    cluster: group.as_deref().and_then(cluster_of_group),
                    stream: stream.as_deref(),
                    id: event.text("id").filter(|id| !id.is_empty()),
                    time: event.get("timestamp").map(|t| text_or_json(t.get())),
                    length: raw.len(),
                };
                let envelope = |kind: Kind| with_event(&head, &event, kind);
                hand_over(&carried, &envelope, sink)
            });
        if let Err(reject) = result {
            sink(Record::Rejected(reject, raw.as_bytes()));
        }
    }
}

/// The payload with one log event, of which the time, the message and, of a line, the id are left out.
fn with_event(head: &str, event: &Shape<'_>, kind: Kind) -> String {
    let mut json = JsonObject::with_capacity(128);
    for (name, value) in &event.fields {
        let is_kept = match &**name {
            "message" => false,
            "timestamp" => !is_number(value.get()),
            "id" => kind == Kind::Audit || !value.get().starts_with('"'),
            _ => true,
        };
        if is_kept {
            json.push(name, value.get());
        }
    }
    let event = json.finish();
    let members = head.strip_suffix('}').unwrap_or(head);
    if event == "{}" {
        return head.to_owned();
    }
    let comma = if members.len() > 1 { "," } else { "" };
    format!("{members}{comma}\"logEvents\":[{event}]}}")
}

fn is_number(json: &str) -> bool {
    json.bytes().all(|b| b.is_ascii_digit())
}

/// The text of a JSON string, or any other JSON as it stands.
fn text_or_json(json: &str) -> Text<'_> {
    json_text(json).unwrap_or(Cow::Borrowed(json))
}

/// What a log event holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Audit,
    Line,
}

/// A message, which Logs Insights' console exports as an object if it is one.
struct Message<'a> {
    text: Text<'a>,
}

impl<'a> Message<'a> {
    fn of(shape: &Shape<'a>, name: &str) -> Result<Self, Reject> {
        let value = shape.get(name).map(|v| v.get());
        let text = match value {
            Some(json) if json.starts_with('{') => Some(Cow::Borrowed(json)),
            Some(json) => json_text(json),
            None => None,
        };
        text.map(|text| Self { text }).ok_or_else(|| {
            let what = value.map_or("is missing", |_| "is neither text nor an object");
            Reject::new(Reason::UnknownJson, format!("{name} {what}"))
        })
    }
}

/// A log event on its way.
struct Carried<'a> {
    message: Message<'a>,
    cluster: Option<String>,
    stream: Option<&'a str>,
    id: Option<Text<'a>>,
    time: Option<Text<'a>>,
    length: usize,
}

/// Hands a log event to `sink` as what it is. `envelope` gives the rest of its wrapper.
fn hand_over(
    carried: &Carried<'_>,
    envelope: &dyn Fn(Kind) -> String,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let time = carried.time.as_deref().and_then(wrapper_time);
    let message = carried.message.text.as_ref();
    let component = match told_by_stream(carried.stream) {
        Told::Audit => None,
        Told::Component(component) => Some(Some(component)),
        Told::Nothing if looks_like_audit(message) => None,
        Told::Nothing => Some(carried.stream),
    };
    if let Some(component) = component {
        let origin = LineOrigin {
            wrapper: Wrapper::CloudWatch,
            cluster: carried.cluster.clone(),
            component: component.map(Cow::Borrowed),
            pod: carried.stream.map(Cow::Borrowed),
            time,
            time_text: carried.time.clone(),
            event_id: carried.id.clone(),
            envelope: Some(envelope(Kind::Line)),
            ..LineOrigin::default()
        };
        sink(Record::Line(Box::new(LogLine {
            text: without_newline(Cow::Borrowed(message)),
            origin,
            offset: 0,
            record_bytes: carried.length,
        })));
        return Ok(());
    }
    let event = parse_message(message, time)?;
    let envelope = Envelope {
        cluster: carried.cluster.clone(),
        api_server: carried.stream.map(Cow::Borrowed),
        json: Some(envelope(Kind::Audit)),
        time: carried.time.clone(),
    };
    let record = AuditRecord {
        event,
        format: Format::CloudWatch,
        envelope,
    };
    sink(Record::Audit(Box::new(record), carried.length));
    Ok(())
}

fn parse_message(message: &str, time: Option<Micros>) -> Result<AuditEvent<'_>, Reject> {
    let message = message.trim();
    if legacy::is_legacy(message) {
        return legacy::parse(message);
    }
    cut::parse(message, time)
}

/// By content, for streams that do not say: the first field of an event is its kind.
fn looks_like_audit(message: &str) -> bool {
    let message = message.trim_start();
    let head = &message.as_bytes()[..message.len().min(512)];
    let has = |word: &[u8]| memchr::memmem::find(head, word).is_some();
    legacy::is_legacy(message)
        || message.starts_with('{')
            && (has(b"audit.k8s.io/") || has(b"\"auditID\"") || audit::parse(message).is_ok())
}

/// What the name of a stream says about its events.
#[derive(Debug, PartialEq, Eq)]
enum Told<'a> {
    Audit,
    Component(&'a str),
    Nothing,
}

/// Names of streams end in `-` and 32 hex digits; `kube-apiserver-` begins two of them.
fn told_by_stream(stream: Option<&str>) -> Told<'_> {
    const COMPONENTS: [&str; 5] = [
        "kube-apiserver",
        "authenticator",
        "kube-controller-manager",
        "cloud-controller-manager",
        "kube-scheduler",
    ];
    let Some(stream) = stream else {
        return Told::Nothing;
    };
    let is = |name: &str| {
        stream
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if is("kube-apiserver-audit") {
        return Told::Audit;
    }
    COMPONENTS
        .into_iter()
        .find(|name| is(name))
        .map_or(Told::Nothing, Told::Component)
}

/// The cluster in the name of a log group, `/aws/eks/<cluster>/cluster`, in lower case.
fn cluster_of_group(group: &str) -> Option<String> {
    let name = group.strip_prefix("/aws/eks/")?.strip_suffix("/cluster")?;
    (!name.is_empty()).then(|| name.to_lowercase())
}

#[cfg(test)]
mod tests;
