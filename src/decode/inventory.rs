//! Rows of the tables that Container Insights fills, as Log Analytics exports them. Most are polled
//! samples of state: common columns typed, the row kept whole. ContainerLogV2 and ContainerLog hold
//! lines that containers wrote.

use std::borrow::Cow;

use crate::{
    decode::{
        Record, Shape, aks, json_text,
        object::{JsonObject, check_names_differ, without_newline, wrapper_time},
        reject::{Reason, Reject},
    },
    event::{
        audit::Text,
        component::{LineOrigin, LogLine, Wrapper},
        inventory::InventoryRow,
    },
};

/// The table that an object of the data export holds, by its container: `am-<Table>`.
pub fn table_of(uri: &str) -> Option<&str> {
    uri.split(['/', '\\'])
        .filter_map(|segment| segment.strip_prefix("am-"))
        .find(|table| {
            !table.is_empty()
                && table
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
}

/// True if it looks like a row that does not name its table.
pub fn is_row_without_table(shape: &Shape<'_>) -> bool {
    shape.get("TimeGenerated").is_some()
        && shape.text("Type").is_none_or(|table| table.is_empty())
        && !aks::is_aks(shape)
}

/// Decodes a row and hands it to `sink`, which is called once if this succeeds. `text` is the row.
///
/// # Errors
/// If a column stands twice, if there is no time, or if a row of a log table has no line.
pub fn decode(
    shape: &Shape<'_>,
    table: &str,
    text: &str,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    check_names_differ(shape)?;
    let is = |name: &str| table.eq_ignore_ascii_case(name);
    if is("ContainerLogV2") {
        decode_line(shape, &LOG_V2, text.len(), sink)
    } else if is("ContainerLog") {
        decode_line(shape, &LOG_V1, text.len(), sink)
    } else {
        let row = sample(shape, table, text)?;
        sink(Record::Inventory(Box::new(row), text.len()));
        Ok(())
    }
}

/// Where a log table has what.
struct LogColumns {
    line: &'static str,
    namespace: &'static str,
    pod: &'static str,
    container: [&'static str; 2],
    stream: &'static str,
}

const LOG_V2: LogColumns = LogColumns {
    line: "LogMessage",
    namespace: "PodNamespace",
    pod: "PodName",
    container: ["ContainerName", "ContainerId"],
    stream: "LogSource",
};

const LOG_V1: LogColumns = LogColumns {
    line: "LogEntry",
    namespace: "",
    pod: "",
    container: ["Name", "ContainerID"],
    stream: "LogEntrySource",
};

fn decode_line(
    shape: &Shape<'_>,
    columns: &LogColumns,
    length: usize,
    sink: &mut dyn FnMut(Record<'_>),
) -> Result<(), Reject> {
    let message = shape.get(columns.line).map_or("", |v| v.get());
    // A line that is JSON comes as an object; `{}` in its place tells.
    let is_object = message.starts_with('{');
    let text = match message.as_bytes().first() {
        Some(b'{') => Cow::Borrowed(message),
        _ => json_text(message).ok_or_else(|| {
            let detail = format!(
                "{} is neither text nor an object: no log line",
                columns.line
            );
            Reject::new(Reason::UnsupportedCategory, detail)
        })?,
    };
    let mut json = JsonObject::with_capacity(512);
    for (name, value) in &shape.fields {
        if name == columns.line {
            if is_object {
                json.push(name, "{}");
            }
        } else if name != "TimeGenerated" || !value.get().starts_with('"') {
            json.push(name, value.get());
        }
    }
    let time_text = shape.text("TimeGenerated");
    let name = filled(shape, columns.container[0]);
    let origin = LineOrigin {
        wrapper: Wrapper::ContainerInsights,
        cluster: cluster(shape),
        component: name.clone(),
        node: filled(shape, "Computer"),
        namespace: filled(shape, columns.namespace),
        pod: filled(shape, columns.pod),
        container: name.or_else(|| filled(shape, columns.container[1])),
        stream: filled(shape, columns.stream),
        time: time_text.as_deref().and_then(wrapper_time),
        time_text,
        event_id: None,
        envelope: Some(json.finish()),
    };
    sink(Record::Line(Box::new(LogLine {
        text: without_newline(text),
        origin,
        offset: 0,
        record_bytes: length,
    })));
    Ok(())
}

/// Where a table has what; an empty name is no column. In the order of [`Columns`].
struct Columns {
    table: &'static str,
    kind: &'static str,
    namespace: &'static str,
    name: &'static str,
    uid: &'static str,
    node: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

const NO_COLUMNS: Columns = Columns {
    table: "",
    kind: "",
    namespace: "",
    name: "",
    uid: "",
    node: "",
    status: "",
    reason: "",
    message: "",
};

/// A kind in lower case is meant as it stands; `ObjectKind` is a column.
const TABLES: [Columns; 10] = [
    Columns {
        table: "KubeEvents",
        kind: "ObjectKind",
        namespace: "Namespace",
        name: "Name",
        node: "Computer",
        status: "KubeEventType",
        reason: "Reason",
        message: "Message",
        ..NO_COLUMNS
    },
    Columns {
        table: "KubePodInventory",
        kind: "pod",
        namespace: "Namespace",
        name: "Name",
        uid: "PodUid",
        node: "Computer",
        status: "PodStatus",
        reason: "ContainerStatusReason",
        ..NO_COLUMNS
    },
    Columns {
        table: "KubeNodeInventory",
        kind: "node",
        name: "Computer",
        node: "Computer",
        status: "Status",
        ..NO_COLUMNS
    },
    Columns {
        table: "KubeServices",
        kind: "service",
        namespace: "Namespace",
        name: "ServiceName",
        ..NO_COLUMNS
    },
    Columns {
        table: "KubePVInventory",
        kind: "persistentvolume",
        namespace: "PVCNamespace",
        name: "PVName",
        status: "PVStatus",
        ..NO_COLUMNS
    },
    Columns {
        table: "KubeMonAgentEvents",
        node: "Computer",
        status: "Level",
        reason: "Category",
        message: "Message",
        ..NO_COLUMNS
    },
    Columns {
        table: "ContainerInventory",
        kind: "container",
        name: "Name",
        node: "Computer",
        status: "ContainerState",
        ..NO_COLUMNS
    },
    Columns {
        table: "ContainerNodeInventory",
        kind: "node",
        name: "Computer",
        node: "Computer",
        ..NO_COLUMNS
    },
    // Its Namespace is one of metrics.
    Columns {
        table: "InsightsMetrics",
        name: "Name",
        node: "Computer",
        ..NO_COLUMNS
    },
    Columns {
        table: "Perf",
        name: "InstanceName",
        node: "Computer",
        ..NO_COLUMNS
    },
];

fn sample<'a>(
    shape: &Shape<'a>,
    table: &'a str,
    text: &'a str,
) -> Result<InventoryRow<'a>, Reject> {
    let columns = TABLES
        .iter()
        .find(|columns| columns.table.eq_ignore_ascii_case(table))
        .unwrap_or(&NO_COLUMNS);
    let time = shape
        .text("TimeGenerated")
        .and_then(|text| wrapper_time(&text))
        .ok_or_else(|| {
            let detail = format!("table {table}: TimeGenerated is no time");
            Reject::new(Reason::NoTimestamp, detail)
        })?;
    let kind = match columns.kind {
        "ObjectKind" => {
            filled(shape, columns.kind).map(|kind| Cow::Owned(kind.to_ascii_lowercase()))
        }
        kind => (!kind.is_empty()).then_some(Cow::Borrowed(kind)),
    };
    let name = filled(shape, columns.name);
    let is_node = kind.as_deref() == Some("node");
    let seen = |column: &str| shape.text(column).and_then(|text| wrapper_time(&text));
    Ok(InventoryRow {
        time,
        table: Cow::Borrowed(table),
        cluster: cluster(shape),
        namespace: filled(shape, columns.namespace),
        // An Event of a node is about that node, whichever computer's agent polled it.
        node: name
            .clone()
            .filter(|_| is_node)
            .or_else(|| filled(shape, columns.node)),
        object_kind: kind,
        name,
        object_uid: filled(shape, columns.uid),
        status: filled(shape, columns.status),
        reason: filled(shape, columns.reason),
        message: filled(shape, columns.message),
        count: (columns.table == "KubeEvents")
            .then(|| integer(shape, "Count"))
            .flatten(),
        first_time: seen("FirstSeen"),
        last_time: seen("LastSeen"),
        record: Cow::Borrowed(text.trim()),
    })
}

/// The text of a column; none if it is empty, null or no text.
fn filled<'a>(shape: &Shape<'a>, column: &str) -> Option<Text<'a>> {
    shape.text(column).filter(|text| !text.is_empty())
}

/// A whole number, which may come as `3`, `3.0` or `"3"`.
fn integer(shape: &Shape<'_>, column: &str) -> Option<i64> {
    let json = shape.get(column)?.get();
    let digits = json.trim_matches('"');
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    digits.parse().ok()
}

/// The cluster by its own resource id, as in the other formats of Azure, else by its name. The id
/// of the row may be that of a machine.
fn cluster(shape: &Shape<'_>) -> Option<String> {
    filled(shape, "ClusterId")
        .filter(|id| id.contains('/'))
        .and_then(|id| aks::cluster_of_id(&id))
        .or_else(|| filled(shape, "ClusterName").map(|name| name.to_lowercase()))
        .or_else(|| filled(shape, "_ResourceId").and_then(|id| aks::cluster_of_id(&id)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        decode::{Context, decode_frame, decode_frame_of},
        event::time::Micros,
    };

    const CLUSTER: &str = "/subscriptions/x/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/AKS-Prod";

    fn row(table: &str, columns: Value) -> Value {
        let mut row = json!({
            "TenantId": "t", "TimeGenerated": "2026-11-20T11:21:00.1234567Z", "ClusterId": CLUSTER,
            "ClusterName": "aks-prod", "Computer": "aks-1", "_ResourceId": CLUSTER.to_lowercase(), "Type": table,
        });
        for (name, value) in columns.as_object().unwrap() {
            row[name] = value.clone();
        }
        row
    }

    fn sampled<T>(row: &Value, look: impl Fn(&InventoryRow<'_>) -> T) -> T {
        let text = row.to_string();
        let mut seen = Vec::new();
        decode_frame(text.as_bytes(), &mut |record| match record {
            Record::Inventory(sample, length) => {
                assert_eq!((length, &*sample.record), (text.len(), &*text));
                assert_eq!(sample.cluster.as_deref(), Some("aks-prod"));
                assert_eq!(
                    sample.time,
                    Micros::parse("2026-11-20T11:21:00.123456Z").unwrap()
                );
                seen.push(look(&sample));
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }

    fn places(row: &Value) -> [Option<String>; 8] {
        sampled(row, |r| {
            let places = [
                &r.object_kind,
                &r.namespace,
                &r.name,
                &r.object_uid,
                &r.node,
                &r.status,
                &r.reason,
                &r.message,
            ];
            places.map(|p| p.as_deref().map(str::to_owned))
        })
    }

    fn some(texts: [&str; 8]) -> [Option<String>; 8] {
        texts.map(|t| (!t.is_empty()).then(|| t.to_owned()))
    }

    #[test]
    fn each_known_table_fills_its_columns() {
        let event = row(
            "KubeEvents",
            json!({"Name": "web-0", "Namespace": "dev", "ObjectKind": "Pod", "KubeEventType": "Warning",
                   "Reason": "BackOff", "Message": "m", "Count": 3.0, "FirstSeen": "2026-11-20T11:20:00Z",
                   "LastSeen": "2026-11-20T11:21:00Z"}),
        );
        assert_eq!(
            places(&event),
            some([
                "pod", "dev", "web-0", "", "aks-1", "Warning", "BackOff", "m"
            ])
        );
        sampled(&event, |r| {
            assert_eq!(r.count, Some(3));
            assert_eq!(r.first_time, Micros::parse("2026-11-20T11:20:00Z"));
            assert_eq!(r.last_time, Micros::parse("2026-11-20T11:21:00Z"));
        });
        let event = row("KubeEvents", json!({"Name": "aks-7", "ObjectKind": "Node"}));
        assert_eq!(
            places(&event),
            some(["node", "", "aks-7", "", "aks-7", "", "", ""])
        );
        let pod = row(
            "kubepodinventory",
            json!({"Name": "web-0", "Namespace": "dev", "PodUid": "u", "PodStatus": "Running", "Computer": "",
                   "ContainerStatusReason": "CrashLoopBackOff"}),
        );
        assert_eq!(
            places(&pod),
            some([
                "pod",
                "dev",
                "web-0",
                "u",
                "",
                "Running",
                "CrashLoopBackOff",
                ""
            ])
        );
        let node = row(
            "KubeNodeInventory",
            json!({"Status": "MemoryPressure,Ready"}),
        );
        assert_eq!(
            places(&node),
            some([
                "node",
                "",
                "aks-1",
                "",
                "aks-1",
                "MemoryPressure,Ready",
                "",
                ""
            ])
        );
        let volume = row(
            "KubePVInventory",
            json!({"PVName": "pv", "PVCNamespace": "dev", "PVStatus": "Bound"}),
        );
        assert_eq!(
            places(&volume),
            some(["persistentvolume", "dev", "pv", "", "", "Bound", "", ""])
        );
        let service = row(
            "KubeServices",
            json!({"ServiceName": "web", "Namespace": "dev"}),
        );
        assert_eq!(
            places(&service),
            some(["service", "dev", "web", "", "", "", "", ""])
        );
        let agent = row(
            "KubeMonAgentEvents",
            json!({"Level": "Warning", "Category": "c", "Message": "m"}),
        );
        assert_eq!(
            places(&agent),
            some(["", "", "", "", "aks-1", "Warning", "c", "m"])
        );
        let metric = row(
            "InsightsMetrics",
            json!({"Name": "kubelet_running_pods", "Namespace": "prometheus"}),
        );
        assert_eq!(
            places(&metric),
            some(["", "", "kubelet_running_pods", "", "aks-1", "", "", ""])
        );
        let unknown = row("Heartbeat", json!({"Name": "n", "Message": "m"}));
        assert_eq!(places(&unknown), some([""; 8]));
    }

    fn line<T>(row: &Value, look: impl Fn(&LogLine<'_>) -> T) -> T {
        let mut seen = Vec::new();
        decode_frame(row.to_string().as_bytes(), &mut |record| match record {
            Record::Line(line) => seen.push(look(&line)),
            other => panic!("{other:?}"),
        });
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }

    #[test]
    fn rows_of_log_tables_are_lines() {
        let columns = json!({"PodName": "web-0", "PodNamespace": "dev", "ContainerName": "web", "ContainerId": "c",
            "LogSource": "stderr", "LogMessage": "E1120 11:21:00.1 1 a.go:1] x\n"});
        let v2 = row("ContainerLogV2", columns.clone());
        line(&v2, |l| {
            let o = &l.origin;
            assert_eq!(l.text, "E1120 11:21:00.1 1 a.go:1] x");
            assert_eq!(o.wrapper, Wrapper::ContainerInsights);
            assert_eq!(o.cluster.as_deref(), Some("aks-prod"));
            let told = [
                &o.node,
                &o.namespace,
                &o.pod,
                &o.container,
                &o.stream,
                &o.component,
            ];
            let told = told.map(|t| t.as_deref().unwrap());
            assert_eq!(told, ["aks-1", "dev", "web-0", "web", "stderr", "web"]);
            let envelope: Value = serde_json::from_str(o.envelope.as_deref().unwrap()).unwrap();
            assert_eq!(envelope.get("LogMessage"), None);
            assert_eq!(envelope.get("TimeGenerated"), None);
            assert_eq!(envelope["ContainerId"], "c");
        });
        let mut object = v2.clone();
        object["LogMessage"] = json!({"msg": "x"});
        line(&object, |l| {
            assert_eq!(l.text, r#"{"msg":"x"}"#);
            assert!(
                l.origin
                    .envelope
                    .as_deref()
                    .unwrap()
                    .contains("\"LogMessage\":{}")
            );
        });
        let v1 = row(
            "ContainerLog",
            json!({"LogEntry": "x", "LogEntrySource": "stdout", "ContainerID": "c"}),
        );
        line(&v1, |l| {
            assert_eq!(l.origin.container.as_deref(), Some("c"));
            assert_eq!(l.origin.stream.as_deref(), Some("stdout"));
        });
        for bad in [json!(null), json!(3), json!([1])] {
            let mut row = v2.clone();
            row["LogMessage"] = bad;
            decode_frame(row.to_string().as_bytes(), &mut |record| match record {
                Record::Rejected(reject, _) => {
                    assert_eq!(reject.reason, Reason::UnsupportedCategory)
                }
                other => panic!("{other:?}"),
            });
        }
    }

    #[test]
    fn a_row_without_its_table_takes_that_of_its_path() {
        let uri = "az://account/am-KubeEvents/WorkspaceResourceId=/subscriptions/x/y=2026/m=11/d=20/h=11/m=20/PT05M.json";
        assert_eq!(table_of(uri), Some("KubeEvents"));
        assert_eq!(table_of("/data/am-/x.json"), None);
        let context = Context::of(uri, b"{", None);
        let mut event = row("", json!({"Name": "web-0", "ObjectKind": "Pod"}));
        for type_column in [Value::Null, json!("")] {
            event["Type"] = type_column;
            let mut tables = Vec::new();
            decode_frame_of(
                event.to_string().as_bytes(),
                &context,
                &mut |record| match record {
                    Record::Inventory(sample, _) => tables.push(sample.table.to_string()),
                    other => panic!("{other:?}"),
                },
            );
            assert_eq!(tables, ["KubeEvents"]);
        }
        event["Type"] = "Perf".into();
        decode_frame_of(event.to_string().as_bytes(), &context, &mut |record| {
            assert!(matches!(record, Record::Inventory(sample, _) if sample.table == "Perf"));
        });
        event["TimeGenerated"] = "yesterday".into();
        decode_frame_of(event.to_string().as_bytes(), &context, &mut |record| {
            assert!(matches!(record, Record::Rejected(r, _) if r.reason == Reason::NoTimestamp));
        });
    }

    proptest! {
        #[test]
        fn mangled_rows_give_one_record_and_no_panic(at in 0usize..400, what in "[\\PC\"\\\\{}\\[\\],:]{0,6}", cut in 0usize..40) {
            let text = row("KubeEvents", json!({"Name": "web-0", "Count": 3})).to_string();
            let end = text.len();
            let mangled = format!("{}{what}{}", &text[..at.min(end)], &text[(at + cut).min(end)..]);
            let context = Context { table: Some("KubeEvents".to_owned()), export: None };
            let mut count = 0;
            decode_frame_of(mangled.as_bytes(), &context, &mut |_| count += 1);
            prop_assert!(count >= 1);
        }
    }
}
