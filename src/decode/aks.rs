//! Azure's wrappers around audit events and lines of components: diagnostic records (storage account,
//! Event Hub), where the event or line is a string in `properties.log`; rows of the tables AKSAudit
//! and AKSAuditAdmin, where the event is spread over columns; rows of AzureDiagnostics, where it is a
//! string in `log_s`; rows of AKSControlPlane, where the line is in `Message`.
//!
//! One record in, one event with its [`Envelope`], or one line with its origin, out. The envelope keeps every other value of the
//! record verbatim, so that the record can be built again: `time` (in table rows `TimeGenerated`)
//! comes from `envelope.time`, the event goes back to where its place is empty. Where the record
//! held JSON as text that it could have held as JSON (`properties`, a column of AKSAudit), an empty
//! string stays in that place to tell.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    decode::{
        AuditRecord, Envelope, Format, Record, Shape, audit, cut, inventory, json_text, legacy,
        object::{
            JsonObject, check_names_differ, unwrapped, within, without_newline, wrapper_time,
        },
        reject::{Reason, Reject},
    },
    event::{
        audit::{AuditEvent, Text},
        component::{LineOrigin, LogLine, Wrapper},
        time::Micros,
    },
};

/// True if the record is one that Azure writes, whether or not it holds an audit event.
pub fn is_aks(shape: &Shape<'_>) -> bool {
    Style::of(shape).is_some()
}

/// Decodes one record and hands what it holds to `sink`, which is called once if this succeeds.
/// `text` is the record.
///
/// # Errors
/// The reason why it holds no event, line or sample that can be read.
pub fn decode(
    shape: &Shape<'_>,
    text: &str,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let length = text.len();
    let unknown = || Reject::new(Reason::UnknownJson, "no record of Azure");
    let style = Style::of(shape).ok_or_else(unknown)?;
    check_names_differ(shape)?;
    match style {
        Style::Diagnostic => decode_diagnostic(shape, length, sink),
        Style::DiagnosticsRow => decode_diagnostics_row(shape, length, sink),
        Style::AuditRow => decode_audit_row(shape, length, sink),
        Style::ControlPlaneRow => decode_control_plane_row(shape, length, sink),
        Style::OtherRow => {
            let table = shape.text("Type").unwrap_or_default();
            inventory::decode(shape, &table, text, sink)
        }
    }
}

/// Columns by which a row of AKSControlPlane that does not name its table is told.
const CONTROL_PLANE_COLUMNS: [&str; 4] = ["Category", "Message", "PodName", "TimeGenerated"];

/// The form of a record.
enum Style {
    /// `{"category":…,"properties":{"log":…}}`
    Diagnostic,
    /// A row of AzureDiagnostics.
    DiagnosticsRow,
    /// A row of AKSAudit or AKSAuditAdmin.
    AuditRow,
    /// A row of AKSControlPlane.
    ControlPlaneRow,
    /// A row of another table of Log Analytics.
    OtherRow,
}

impl Style {
    fn of(shape: &Shape<'_>) -> Option<Self> {
        let has = |name: &str| shape.get(name).is_some();
        if has("auditID") {
            return None;
        }
        let has_log_wrapper = has("resourceId") || has("operationName");
        if has("properties") && has_log_wrapper
            || has("category") && (has_log_wrapper || has("time"))
        {
            return Some(Self::Diagnostic);
        }
        if has("category") && has("properties") {
            return Some(Self::Diagnostic);
        }
        let table = shape.text("Type").unwrap_or_default();
        let is = |name: &str| table.eq_ignore_ascii_case(name);
        if has("log_s") || is("AzureDiagnostics") {
            Some(Self::DiagnosticsRow)
        } else if has("AuditId") || is("AKSAudit") || is("AKSAuditAdmin") {
            Some(Self::AuditRow)
        } else if is("AKSControlPlane")
            || table.is_empty() && CONTROL_PLANE_COLUMNS.iter().all(|name| has(name))
        {
            Some(Self::ControlPlaneRow)
        } else if !table.is_empty() && has("TimeGenerated") {
            Some(Self::OtherRow)
        } else {
            None
        }
    }
}

/// The component whose lines a category holds; `None` if it holds audit events. A record without a
/// category is taken for one of these.
fn component_of(category: Option<&Text<'_>>) -> Option<String> {
    let category = category?.to_ascii_lowercase();
    (category != "kube-audit" && category != "kube-audit-admin").then_some(category)
}

/// Why a record of a category that is not audit holds no line.
fn no_line(component: &str, what: &str) -> Reject {
    let detail = format!("category {component}, and {what} is no text: no log line");
    Reject::new(Reason::UnsupportedCategory, detail)
}

/// A line as one record.
fn line_record<'a>(text: Text<'a>, origin: LineOrigin<'a>, length: usize) -> Record<'a> {
    Record::Line(Box::new(LogLine {
        text: without_newline(text),
        origin,
        offset: 0,
        record_bytes: length,
    }))
}

fn not_empty(text: Option<Text<'_>>) -> Option<Text<'_>> {
    text.filter(|t| !t.is_empty())
}

fn decode_diagnostic(
    shape: &Shape<'_>,
    length: usize,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let component = component_of(shape.text("category").as_ref());
    let missing = |what: &str| match &component {
        Some(component) => no_line(component, what),
        None => Reject::new(Reason::UnknownJson, format!("{what} is missing")),
    };
    let raw = shape
        .get("properties")
        .ok_or_else(|| missing("properties"))?
        .get();
    let text = unwrapped(raw).map_err(|e| within("properties", e))?;
    let properties = Shape::of(&text).map_err(|e| within("properties", Reject::from_json(&e)))?;
    check_names_differ(&properties).map_err(|e| within("properties", e))?;
    let log = properties
        .get("log")
        .ok_or_else(|| missing("properties.log"))?;

    let mut json = JsonObject::with_capacity(512);
    for (name, value) in &shape.fields {
        match &**name {
            "time" if value.get().starts_with('"') => {}
            "properties" if raw.starts_with('"') => {
                let rest = replacing_log(&properties, Some("\"\""));
                json.push(name, &serde_json::Value::String(rest).to_string());
            }
            "properties" => json.push(name, &replacing_log(&properties, None)),
            _ => json.push(name, value.get()),
        }
    }
    let cluster = cluster_name(shape);
    let time_text = shape.text("time");
    let time = time_text.as_deref().and_then(wrapper_time);
    if let Some(component) = component {
        let line = json_text(log.get()).ok_or_else(|| no_line(&component, "properties.log"))?;
        let origin = LineOrigin {
            wrapper: Wrapper::AksDiagnostic,
            cluster,
            component: Some(Cow::Owned(component)),
            pod: not_empty(properties.text("pod")),
            container: not_empty(properties.text("containerID")),
            stream: not_empty(properties.text("stream")),
            time,
            time_text,
            envelope: Some(json.finish()),
            ..LineOrigin::default()
        };
        sink(line_record(line, origin, length));
        return Ok(());
    }
    let log = unwrapped(log.get()).map_err(|e| within("properties.log", e))?;
    let event = parse_log(&log, time).map_err(|e| within("properties.log", e))?;
    let envelope = Envelope {
        cluster,
        api_server: properties.text("pod"),
        json: Some(json.finish()),
        time: time_text,
    };
    sink(audit_record(event, Format::AksDiagnostic, envelope, length));
    Ok(())
}

fn audit_record<'a>(
    event: AuditEvent<'a>,
    format: Format,
    envelope: Envelope<'a>,
    length: usize,
) -> Record<'a> {
    Record::Audit(
        Box::new(AuditRecord {
            event,
            format,
            envelope,
        }),
        length,
    )
}

/// The properties again, with `log` replaced or left out.
fn replacing_log(properties: &Shape<'_>, replacement: Option<&str>) -> String {
    let mut json = JsonObject::with_capacity(192);
    for (name, value) in &properties.fields {
        if name != "log" {
            json.push(name, value.get());
        } else if let Some(replacement) = replacement {
            json.push(name, replacement);
        }
    }
    json.finish()
}

fn decode_diagnostics_row(
    shape: &Shape<'_>,
    length: usize,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let component = component_of(shape.text("Category").as_ref());
    let log = shape.get("log_s").ok_or_else(|| match &component {
        Some(component) => no_line(component, "log_s"),
        None => Reject::new(Reason::UnknownJson, "log_s is missing"),
    })?;
    let json = row_without(shape, "log_s");
    let cluster = cluster_name(shape);
    let time_text = shape.text("TimeGenerated");
    let time = time_text.as_deref().and_then(wrapper_time);
    if let Some(component) = component {
        let line = json_text(log.get()).ok_or_else(|| no_line(&component, "log_s"))?;
        let origin = LineOrigin {
            wrapper: Wrapper::AksDiagnostic,
            cluster,
            component: Some(Cow::Owned(component)),
            pod: not_empty(shape.text("pod_s")),
            container: not_empty(shape.text("containerID_s")),
            stream: not_empty(shape.text("stream_s")),
            time,
            time_text,
            envelope: Some(json),
            ..LineOrigin::default()
        };
        sink(line_record(line, origin, length));
        return Ok(());
    }
    let log = unwrapped(log.get()).map_err(|e| within("log_s", e))?;
    let event = parse_log(&log, time).map_err(|e| within("log_s", e))?;
    let envelope = Envelope {
        cluster,
        api_server: shape.text("pod_s"),
        json: Some(json),
        time: time_text,
    };
    sink(audit_record(event, Format::AksDiagnostic, envelope, length));
    Ok(())
}

fn decode_control_plane_row(
    shape: &Shape<'_>,
    length: usize,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let component = not_empty(shape.text("Category")).map(|c| c.to_ascii_lowercase());
    let line = shape.text("Message").ok_or_else(|| {
        let component = component.as_deref().unwrap_or("unknown");
        no_line(component, "Message")
    })?;
    let time_text = shape.text("TimeGenerated");
    let origin = LineOrigin {
        wrapper: Wrapper::AksDiagnostic,
        cluster: cluster_name(shape),
        component: component.map(Cow::Owned),
        pod: not_empty(shape.text("PodName")),
        container: not_empty(shape.text("ContainerId")),
        stream: not_empty(shape.text("Stream")),
        time: time_text.as_deref().and_then(wrapper_time),
        time_text,
        envelope: Some(row_without(shape, "Message")),
        ..LineOrigin::default()
    };
    sink(line_record(line, origin, length));
    Ok(())
}

/// A row again, without its payload and its time.
fn row_without(shape: &Shape<'_>, payload: &str) -> String {
    let mut json = JsonObject::with_capacity(512);
    for (name, value) in &shape.fields {
        let is_time = name == "TimeGenerated" && value.get().starts_with('"');
        if name != payload && !is_time {
            json.push(name, value.get());
        }
    }
    json.finish()
}

/// What a column of AKSAudit holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A string, in the event too.
    Text,
    /// JSON, or JSON as text.
    Json,
    /// As `Json`; but a text that is no JSON is a body too (`skipped-too-big-size-object`, or cut).
    Body,
}

/// Columns of AKSAudit, the fields of the event they came from, in the order of the event.
const AUDIT_COLUMNS: [(&str, &str, Holds); 15] = [
    ("Level", "level", Holds::Text),
    ("AuditId", "auditID", Holds::Text),
    ("Stage", "stage", Holds::Text),
    ("RequestUri", "requestURI", Holds::Text),
    ("Verb", "verb", Holds::Text),
    ("User", "user", Holds::Json),
    ("SourceIps", "sourceIPs", Holds::Json),
    ("UserAgent", "userAgent", Holds::Text),
    ("ObjectRef", "objectRef", Holds::Json),
    ("ResponseStatus", "responseStatus", Holds::Json),
    ("RequestObject", "requestObject", Holds::Body),
    ("ResponseObject", "responseObject", Holds::Body),
    (
        "RequestReceivedTime",
        "requestReceivedTimestamp",
        Holds::Text,
    ),
    ("StageReceivedTime", "stageTimestamp", Holds::Text),
    ("Annotations", "annotations", Holds::Json),
];

fn decode_audit_row(
    shape: &Shape<'_>,
    length: usize,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let mut event = JsonObject::with_capacity(4096);
    let mut taken: Vec<(&str, Taken)> = Vec::with_capacity(AUDIT_COLUMNS.len());
    for (column, field, holds) in AUDIT_COLUMNS {
        if let Some((value, how)) = shape.get(column).and_then(|v| column_value(v, holds)) {
            event.push(field, &value);
            taken.push((column, how));
        }
    }
    let event = event.finish();
    let event = audit::parse_item(&event)?;
    let mut json = JsonObject::with_capacity(512);
    for (name, value) in &shape.fields {
        let how = taken
            .iter()
            .find(|(column, _)| column == name)
            .map(|(_, how)| how);
        match how {
            Some(Taken::FromText) => json.push(name, "\"\""),
            Some(Taken::AsItStands) => {}
            None if name == "TimeGenerated" && value.get().starts_with('"') => {}
            None => json.push(name, value.get()),
        }
    }
    let envelope = Envelope {
        cluster: cluster_name(shape),
        api_server: shape.text("PodName"),
        json: Some(json.finish()),
        time: shape.text("TimeGenerated"),
    };
    sink(audit_record(event, Format::AksTable, envelope, length));
    Ok(())
}

/// How the value of a column became the value of a field.
enum Taken {
    AsItStands,
    FromText,
}

/// The JSON that a column gives to the event; `None` leaves the column to the envelope.
fn column_value<'a>(value: &'a RawValue, holds: Holds) -> Option<(Text<'a>, Taken)> {
    let as_it_stands = Some((Cow::Borrowed(value.get()), Taken::AsItStands));
    match (value.get().as_bytes().first()?, holds) {
        (b'n', _) => None,
        (b'"', Holds::Json | Holds::Body) => {
            let is_container = |t: &Text<'_>| {
                t.starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(t).is_ok()
            };
            match json_text(value.get()) {
                Some(text) if is_container(&text) => Some((text, Taken::FromText)),
                // An empty text tells nothing, and means here "was text" when the row is rebuilt.
                Some(text) if text.is_empty() => None,
                _ if holds == Holds::Body => as_it_stands,
                _ => None,
            }
        }
        _ => as_it_stands,
    }
}

/// The name of the cluster a resource id ends with, in lower case, since its case differs from
/// export to export.
fn cluster_name(shape: &Shape<'_>) -> Option<String> {
    let id = ["resourceId", "ResourceId", "_ResourceId"]
        .iter()
        .filter_map(|name| shape.text(name))
        .find(|id| !id.is_empty())?;
    cluster_of_id(&id)
}

/// The name of the cluster in a resource id.
pub(super) fn cluster_of_id(id: &str) -> Option<String> {
    const MARK: &str = "/managedclusters/";
    let id = id.to_lowercase();
    let name = match id.rfind(MARK) {
        Some(at) => id[at + MARK.len()..].split('/').next(),
        // Clusters outside of AKS (Arc) have another type in their id.
        None => id.trim_end_matches('/').rsplit('/').next(),
    };
    name.filter(|n| !n.is_empty()).map(str::to_owned)
}

/// Parses what a container wrote to its log: one audit event, in JSON, perhaps cut, or in the legacy
/// format.
fn parse_log(log: &str, time: Option<Micros>) -> Result<AuditEvent<'_>, Reject> {
    let log = log.trim();
    if legacy::is_legacy(log) {
        return legacy::parse(log);
    }
    cut::parse(log, time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"808bc0af","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/dev/configmaps/c","verb":"update","user":{"username":"alice","groups":["dev-team"]},"sourceIPs":["10.200.0.38"],"userAgent":"kubectl/1.29","objectRef":{"resource":"configmaps","namespace":"dev","name":"c","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestObject":{"n":100000000000000000000000000001, "a":"\u003c"},"responseObject":"skipped-too-big-size-object","requestReceivedTimestamp":"2024-11-15T21:00:00.146797Z","stageTimestamp":"2024-11-15T21:00:00.154217Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#;
    const RESOURCE: &str = "/SUBSCRIPTIONS/0B62/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/AKS-Prod";

    /// Decodes a record and looks at its event and envelope.
    fn decoded<T>(record: &str, look: impl Fn(&AuditRecord<'_>) -> T) -> Result<T, Reject> {
        let shape = Shape::of(record).unwrap();
        assert!(is_aks(&shape), "{record}");
        let mut seen = Vec::new();
        decode(&shape, record, &mut |r| match r {
            Record::Audit(r, length) => {
                assert_eq!(length, record.len());
                seen.push(look(&r));
            }
            other => panic!("{other:?}"),
        })?;
        assert_eq!(seen.len(), 1);
        Ok(seen.remove(0))
    }

    fn envelope_json(record: &AuditRecord<'_>) -> Value {
        serde_json::from_str(record.envelope.json.as_deref().unwrap()).unwrap()
    }

    fn diagnostic(category: &str, log: &str) -> Value {
        json!({
            "category": category,
            "operationName": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read",
            "properties": {"pod": "kube-apiserver-1", "log": log, "stream": "stdout"},
            "resourceId": RESOURCE, "serviceBuild": "na", "time": "2024-11-15T21:00:00.154534959Z",
        })
    }

    fn check_event(event: &AuditEvent<'_>) {
        assert_eq!(event.audit_id.as_deref(), Some("808bc0af"));
        assert_eq!(event.user.username.as_deref(), Some("alice"));
        assert_eq!(event.object.name.as_deref(), Some("c"));
        assert_eq!(event.response.code, Some(200));
        assert_eq!(
            event.request_object.as_deref(),
            Some(r#"{"n":100000000000000000000000000001, "a":"\u003c"}"#)
        );
        assert_eq!(event.response_object_state().as_str(), "skipped");
        assert_eq!(event.authorization_decision.as_deref(), Some("allow"));
        assert_eq!(event.extra, None);
    }

    #[test]
    fn a_diagnostic_record_gives_its_event_and_the_rest_as_envelope() {
        for category in ["kube-audit", "Kube-Audit-Admin", "KUBE-AUDIT"] {
            let mut original = diagnostic(category, &format!("{EVENT}\n"));
            let (envelope, json) = decoded(&original.to_string(), |r| {
                check_event(&r.event);
                assert_eq!(r.format, Format::AksDiagnostic);
                assert_eq!(r.envelope.cluster.as_deref(), Some("aks-prod"));
                assert_eq!(r.envelope.api_server.as_deref(), Some("kube-apiserver-1"));
                (
                    r.envelope.time.clone().map(Cow::into_owned),
                    envelope_json(r),
                )
            })
            .unwrap();
            assert_eq!(envelope.as_deref(), Some("2024-11-15T21:00:00.154534959Z"));
            original.as_object_mut().unwrap().remove("time");
            original["properties"]
                .as_object_mut()
                .unwrap()
                .remove("log");
            assert_eq!(json, original);
        }
    }

    #[test]
    fn properties_may_be_text_and_the_log_an_object_or_wrapped_twice() {
        let mut record = diagnostic("kube-audit", EVENT);
        record["properties"]["log"] = Value::String(Value::String(EVENT.into()).to_string());
        decoded(&record.to_string(), |r| check_event(&r.event)).unwrap();

        let text = record.to_string();
        let twice = record["properties"]["log"].to_string();
        let object = text.replace(&twice, EVENT);
        assert_ne!(object, text);
        decoded(&object, |r| check_event(&r.event)).unwrap();

        let mut record = diagnostic("kube-audit", EVENT);
        record["properties"] = Value::String(record["properties"].to_string());
        let json = decoded(&record.to_string(), |r| {
            check_event(&r.event);
            assert_eq!(r.envelope.api_server.as_deref(), Some("kube-apiserver-1"));
            envelope_json(r)
        })
        .unwrap();
        let properties: Value = serde_json::from_str(json["properties"].as_str().unwrap()).unwrap();
        assert_eq!(
            properties,
            json!({"pod": "kube-apiserver-1", "log": "", "stream": "stdout"})
        );
    }

    #[test]
    fn records_of_2020_keep_their_fields() {
        let mut record = diagnostic("kube-audit", EVENT);
        record["ccpNamespace"] = "5e4b".into();
        record["Cloud"] = "AzureCloud".into();
        record["time"] = "2020-05-08T22:44:17Z".into();
        let (time, json) = decoded(&record.to_string(), |r| {
            (
                r.envelope.time.as_deref().map(str::to_owned),
                envelope_json(r),
            )
        })
        .unwrap();
        assert_eq!(time.as_deref(), Some("2020-05-08T22:44:17Z"));
        assert_eq!(
            (&json["ccpNamespace"], &json["Cloud"]),
            (&json!("5e4b"), &json!("AzureCloud"))
        );
    }

    fn audit_row() -> Value {
        let event: Value = serde_json::from_str(EVENT).unwrap();
        json!({
            "TenantId": "t", "TimeGenerated": "2024-11-15T21:00:01.1234567Z", "Level": event["level"],
            "AuditId": event["auditID"], "Stage": event["stage"], "RequestUri": event["requestURI"],
            "Verb": event["verb"], "User": event["user"], "SourceIps": event["sourceIPs"],
            "UserAgent": event["userAgent"], "ObjectRef": event["objectRef"],
            "ResponseStatus": event["responseStatus"], "RequestObject": {"spec": {"n": 1}},
            "ResponseObject": "skipped-too-big-size-object",
            "RequestReceivedTime": event["requestReceivedTimestamp"],
            "StageReceivedTime": event["stageTimestamp"], "Annotations": event["annotations"],
            "PodName": "kube-apiserver-1", "_ResourceId": RESOURCE.to_lowercase(), "_BilledSize": 700,
            "Type": "AKSAudit",
        })
    }

    const ROW_REST: [&str; 5] = ["TenantId", "PodName", "_ResourceId", "_BilledSize", "Type"];

    #[test]
    fn a_row_of_aks_audit_becomes_the_event_again() {
        for with_type in [true, false] {
            let mut row = audit_row();
            if !with_type {
                row.as_object_mut().unwrap().remove("Type");
            }
            let json = decoded(&row.to_string(), |r| {
                let event = &r.event;
                assert_eq!(r.format, Format::AksTable);
                assert_eq!(event.audit_id.as_deref(), Some("808bc0af"));
                assert_eq!(
                    event.stage_timestamp.to_micro_time(),
                    "2024-11-15T21:00:00.154217Z"
                );
                assert_eq!(event.object.resource.as_deref(), Some("configmaps"));
                assert_eq!(event.request_object.as_deref(), Some(r#"{"spec":{"n":1}}"#));
                assert_eq!(event.response_object_state().as_str(), "skipped");
                assert_eq!(event.extra, None);
                assert_eq!(r.envelope.cluster.as_deref(), Some("aks-prod"));
                assert_eq!(r.envelope.api_server.as_deref(), Some("kube-apiserver-1"));
                assert_eq!(
                    r.envelope.time.as_deref(),
                    Some("2024-11-15T21:00:01.1234567Z")
                );
                envelope_json(r)
            })
            .unwrap();
            row.as_object_mut()
                .unwrap()
                .retain(|name, _| ROW_REST.contains(&name.as_str()));
            assert_eq!(json, row);
        }
    }

    #[test]
    fn columns_that_hold_json_as_text_are_read_and_marked() {
        let mut row = audit_row();
        for column in [
            "User",
            "SourceIps",
            "ObjectRef",
            "RequestObject",
            "Annotations",
        ] {
            row[column] = Value::String(row[column].to_string());
        }
        row["ResponseStatus"] = Value::String("{broken".into());
        row["Verb"] = Value::Null;
        let json = decoded(&row.to_string(), |r| {
            assert_eq!(r.event.user.username.as_deref(), Some("alice"));
            assert_eq!(
                r.event.request_object.as_deref(),
                Some(r#"{"spec":{"n":1}}"#)
            );
            assert_eq!(r.event.verb, None);
            envelope_json(r)
        })
        .unwrap();
        assert_eq!(json["User"], "");
        assert_eq!(json["ResponseStatus"], "{broken");
        assert_eq!(json["Verb"], Value::Null);
        assert_eq!(json.get("Stage"), None);
    }

    #[test]
    fn a_row_of_azure_diagnostics_gives_its_event() {
        let row = json!({
            "TenantId": "t", "TimeGenerated": "2024-11-15T21:00:01Z", "Category": "kube-audit-admin",
            "ResourceId": RESOURCE, "log_s": EVENT, "pod_s": "kube-apiserver-1", "Type": "AzureDiagnostics",
        });
        let json = decoded(&row.to_string(), |r| {
            check_event(&r.event);
            assert_eq!(r.format, Format::AksDiagnostic);
            assert_eq!(r.envelope.cluster.as_deref(), Some("aks-prod"));
            assert_eq!(r.envelope.api_server.as_deref(), Some("kube-apiserver-1"));
            assert_eq!(r.envelope.time.as_deref(), Some("2024-11-15T21:00:01Z"));
            envelope_json(r)
        })
        .unwrap();
        assert_eq!(json.as_object().unwrap().len(), 5);
    }

    #[test]
    fn what_holds_no_event_is_rejected_with_the_inner_reason() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut record = diagnostic("kube-audit", EVENT);
            change(&mut record);
            decoded(&record.to_string(), |_| ()).unwrap_err()
        };
        let reject = with(&|r| {
            r["category"] = "Guard".into();
            r["properties"]["log"] = Value::Null;
        });
        assert_eq!(
            (reject.reason, reject.detail.as_str()),
            (
                Reason::UnsupportedCategory,
                "category guard, and properties.log is no text: no log line"
            )
        );
        let reject = with(&|r| r["properties"]["log"] = EVENT[..80].into());
        assert_eq!(reject.reason, Reason::TruncatedJson);
        assert!(
            reject.detail.starts_with("properties.log: EOF"),
            "{}",
            reject.detail
        );
        let reject = with(&|r| r["properties"] = "{'log': 'x'}".into());
        assert_eq!(reject.reason, Reason::InvalidJson);
        for broken in [
            json!(null),
            json!(3),
            json!([]),
            json!({}),
            json!({"log": 3}),
            json!({"log": null}),
            json!({"log": ""}),
            json!(""),
        ] {
            with(&|r| r["properties"] = broken.clone());
        }
        let twice =
            diagnostic("kube-audit", EVENT)
                .to_string()
                .replacen('{', "{\"properties\":{},", 1);
        assert_eq!(
            decoded(&twice, |_| ()).unwrap_err().reason,
            Reason::InvalidJson
        );
        let lone = diagnostic("kube-audit", "X")
            .to_string()
            .replace("\"X\"", "\"\\ud800\"");
        assert_eq!(
            decoded(&lone, |_| ()).unwrap_err().reason,
            Reason::InvalidJson
        );
        let other = json!({"Type": "ContainerLogV2", "TimeGenerated": "2024-11-15T21:00:01Z"});
        assert_eq!(
            decoded(&other.to_string(), |_| ()).unwrap_err().reason,
            Reason::UnsupportedCategory
        );
    }

    fn line<T>(record: &Value, look: impl Fn(&LogLine<'_>) -> T) -> T {
        let text = record.to_string();
        let shape = Shape::of(&text).unwrap();
        let mut seen = Vec::new();
        decode(&shape, &text, &mut |r| match r {
            Record::Line(l) => {
                assert_eq!(l.record_bytes, text.len());
                seen.push(look(&l));
            }
            other => panic!("{other:?}"),
        })
        .unwrap();
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }

    const KLOG: &str =
        "I0420 16:36:52.392437       1 orchestrator.go:397] ScaleUpToNodeGroupMinSize\n";

    #[test]
    fn a_record_of_any_other_category_is_a_line_of_that_component() {
        for (time, micros) in [
            ("2025-04-20T16:36:52.392502188Z", 392_502),
            ("2025-04-20T16:36:52.3925021Z", 392_502),
            ("2025-04-20T16:36:52.392Z", 392_000),
            ("2025-04-20T16:36:52Z", 0),
        ] {
            let mut record = diagnostic("Cluster-Autoscaler", KLOG);
            record["time"] = time.into();
            record["properties"]["containerID"] = "643a".into();
            let json = line(&record, |l| {
                let o = &l.origin;
                assert_eq!(l.text, KLOG.trim_end());
                assert_eq!(o.wrapper, Wrapper::AksDiagnostic);
                assert_eq!(o.component.as_deref(), Some("cluster-autoscaler"));
                assert_eq!(o.cluster.as_deref(), Some("aks-prod"));
                assert_eq!(o.pod.as_deref(), Some("kube-apiserver-1"));
                assert_eq!(o.container.as_deref(), Some("643a"));
                assert_eq!(o.stream.as_deref(), Some("stdout"));
                assert_eq!(o.time_text.as_deref(), Some(time));
                assert_eq!(o.time.unwrap().0 % 1_000_000, micros);
                o.envelope.clone().unwrap()
            });
            record.as_object_mut().unwrap().remove("time");
            record["properties"].as_object_mut().unwrap().remove("log");
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), record);
        }
    }

    #[test]
    fn lines_in_rows_of_log_analytics_are_lines() {
        let row = json!({
            "TimeGenerated": "2024-11-15T21:00:01Z", "Category": "guard", "ResourceId": RESOURCE,
            "log_s": KLOG, "pod_s": "guard-1", "containerID_s": "c", "stream_s": "stderr", "Type": "AzureDiagnostics",
        });
        let envelope = line(&row, |l| {
            assert_eq!(l.origin.component.as_deref(), Some("guard"));
            assert_eq!(l.origin.stream.as_deref(), Some("stderr"));
            l.origin.envelope.clone().unwrap()
        });
        assert!(!envelope.contains("log_s") && envelope.contains("containerID_s"));
        for with_type in [true, false] {
            let mut row = json!({
                "TimeGenerated": "2024-11-15T21:00:01.1234567Z", "Category": "kube-scheduler", "Level": "INFO",
                "Message": KLOG, "PodName": "kube-scheduler-1", "_ResourceId": RESOURCE, "Type": "AKSControlPlane",
            });
            if !with_type {
                row.as_object_mut().unwrap().remove("Type");
            }
            line(&row, |l| {
                assert_eq!(l.text, KLOG.trim_end());
                assert_eq!(l.origin.component.as_deref(), Some("kube-scheduler"));
                assert_eq!(l.origin.pod.as_deref(), Some("kube-scheduler-1"));
                assert_eq!(l.origin.cluster.as_deref(), Some("aks-prod"));
            });
        }
    }

    #[test]
    fn a_cut_event_takes_the_time_of_its_record() {
        let cut = format!("{}[Truncated...]", &EVENT[..420]);
        decoded(&diagnostic("kube-audit", &cut).to_string(), |r| {
            assert_eq!(
                Some(r.event.stage_timestamp),
                Micros::parse("2024-11-15T21:00:00.154534Z")
            );
            assert!(r.event.is_incomplete());
        })
        .unwrap();
    }

    #[test]
    fn plain_events_are_not_taken_for_azure_records() {
        for other in [
            EVENT,
            "{}",
            r#"{"kind":"Pod","metadata":{}}"#,
            r#"{"properties":{}}"#,
            r#"{"Type":"x"}"#,
        ] {
            assert!(!is_aks(&Shape::of(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn clusters_are_named_by_their_resource_id() {
        for (id, name) in [
            (RESOURCE, Some("aks-prod")),
            (
                "/subscriptions/x/managedClusters/Web/agentPools/a",
                Some("web"),
            ),
            ("/subscriptions/x/connectedClusters/Arc1/", Some("arc1")),
            ("/", None),
            ("", None),
        ] {
            let record = json!({ "resourceId": id }).to_string();
            assert_eq!(
                cluster_name(&Shape::of(&record).unwrap()).as_deref(),
                name,
                "{id}"
            );
        }
    }

    proptest! {
        #[test]
        fn mangled_records_give_no_panic(row in any::<bool>(), at in 0usize..2000, what in "[\\PC\"\\\\{}\\[\\],:]{0,6}", cut in 0usize..40) {
            let text = if row { audit_row() } else { diagnostic("kube-audit", EVENT) }.to_string();
            let edge = |i: usize| (0..=i.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let mangled = format!("{}{what}{}", &text[..edge(at)], &text[edge(at + cut)..]);
            if let Ok(shape) = Shape::of(&mangled) && is_aks(&shape) {
                let mut count = 0;
                let result = decode(&shape, &mangled, &mut |_| count += 1);
                prop_assert_eq!(count, usize::from(result.is_ok()));
            }
        }
    }
}
