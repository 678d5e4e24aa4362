use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    export::{ExportContext, ExportStream, decode_export_line, export_stream_of, is_export},
    *,
};
use crate::decode::{Context, decode_frame, decode_frame_of};

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"808bc0af","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/dev/configmaps/c","verb":"update","user":{"username":"alice"},"sourceIPs":["10.200.0.38"],"requestObject":{"a":"\u003c"},"requestReceivedTimestamp":"2024-11-15T21:00:00.146797Z","stageTimestamp":"2024-11-15T21:00:00.154217Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#;
const AUDIT_STREAM: &str = "kube-apiserver-audit-4e9f9d6f9d15381d05d77c5df3f7d329";
const KLOG: &str = "I1120 11:20:57.558526   16461 flags.go:64] FLAG: --a=\"[]\"";
const ID: &str = "38480917865042697267627490045603633139480491455604411863";

/// What came out, in short.
#[derive(Debug, PartialEq, Default)]
struct Seen {
    audit: Vec<Audit>,
    lines: Vec<Line>,
    dropped: usize,
    rejected: Vec<(Reason, String)>,
}

#[derive(Debug, PartialEq)]
struct Audit {
    id: String,
    format: &'static str,
    cluster: Option<String>,
    api_server: Option<String>,
    time: Option<String>,
    envelope: Value,
    is_cut: bool,
    bytes: usize,
}

#[derive(Debug, PartialEq)]
struct Line {
    text: String,
    component: Option<String>,
    pod: Option<String>,
    cluster: Option<String>,
    time: Option<i64>,
    time_text: Option<String>,
    id: Option<String>,
    envelope: Value,
}

impl Seen {
    fn take(&mut self, record: Record<'_>) {
        let own = |t: &Option<Text<'_>>| t.as_deref().map(str::to_owned);
        let json = |j: &Option<String>| {
            j.as_deref()
                .map_or(Value::Null, |j| serde_json::from_str(j).unwrap())
        };
        match record {
            Record::Audit(r, bytes) => self.audit.push(Audit {
                id: r.event.audit_id.as_deref().unwrap_or_default().to_owned(),
                format: r.format.as_str(),
                cluster: r.envelope.cluster.clone(),
                api_server: own(&r.envelope.api_server),
                time: own(&r.envelope.time),
                envelope: json(&r.envelope.json),
                is_cut: r.event.cut_text.is_some(),
                bytes,
            }),
            Record::Line(l) => self.lines.push(Line {
                text: l.text.to_string(),
                component: own(&l.origin.component),
                pod: own(&l.origin.pod),
                cluster: l.origin.cluster.clone(),
                time: l.origin.time.map(|t| t.0),
                time_text: own(&l.origin.time_text),
                id: own(&l.origin.event_id),
                envelope: json(&l.origin.envelope),
            }),
            Record::Dropped(reason) => {
                assert_eq!(reason, DropReason::ControlMessage);
                self.dropped += 1;
            }
            Record::Rejected(r, _) => self.rejected.push((r.reason, r.detail)),
            Record::Inventory(..) => panic!("no inventory here"),
        }
    }

    fn count(&self) -> usize {
        self.audit.len() + self.lines.len() + self.dropped + self.rejected.len()
    }
}

fn decoded(text: &str) -> Seen {
    let mut seen = Seen::default();
    decode_frame(text.as_bytes(), &mut |record| seen.take(record));
    seen
}

fn payload(stream: &str, messages: &[&str]) -> Value {
    let events: Vec<Value> = messages
        .iter()
        .map(|m| json!({"id": ID, "timestamp": 1_795_173_658_524_i64, "message": m, "extractedFields": {"@aws.account": "1"}}))
        .collect();
    json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/eks/Prod/cluster",
           "logStream": stream, "subscriptionFilters": ["f"], "logEvents": events})
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_audit_stream_gives_events_with_the_payload_around_each() {
    let payload = payload(AUDIT_STREAM, &[EVENT, &format!("{EVENT}\n")]);
    let seen = decoded(&payload.to_string());
    assert_eq!((seen.audit.len(), seen.count()), (2, 2));
    let audit = &seen.audit[0];
    assert_eq!(
        (&*audit.id, audit.format, audit.cluster.as_deref()),
        ("808bc0af", "cloudwatch", Some("prod"))
    );
    assert_eq!(audit.api_server.as_deref(), Some(AUDIT_STREAM));
    assert_eq!(audit.time.as_deref(), Some("1795173658524"));
    let mut rest = payload.clone();
    rest["logEvents"] = json!([{"id": ID, "extractedFields": {"@aws.account": "1"}}]);
    assert_eq!(audit.envelope, rest);
    assert_eq!(audit.bytes, payload["logEvents"][0].to_string().len());
}

#[test]
fn other_streams_give_lines_of_their_component() {
    for (stream, component) in [
        ("kube-apiserver-934e", "kube-apiserver"),
        ("authenticator-934e", "authenticator"),
        ("kube-controller-manager-934e", "kube-controller-manager"),
        ("cloud-controller-manager-934e", "cloud-controller-manager"),
        ("kube-scheduler-934e", "kube-scheduler"),
        ("kube-apiserverless", "kube-apiserverless"),
        ("test", "test"),
    ] {
        let payload = payload(stream, &[KLOG]);
        let seen = decoded(&payload.to_string());
        assert_eq!(seen.count(), 1);
        let mut rest = payload.clone();
        rest["logEvents"] = json!([{"extractedFields": {"@aws.account": "1"}}]);
        let some = |t: &str| Some(t.to_owned());
        assert_eq!(
            seen.lines,
            [Line {
                text: KLOG.to_owned(),
                component: some(component),
                pod: some(stream),
                cluster: some("prod"),
                time: Some(1_795_173_658_524_000),
                time_text: some("1795173658524"),
                id: some(ID),
                envelope: rest,
            }]
        );
    }
    // The stream's name goes before the content; where it says nothing, content tells.
    let seen = decoded(&payload("kube-apiserver-9", &[EVENT]).to_string());
    assert_eq!(seen.lines.len(), 1);
    let seen = decoded(&payload("my-stream", &[EVENT, KLOG]).to_string());
    assert_eq!((seen.audit.len(), seen.lines.len()), (1, 1));
    let seen = decoded(&payload(AUDIT_STREAM, &[KLOG, EVENT]).to_string());
    assert_eq!((seen.audit.len(), seen.rejected.len()), (1, 1));
}

#[test]
fn a_check_of_the_destination_is_dropped() {
    let control = r#"{"messageType": "CONTROL_MESSAGE", "owner": "CloudwatchLogs", "logGroup": "log_group_name", "logStream": "s",
        "subscriptionFilters":["f"], "logEvents": [{"id": "", "timestamp": 1763029869851, "message": "CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;
    for text in [control, WRITE_TEST] {
        let seen = decoded(text);
        assert_eq!((seen.dropped, seen.count()), (1, 1), "{text}");
    }
}

#[test]
fn documents_with_nothing_or_a_newline_between_are_all_read() {
    let one = payload(AUDIT_STREAM, &[EVENT]).to_string();
    for between in ["", "\n", " "] {
        let seen = decoded(&[&*one, &one, &one].join(between));
        assert_eq!((seen.audit.len(), seen.count()), (3, 3));
    }
}

#[test]
fn payloads_are_taken_out_of_base64_and_gzip() {
    let text = payload(AUDIT_STREAM, &[EVENT]).to_string();
    let gzipped = STANDARD.encode(gzip(&text));
    let plain = STANDARD.encode(format!("{text}{text}"));
    let firehose = json!({"invocationId": "i", "records": [{"recordId": "4", "data": gzipped}, {"recordId": "5", "data": plain}]});
    for (wrapped, count) in [
        (json!({"awslogs": {"data": gzipped}}), 1),
        (
            json!({"Records": [{"kinesis": {"data": gzipped}, "eventID": "e"}, {"kinesis": {"data": plain}}]}),
            3,
        ),
        (firehose, 3),
        (
            json!({"awslogs": {"data": STANDARD.encode(format!("{EVENT}\n{EVENT}"))}}),
            2,
        ),
    ] {
        let seen = decoded(&wrapped.to_string());
        assert_eq!((seen.audit.len(), seen.count()), (count, count));
        assert_eq!(seen.audit[0].format, "cloudwatch");
    }
}

#[test]
fn a_damaged_payload_is_one_rejection_with_its_reason() {
    let text = payload(AUDIT_STREAM, &[EVENT]).to_string();
    let gzipped = gzip(&text);
    let within = STANDARD.encode(json!({"awslogs": {"data": "e30="}}).to_string());
    for (data, reason) in [
        (json!("%%%"), Reason::InvalidBase64),
        (
            json!(STANDARD.encode(&gzipped[..gzipped.len() / 2])),
            Reason::DamagedCompression,
        ),
        (json!(STANDARD.encode(b"\xff\xfe")), Reason::InvalidUtf8),
        (json!(STANDARD.encode(&text[..100])), Reason::TruncatedJson),
        (json!(STANDARD.encode("")), Reason::UnknownJson),
        (json!(within), Reason::UnknownJson),
        (json!(3), Reason::UnknownJson),
        (json!(null), Reason::UnknownJson),
    ] {
        let good = STANDARD.encode(&gzipped);
        let records = json!({"Records": [{"kinesis": {"data": data}}, {"kinesis": {"data": good}}, {"s3": {}}]});
        let seen = decoded(&records.to_string());
        assert_eq!((seen.audit.len(), seen.count()), (1, 3), "{data}");
        assert_eq!(seen.rejected[0].0, reason, "{data}");
        let seen = decoded(&json!({"awslogs": {"data": data}}).to_string());
        assert_eq!((seen.rejected[0].0, seen.count()), (reason, 1), "{data}");
    }
}

#[test]
fn no_wrapped_payload_is_kept_in_clear_when_it_is_rejected() {
    let redactor = crate::event::redact::Redactor::new([7; 32]);
    let secret = STANDARD.encode("{\"kind\":\"Secret\",\"data\":{\"p\":\"hunter2\"}}");
    for record in [
        json!({"awslogs": {"data": format!("{secret}%")}}),
        json!({"kinesis": {"data": secret}}),
        json!({"recordId": "4", "data": secret}),
    ] {
        let text = record.to_string();
        let kept = redactor.redact_rejected(text.as_bytes());
        assert!(
            !String::from_utf8_lossy(&kept).contains(&secret[..20]),
            "{text}"
        );
    }
}

#[test]
fn a_cut_message_is_salvaged_with_the_time_of_its_log_event() {
    let cut = format!("{}[Truncated...]", &EVENT[..EVENT.find("u003c").unwrap()]);
    let seen = decoded(&payload(AUDIT_STREAM, &[&cut]).to_string());
    assert!(seen.audit[0].is_cut);
    let mut without_time = payload("other", &[&cut]);
    without_time["logEvents"][0]["timestamp"] = Value::Null;
    let seen = decoded(&without_time.to_string());
    assert_eq!(seen.rejected[0].0, Reason::TruncatedJson);
}

#[test]
fn what_is_no_log_event_is_a_rejection() {
    let good = payload(AUDIT_STREAM, &[EVENT]);
    for (name, bad) in [
        ("message", json!(null)),
        ("message", json!(3)),
        ("message", json!([])),
    ] {
        let mut payload = good.clone();
        payload["logEvents"][0][name] = bad;
        let seen = decoded(&payload.to_string());
        assert_eq!((seen.rejected.len(), seen.count()), (1, 1));
    }
    let mut payload = good.clone();
    payload["logEvents"] = json!("x");
    assert_eq!(decoded(&payload.to_string()).rejected.len(), 1);
    let twice = good.to_string().replacen('{', "{\"owner\":\"2\",", 1);
    assert_eq!(decoded(&twice).rejected[0].0, Reason::InvalidJson);
}

#[test]
fn rows_of_logs_insights_are_log_events() {
    let field = |name: &str, value: &str| json!({"field": name, "value": value});
    let row = |stream: &str, message: &str| {
        json!([
            field("@timestamp", "2023-07-31 01:58:12.101"),
            field("@message", message),
            field("@logStream", stream),
            field("@log", "466412623878:/aws/eks/eksworkshop-eksctl/cluster"),
            field("@ptr", "CnUK"),
            field("verb", "update")
        ])
    };
    let answer = json!({"results": [row(AUDIT_STREAM, EVENT), row("kube-scheduler-1", KLOG), [field("@ptr", "x")], 3],
                        "statistics": {}, "status": "Complete"});
    let seen = decoded(&answer.to_string());
    assert_eq!(seen.count(), 4);
    let audit = &seen.audit[0];
    assert_eq!(audit.cluster.as_deref(), Some("eksworkshop-eksctl"));
    assert_eq!(audit.api_server.as_deref(), Some(AUDIT_STREAM));
    assert_eq!(audit.time.as_deref(), Some("2023-07-31 01:58:12.101"));
    assert_eq!(
        audit.envelope,
        json!({"@logStream": AUDIT_STREAM, "@log": "466412623878:/aws/eks/eksworkshop-eksctl/cluster", "@ptr": "CnUK"})
    );
    let line = &seen.lines[0];
    assert_eq!(
        line.time,
        Micros::parse("2023-07-31T01:58:12.101Z").map(|t| t.0)
    );
    assert_eq!(line.id.as_deref(), Some("CnUK"));
    assert_eq!(seen.rejected[0].1, "@message is missing");
}

#[test]
fn the_consoles_export_holds_the_event_as_an_object() {
    let rows = format!(
        "[\n  {{\n    \"@message\": {EVENT}\n  }},\n {{\"@message\":{}, \"@timestamp\":\"2023-07-31 01:58:12.101\"}}]",
        json!(EVENT)
    );
    let seen = decoded(&rows);
    assert_eq!((seen.audit.len(), seen.count()), (2, 2));
    assert_eq!(seen.audit[0].envelope, json!({"@message": {}}));
    assert_eq!(seen.audit[1].envelope, json!({}));
}

#[test]
fn documents_of_opensearch_keep_what_the_message_does_not_tell() {
    let event: Value = serde_json::from_str(EVENT).unwrap();
    let mut source = event.clone();
    for (name, value) in [
        ("@id", ID),
        ("@timestamp", "2023-01-01T00:00:00.000Z"),
        ("@message", EVENT),
        ("@owner", "1"),
        ("@log_group", "/aws/eks/Prod/cluster"),
        ("@log_stream", AUDIT_STREAM),
        ("tag", "mine"),
    ] {
        source[name] = value.into();
    }
    source["$requestObject"] = event["requestObject"].clone();
    let document = json!({"_index": "cwl-2023.01.01", "_id": ID, "_score": 1, "_source": source});
    let rest = json!({"@id": ID, "@owner": "1", "@log_group": "/aws/eks/Prod/cluster", "@log_stream": AUDIT_STREAM, "tag": "mine"});
    let whole = json!({"_index": "cwl-2023.01.01", "_id": ID, "_score": 1, "_source": rest});
    let hits = json!({"took": 1, "hits": {"total": 2, "hits": [document, document]}});
    for (text, count, envelope) in [
        (source.to_string(), 1, &rest),
        (document.to_string(), 1, &whole),
        (hits.to_string(), 2, &whole),
    ] {
        let seen = decoded(&text);
        assert_eq!((seen.audit.len(), seen.count()), (count, count), "{seen:?}");
        assert_eq!(&seen.audit[0].envelope, envelope);
        assert_eq!(seen.audit[0].cluster.as_deref(), Some("prod"));
        assert_eq!(
            seen.audit[0].time.as_deref(),
            Some("2023-01-01T00:00:00.000Z")
        );
    }
    source["@message"] = KLOG.into();
    let seen = decoded(&source.to_string());
    assert_eq!(
        seen.rejected[0].0,
        Reason::UnknownJson,
        "a body beside the message: {seen:?}"
    );
}

const URI: &str = "s3://bucket/exportedlogs/0e8f1b7a/kube-apiserver-audit-4e9f/000000.gz";

#[test]
fn an_exported_object_is_told_by_its_address_and_its_first_line() {
    let export = ExportStream {
        task: "0e8f1b7a",
        stream: "kube-apiserver-audit-4e9f",
    };
    assert_eq!(export_stream_of(URI), Some(export));
    assert_eq!(
        export_stream_of("/x/t/s/000012"),
        Some(ExportStream {
            task: "t",
            stream: "s"
        })
    );
    for other in [
        "s/000000.gz",
        "/x/t/s/00000.gz",
        "/x/t/s/a00000.gz",
        "b/aws-logs-write-test",
        "",
    ] {
        assert_eq!(export_stream_of(other), None, "{other}");
    }
    for (head, is) in [
        (&b"2026-11-20T11:20:57.558Z I1120"[..], true),
        (b"1795173658524 {\"kind\"", true),
        (b"2026-11-20T11:20:57.558Z \xff\xfe\n", true),
        (b"2026-11-20T11:20:57.558Z", true),
        (b"I1120 11:20:57", false),
        (b"{\"kind\":\"Event\"}", false),
        (b"20261120 x", false),
        (b"", false),
    ] {
        assert_eq!(is_export(URI, head), is, "{head:?}");
    }
}

fn exported(stream: &str, lines: &[&str]) -> Seen {
    let context = ExportContext {
        stream: stream.to_owned(),
        cluster: Some("prod".to_owned()),
    };
    let mut seen = Seen::default();
    for line in lines {
        decode_export_line(line.as_bytes(), &context, &mut |record| seen.take(record));
    }
    assert_eq!(seen.count(), lines.len());
    seen
}

#[test]
fn exported_lines_are_events_or_lines_by_their_stream() {
    let line = format!("2026-11-20T11:20:57.558Z {EVENT}");
    let epoch = format!("1795173658524 {EVENT}");
    let seen = exported(AUDIT_STREAM, &[&line, &epoch, "  continued", WRITE_TEST]);
    assert_eq!(
        (seen.audit.len(), seen.rejected.len(), seen.dropped),
        (2, 1, 1)
    );
    assert_eq!(
        seen.audit[0].time.as_deref(),
        Some("2026-11-20T11:20:57.558Z")
    );
    assert_eq!(seen.audit[1].time.as_deref(), Some("1795173658524"));
    assert_eq!(seen.audit[0].api_server.as_deref(), Some(AUDIT_STREAM));
    assert_eq!(seen.rejected[0].0, Reason::UnknownText);

    let line = format!("2026-11-20T11:20:57.558Z {KLOG}");
    let seen = exported(
        "kube-scheduler-1",
        &[&line, "\tindented", "2026-11-20T11:20:57.558Z"],
    );
    let texts: Vec<&str> = seen.lines.iter().map(|l| &*l.text).collect();
    assert_eq!(texts, [KLOG, "\tindented", ""]);
    assert_eq!(seen.lines[0].cluster.as_deref(), Some("prod"));
    assert_eq!(seen.lines[0].component.as_deref(), Some("kube-scheduler"));
    assert!(seen.lines[0].time.is_some() && seen.lines[1].time.is_none());

    let context = Context::of(URI, line.as_bytes(), Some("Prod"));
    let mut seen = Seen::default();
    decode_frame_of(
        format!("1795173658524 {EVENT}").as_bytes(),
        &context,
        &mut |r| seen.take(r),
    );
    assert_eq!(seen.audit[0].cluster.as_deref(), Some("prod"));
}

proptest! {
    #[test]
    fn each_log_event_gives_one_record_whatever_its_message(messages in prop::collection::vec("\\PC{0,40}", 0..6), stream in prop::sample::select(vec![AUDIT_STREAM, "kube-scheduler-1", "x", ""])) {
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let text = payload(stream, &messages).to_string();
        prop_assert_eq!(decoded(&text).count(), messages.len());
        let wrapped = json!({"awslogs": {"data": STANDARD.encode(gzip(&text))}}).to_string();
        prop_assert_eq!(decoded(&wrapped), decoded(&text));
    }

    #[test]
    fn a_cut_event_gives_one_record(at in 0usize..EVENT.len(), mark in any::<bool>()) {
        let cut = format!("{}{}", &EVENT[..at], if mark { "[Truncated...]" } else { "" });
        prop_assert_eq!(decoded(&payload(AUDIT_STREAM, &[&cut, EVENT]).to_string()).count(), 2);
    }

    #[test]
    fn mangled_payloads_give_no_panic(at in 0usize..2000, what in "[\\PC\"\\\\{}\\[\\],:]{0,6}", cut in 0usize..40, wrap in 0u8..3) {
        let text = payload(AUDIT_STREAM, &[EVENT, KLOG]).to_string();
        let edge = |i: usize, t: &str| (0..=i.min(t.len())).rev().find(|i| t.is_char_boundary(*i)).unwrap_or(0);
        let mangle = |t: &str| format!("{}{what}{}", &t[..edge(at, t)], &t[edge(at + cut, t)..]);
        let mangled = match wrap {
            0 => mangle(&text),
            1 => mangle(&json!({"awslogs": {"data": STANDARD.encode(gzip(&text))}}).to_string()),
            _ => json!({"awslogs": {"data": STANDARD.encode(mangle(&text))}}).to_string(),
        };
        prop_assert!(decoded(&mangled).count() >= 1);
    }
}
