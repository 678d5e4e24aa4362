//! The columns of every table: name, type and meaning, as data. The Arrow schema, the Delta schema,
//! `kolumn tables NAME` and the check that docs/format.md is complete all come from these lists, so
//! a column is added in one place. Names follow the Kubernetes API in snake_case and are public:
//! add at the end, never rename.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// The tables of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableName {
    /// One audit event (one stage of one request) a row.
    Audit,
    /// One entry of a component's log a row.
    Component,
    /// One polled sample of an object a row.
    Inventory,
    /// One input record that could not be decoded a row.
    Rejected,
    /// One state of one object range of a batch a row.
    Ledger,
}

impl TableName {
    /// Every table, in the order they are shown.
    pub const ALL: [Self; 5] = [
        Self::Audit,
        Self::Component,
        Self::Inventory,
        Self::Rejected,
        Self::Ledger,
    ];

    /// The table's name in SQL and its folder in the archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Component => "component",
            Self::Inventory => "inventory",
            Self::Rejected => "rejected",
            Self::Ledger => "ledger",
        }
    }

    /// One line on what a row is.
    pub fn title(self) -> &'static str {
        match self {
            Self::Audit => "one audit event: one stage of one request to an API server",
            Self::Component => {
                "one log entry of a control-plane component, kubelet, kube-proxy or authenticator"
            }
            Self::Inventory => {
                "one polled sample of an object: a row of a Container Insights table"
            }
            Self::Rejected => "one input record that could not be decoded: bytes, origin, reason",
            Self::Ledger => {
                "one state of one object range of a batch: what was read, how it was counted"
            }
        }
    }

    /// The columns, partition columns first.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Audit => &AUDIT,
            Self::Component => &COMPONENT,
            Self::Inventory => &INVENTORY,
            Self::Rejected => &REJECTED,
            Self::Ledger => &LEDGER,
        }
    }

    /// The partition columns, in path order.
    pub fn partition_columns(self) -> &'static [&'static str] {
        match self {
            Self::Audit | Self::Component | Self::Inventory | Self::Rejected => {
                &["cluster", "date"]
            }
            Self::Ledger => &["source"],
        }
    }

    /// The columns by which the rows of a file are sorted, ascending, nulls last.
    pub fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Self::Audit => &["resource", "namespace", "name", "stage_timestamp"],
            Self::Component => &["component", "time"],
            Self::Inventory => &["source_table", "namespace", "name", "time"],
            Self::Rejected => &["source_uri", "source_offset"],
            Self::Ledger => &[],
        }
    }

    /// The columns whose bounds go to the Delta log, by which whole files are skipped.
    pub fn bounded_columns(self) -> &'static [&'static str] {
        match self {
            Self::Audit => &[
                "stage_timestamp",
                "request_received_timestamp",
                "resource",
                "namespace",
                "name",
                "supersedes",
            ],
            Self::Component => &["time", "component"],
            Self::Inventory => &["time", "source_table", "namespace", "name"],
            Self::Rejected => &["source_uri", "ingested_at"],
            Self::Ledger => &["batch", "recorded_at"],
        }
    }

    /// The columns that hold what was sent, answered or written, whole or in part: someone who may not
    /// see bodies sees null.
    pub fn body_columns(self) -> &'static [&'static str] {
        match self {
            Self::Audit => &[
                "request_object",
                "response_object",
                "annotations",
                "extra",
                "containers",
                "event_message",
                "envelope",
                "legacy_line",
            ],
            Self::Component => &["message", "fields", "record", "envelope"],
            Self::Inventory => &["message", "record"],
            Self::Rejected => &["detail", "record"],
            Self::Ledger => &[],
        }
    }

    /// The columns that hold every text of a record: other text columns were read from these, or tell
    /// where it came from. Empty: the table is not searched.
    pub fn searched_columns(self) -> &'static [&'static str] {
        match self {
            Self::Audit => &[
                "request_uri",
                "request_object",
                "response_object",
                "username",
                "impersonated_user",
                "user_agent",
                "user_groups",
                "user_uid",
                "user_extra",
                "source_ips",
                "resource",
                "subresource",
                "namespace",
                "name",
                "object_uid",
                "resource_version",
                "api_group",
                "api_version",
                "response_status",
                "annotations",
                "verb",
                "level",
                "stage",
                "audit_id",
                "extra",
                "legacy_line",
                "envelope",
            ],
            Self::Component => &["record", "component", "source_node", "source_pod"],
            Self::Inventory | Self::Rejected | Self::Ledger => &[],
        }
    }

    /// The Arrow schema of the whole table: partition columns, then the columns of a file.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 5]> =
            LazyLock::new(|| TableName::ALL.map(|t| schema_of(t.columns().iter())));
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// The Arrow schema of a data file: the table's without its partition columns.
    pub fn file_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 5]> = LazyLock::new(|| {
            TableName::ALL.map(|t| schema_of(t.columns().iter().skip(t.partition_columns().len())))
        });
        Arc::clone(&SCHEMAS[self as usize])
    }
}

fn schema_of<'a>(columns: impl Iterator<Item = &'a Column>) -> SchemaRef {
    Arc::new(Schema::new(
        columns
            .map(|c| Field::new(c.name, c.kind.data_type(), true))
            .collect::<Fields>(),
    ))
}

/// One column: its public name, its type and what it means.
#[derive(Debug)]
pub struct Column {
    /// Name in SQL and in the files.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Meaning, unit and origin, for people.
    pub doc: &'static str,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// UTF-8 text that is a JSON value, exactly as received.
    Json,
    /// Microseconds since the epoch, UTC.
    Time,
    /// A UTC day.
    Day,
    /// A 32-bit integer.
    Int,
    /// A 64-bit integer.
    Long,
    /// True or false.
    Flag,
    /// Raw bytes.
    Bytes,
    /// A list of texts.
    Texts,
    /// A list of `metav1.OwnerReference`.
    OwnerReferences,
    /// A list of conditions (`metav1.Condition`, `v1.NodeCondition`, `v1.PodCondition`).
    Conditions,
    /// A list of `v1.Taint`.
    Taints,
    /// A list of containers, of a pod or of a workload's pod template.
    Containers,
}

impl Kind {
    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text | Self::Json => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Day => DataType::Date32,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Flag => DataType::Boolean,
            Self::Bytes => DataType::Binary,
            Self::Texts => list_of(DataType::Utf8),
            Self::OwnerReferences => list_of(DataType::Struct(owner_reference_fields())),
            Self::Conditions => list_of(DataType::Struct(condition_fields())),
            Self::Taints => list_of(DataType::Struct(taint_fields())),
            Self::Containers => list_of(DataType::Struct(container_fields())),
        }
    }

    /// The type as docs and `kolumn tables` show it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "text (JSON)",
            Self::Time => "timestamp",
            Self::Day => "date",
            Self::Int => "int",
            Self::Long => "bigint",
            Self::Flag => "boolean",
            Self::Bytes => "binary",
            Self::Texts => "list<text>",
            Self::OwnerReferences => "list<struct<api_version, kind, name, uid, controller>>",
            Self::Conditions => {
                "list<struct<type, status, reason, message, last_transition_time, last_heartbeat_time>>"
            }
            Self::Taints => "list<struct<key, value, effect>>",
            Self::Containers => "list<struct<name, image, command, args, init>>",
        }
    }
}

/// The element field of every list, named as Delta names it.
pub fn list_element(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", data_type, true))
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(list_element(data_type))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// Fields of one owner reference.
pub fn owner_reference_fields() -> Fields {
    Fields::from(vec![
        text("api_version"),
        text("kind"),
        text("name"),
        text("uid"),
        Field::new("controller", DataType::Boolean, true),
    ])
}

/// Fields of one condition.
pub fn condition_fields() -> Fields {
    Fields::from(vec![
        text("type"),
        text("status"),
        text("reason"),
        text("message"),
        Field::new("last_transition_time", Kind::Time.data_type(), true),
        Field::new("last_heartbeat_time", Kind::Time.data_type(), true),
    ])
}

/// Fields of one taint.
pub fn taint_fields() -> Fields {
    Fields::from(vec![text("key"), text("value"), text("effect")])
}

/// Fields of one container.
pub fn container_fields() -> Fields {
    Fields::from(vec![
        text("name"),
        text("image"),
        Field::new("command", list_of(DataType::Utf8), true),
        Field::new("args", list_of(DataType::Utf8), true),
        Field::new("init", DataType::Boolean, true),
    ])
}

const fn column(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, doc }
}

static AUDIT: [Column; 83] = [
    column(
        "cluster",
        Kind::Text,
        "name of the cluster: --cluster, or the last part of the AKS resource id in lower case, or `default`",
    ),
    column("date", Kind::Day, "UTC day of stage_timestamp"),
    column(
        "stage_timestamp",
        Kind::Time,
        "when the stage was reached (stageTimestamp; the received time where the format has no other)",
    ),
    column(
        "request_received_timestamp",
        Kind::Time,
        "when the request reached the API server (requestReceivedTimestamp)",
    ),
    column(
        "audit_id",
        Kind::Text,
        "auditID; chosen by the client if it sends an Audit-ID header, so not an identity",
    ),
    column(
        "stage",
        Kind::Text,
        "RequestReceived, ResponseStarted, ResponseComplete or Panic",
    ),
    column(
        "level",
        Kind::Text,
        "audit policy level: Metadata, Request or RequestResponse",
    ),
    column(
        "verb",
        Kind::Text,
        "get, list, watch, create, update, patch, delete, deletecollection, or the lower-case HTTP method of a non-resource request",
    ),
    column(
        "request_uri",
        Kind::Text,
        "request URI as sent by the client",
    ),
    column(
        "username",
        Kind::Text,
        "user.username: who was authenticated; null on 401",
    ),
    column("user_uid", Kind::Text, "user.uid"),
    column("user_groups", Kind::Texts, "user.groups"),
    column("user_extra", Kind::Json, "user.extra"),
    column("impersonated_user", Kind::Json, "impersonatedUser, whole"),
    column(
        "source_ips",
        Kind::Texts,
        "sourceIPs; all but the last can be made up by the client",
    ),
    column("user_agent", Kind::Text, "userAgent; made up by the client"),
    column(
        "api_group",
        Kind::Text,
        "objectRef.apiGroup; null for the core group",
    ),
    column("api_version", Kind::Text, "objectRef.apiVersion"),
    column("resource", Kind::Text, "objectRef.resource, plural"),
    column("subresource", Kind::Text, "objectRef.subresource"),
    column("namespace", Kind::Text, "objectRef.namespace"),
    column(
        "name",
        Kind::Text,
        "name of the object: objectRef.name, else from the response body, else from the request body; see name_source",
    ),
    column(
        "object_uid",
        Kind::Text,
        "uid of the object: objectRef.uid, else metadata.uid of a body; see object_uid_source",
    ),
    column(
        "resource_version",
        Kind::Text,
        "resource version: objectRef.resourceVersion, else metadata.resourceVersion of the response body; see resource_version_source",
    ),
    column(
        "response_code",
        Kind::Int,
        "responseStatus.code, the HTTP status",
    ),
    column("response_reason", Kind::Text, "responseStatus.reason"),
    column("response_message", Kind::Text, "responseStatus.message"),
    column("response_status", Kind::Json, "responseStatus, whole"),
    column("annotations", Kind::Json, "annotations, whole"),
    column(
        "authorization_decision",
        Kind::Text,
        "annotation authorization.k8s.io/decision: allow or forbid",
    ),
    column(
        "authorization_reason",
        Kind::Text,
        "annotation authorization.k8s.io/reason",
    ),
    column(
        "request_object",
        Kind::Json,
        "requestObject exactly as received (secrets redacted unless --no-redaction)",
    ),
    column(
        "response_object",
        Kind::Json,
        "responseObject exactly as received (secrets redacted unless --no-redaction)",
    ),
    column(
        "extra",
        Kind::Json,
        "top-level fields of the event that no column holds, or that a column holds only in part; overlays the columns on export",
    ),
    column("source_uri", Kind::Text, "object the event was read from"),
    column(
        "source_offset",
        Kind::Long,
        "byte offset, in the decompressed object, of the line or JSON document the event was read from",
    ),
    column(
        "name_source",
        Kind::Text,
        "where name comes from: objectRef, responseObject or requestObject",
    ),
    column(
        "object_uid_source",
        Kind::Text,
        "where object_uid comes from: objectRef, responseObject or requestObject",
    ),
    column(
        "resource_version_source",
        Kind::Text,
        "where resource_version comes from: objectRef or responseObject",
    ),
    column(
        "impersonated_username",
        Kind::Text,
        "impersonatedUser.username: on whose behalf the request was made",
    ),
    column(
        "request_object_state",
        Kind::Text,
        "present, absent (not logged at this level, or no body), skipped (AKS: skipped-too-big-size-object) or truncated (audit.k8s.io/truncated)",
    ),
    column(
        "response_object_state",
        Kind::Text,
        "present, absent, skipped or truncated, as request_object_state",
    ),
    column("request_kind", Kind::Text, "kind of the request body"),
    column(
        "response_kind",
        Kind::Text,
        "kind of the response body, such as Pod, PodList or Status",
    ),
    column(
        "facts_source",
        Kind::Text,
        "body the columns from generate_name to containers were read from: responseObject or requestObject (then only what the request asked for)",
    ),
    column("generate_name", Kind::Text, "metadata.generateName"),
    column(
        "creation_timestamp",
        Kind::Time,
        "metadata.creationTimestamp",
    ),
    column(
        "deletion_timestamp",
        Kind::Time,
        "metadata.deletionTimestamp: the object is being deleted and will be gone by then",
    ),
    column(
        "owner_references",
        Kind::OwnerReferences,
        "metadata.ownerReferences",
    ),
    column("node_name", Kind::Text, "spec.nodeName of a pod"),
    column(
        "phase",
        Kind::Text,
        "status.phase of a pod, namespace or volume",
    ),
    column(
        "conditions",
        Kind::Conditions,
        "status.conditions; from a patch, only the conditions and fields it sets",
    ),
    column(
        "unschedulable",
        Kind::Flag,
        "spec.unschedulable of a node (false when a full node body has none); from a patch, what it sets",
    ),
    column("taints", Kind::Taints, "spec.taints of a node"),
    column(
        "containers",
        Kind::Containers,
        "containers and init containers of a pod or of a workload's pod template",
    ),
    column(
        "binding_target",
        Kind::Text,
        "pods/binding: the node the scheduler chose (target.name)",
    ),
    column(
        "delete_grace_period_seconds",
        Kind::Long,
        "DeleteOptions.gracePeriodSeconds of a delete or eviction",
    ),
    column(
        "delete_propagation_policy",
        Kind::Text,
        "DeleteOptions.propagationPolicy",
    ),
    column(
        "delete_precondition_uid",
        Kind::Text,
        "DeleteOptions.preconditions.uid",
    ),
    column(
        "event_type",
        Kind::Text,
        "Kubernetes Event: type, Normal or Warning",
    ),
    column("event_reason", Kind::Text, "Kubernetes Event: reason"),
    column(
        "event_message",
        Kind::Text,
        "Kubernetes Event: message (core/v1) or note (events.k8s.io/v1)",
    ),
    column(
        "event_count",
        Kind::Long,
        "Kubernetes Event: count, or series.count",
    ),
    column(
        "event_first_timestamp",
        Kind::Time,
        "Kubernetes Event: firstTimestamp, else eventTime",
    ),
    column(
        "event_last_timestamp",
        Kind::Time,
        "Kubernetes Event: lastTimestamp, else series.lastObservedTime, else eventTime",
    ),
    column(
        "event_reporter",
        Kind::Text,
        "Kubernetes Event: reportingComponent, else source.component",
    ),
    column(
        "event_host",
        Kind::Text,
        "Kubernetes Event: source.host, else reportingInstance",
    ),
    column(
        "regarding_kind",
        Kind::Text,
        "Kubernetes Event: kind of the object it is about (involvedObject or regarding)",
    ),
    column(
        "regarding_namespace",
        Kind::Text,
        "Kubernetes Event: namespace of the object it is about",
    ),
    column(
        "regarding_name",
        Kind::Text,
        "Kubernetes Event: name of the object it is about",
    ),
    column(
        "regarding_uid",
        Kind::Text,
        "Kubernetes Event: uid of the object it is about",
    ),
    column(
        "regarding_field_path",
        Kind::Text,
        "Kubernetes Event: field of the object it is about, such as spec.containers{web}",
    ),
    column(
        "replicas",
        Kind::Long,
        "spec.replicas of a workload or of a Scale",
    ),
    column(
        "supersedes",
        Kind::Flag,
        "true: a fuller copy of an event stored earlier with a skipped or truncated body; the view `events` shows only the fuller one",
    ),
    column(
        "redacted",
        Kind::Flag,
        "true: at least one value of a body was replaced by a marked placeholder",
    ),
    column(
        "format",
        Kind::Text,
        "what the record was decoded from: audit-json, audit-legacy, audit-webhook, aks-diagnostic, aks-table, cloudwatch, container-log",
    ),
    column(
        "api_server",
        Kind::Text,
        "API server replica, where the wrapper tells (AKS: pod)",
    ),
    column(
        "envelope",
        Kind::Json,
        "the wrapper around the event without its time and the event itself",
    ),
    column(
        "envelope_time",
        Kind::Text,
        "time field of the wrapper, as received",
    ),
    column(
        "request_object_bytes",
        Kind::Long,
        "length of requestObject as received, bytes",
    ),
    column(
        "response_object_bytes",
        Kind::Long,
        "length of responseObject as received, bytes",
    ),
    column(
        "record_bytes",
        Kind::Long,
        "length of the record as received (wrapper included where the record is one event), bytes",
    ),
    column(
        "legacy_line",
        Kind::Text,
        "legacy text format: the line, byte for byte",
    ),
];

static COMPONENT: [Column; 34] = [
    column("cluster", Kind::Text, "name of the cluster"),
    column("date", Kind::Day, "UTC day of `time`"),
    column(
        "time",
        Kind::Time,
        "when the entry was written: its own time, made whole by the wrapper or the object where it tells no year or zone",
    ),
    column(
        "component",
        Kind::Text,
        "program that wrote it: kube-apiserver, kube-controller-manager, kube-scheduler, cluster-autoscaler, cloud-controller-manager, kubelet, kube-proxy, authenticator, etcd …",
    ),
    column(
        "severity",
        Kind::Text,
        "debug, info, warning, error, fatal; null: the text does not tell",
    ),
    column(
        "message",
        Kind::Text,
        "the message: of a structured entry without its key-values, else the text behind the header",
    ),
    column(
        "caller_file",
        Kind::Text,
        "source file of the program that wrote it, as in klog",
    ),
    column("caller_line", Kind::Int, "line in that file"),
    column(
        "fields",
        Kind::Json,
        "key-values of a structured entry, a JSON object",
    ),
    column("node", Kind::Text, "node that the entry is about"),
    column("namespace", Kind::Text, "namespace that the entry is about"),
    column("pod", Kind::Text, "pod that the entry is about"),
    column(
        "objects",
        Kind::Texts,
        "objects that the entry names, as kind/namespace/name or kind/name, kind in lower case",
    ),
    column(
        "audit_id",
        Kind::Text,
        "audit id of the request that the entry is about",
    ),
    column("logger", Kind::Text, "name of the logger, as in klog"),
    column(
        "verbosity",
        Kind::Int,
        "verbosity of the entry (klog JSON: v)",
    ),
    column(
        "thread",
        Kind::Long,
        "thread or process id in the header of klog",
    ),
    column(
        "source_node",
        Kind::Text,
        "node on which it was written, where known",
    ),
    column(
        "source_namespace",
        Kind::Text,
        "namespace of the pod that wrote it, where known",
    ),
    column(
        "source_pod",
        Kind::Text,
        "pod that wrote it, or log stream of CloudWatch, where known",
    ),
    column(
        "source_container",
        Kind::Text,
        "container that wrote it, name or id, where known",
    ),
    column("stream", Kind::Text, "stdout or stderr, where known"),
    column(
        "time_source",
        Kind::Text,
        "where `time` comes from: entry, entry+wrapper, entry+object (year inferred), wrapper, neighbour, object",
    ),
    column(
        "format",
        Kind::Text,
        "how the text is written: klog, klog-json, zap-json, logfmt, text",
    ),
    column(
        "wrapper",
        Kind::Text,
        "what carried the lines: plain, aks-diagnostic, cri, docker, journald, cloudwatch, container-insights",
    ),
    column(
        "record",
        Kind::Text,
        "the text of the entry, all of its lines, byte for byte",
    ),
    column("lines", Kind::Int, "number of lines of the entry"),
    column(
        "envelope",
        Kind::Json,
        "the rest of the wrapper of the first line, without its time, event id and text",
    ),
    column(
        "envelope_time",
        Kind::Text,
        "time field of the wrapper, as received",
    ),
    column(
        "line_times",
        Kind::Texts,
        "time fields of the wrappers of the other lines, as received",
    ),
    column("event_id", Kind::Text, "id of the CloudWatch log event"),
    column(
        "record_bytes",
        Kind::Long,
        "length of the entry as received, wrappers included, bytes",
    ),
    column("source_uri", Kind::Text, "object the entry was read from"),
    column(
        "source_offset",
        Kind::Long,
        "byte offset of its first record in the decompressed object",
    ),
];

static INVENTORY: [Column; 19] = [
    column("cluster", Kind::Text, "name of the cluster"),
    column("date", Kind::Day, "UTC day of `time`"),
    column(
        "time",
        Kind::Time,
        "when the sample was taken (TimeGenerated)",
    ),
    column(
        "source_table",
        Kind::Text,
        "table of Log Analytics: KubeEvents, KubePodInventory, KubeNodeInventory …",
    ),
    column(
        "object_kind",
        Kind::Text,
        "kind of the object in lower case: pod, node …",
    ),
    column("namespace", Kind::Text, "namespace of the object"),
    column("name", Kind::Text, "name of the object"),
    column("object_uid", Kind::Text, "UID of the object"),
    column("node", Kind::Text, "node that the object is or runs on"),
    column(
        "status",
        Kind::Text,
        "its state: phase of a pod, conditions of a node, type of an Event",
    ),
    column(
        "reason",
        Kind::Text,
        "reason of an Event or of the state of a container",
    ),
    column("message", Kind::Text, "message of an Event, or a log line"),
    column("count", Kind::Long, "how often an Event was seen"),
    column("first_time", Kind::Time, "when an Event was first seen"),
    column("last_time", Kind::Time, "when an Event was last seen"),
    column("record", Kind::Json, "the whole row as received"),
    column(
        "record_bytes",
        Kind::Long,
        "length of the row as received, bytes",
    ),
    column("source_uri", Kind::Text, "object the row was read from"),
    column(
        "source_offset",
        Kind::Long,
        "byte offset of the row in the decompressed object",
    ),
];

static REJECTED: [Column; 11] = [
    column(
        "cluster",
        Kind::Text,
        "name of the cluster, as far as it was known",
    ),
    column("date", Kind::Day, "UTC day of ingest"),
    column("ingested_at", Kind::Time, "when the batch was planned"),
    column("source_uri", Kind::Text, "object the record was read from"),
    column(
        "source_offset",
        Kind::Long,
        "byte offset of the record in the decompressed object",
    ),
    column("record_bytes", Kind::Long, "length of the record, bytes"),
    column(
        "reason",
        Kind::Text,
        "why it was rejected, a fixed code: see docs/format.md",
    ),
    column("detail", Kind::Text, "the decoder's words"),
    column(
        "record",
        Kind::Bytes,
        "the record, at most 1 MiB of it; what may be a secret is cut off unless --no-redaction",
    ),
    column(
        "record_cut",
        Kind::Flag,
        "true: `record` is shorter than the record was",
    ),
    column(
        "record_digest",
        Kind::Text,
        "BLAKE3 digest of the whole record, hex; keyed when redaction is on",
    ),
];

static LEDGER: [Column; 25] = [
    column(
        "source",
        Kind::Text,
        "short name of the source: a configured name, or one made of the path given on the command line",
    ),
    column(
        "batch",
        Kind::Long,
        "number of the batch within its source, counting from 1",
    ),
    column(
        "state",
        Kind::Text,
        "planned, committed (rows are in the tables), abandoned (the object was gone or had changed when the batch was redone) or removed (rows of the object expired, or gave way to a fuller copy)",
    ),
    column("recorded_at", Kind::Time, "when this state was written"),
    column("planned_at", Kind::Time, "when the batch was planned"),
    column("object_uri", Kind::Text, "object that was read"),
    column(
        "object_version",
        Kind::Text,
        "etag of the object, or size and modification time of a file",
    ),
    column(
        "object_size",
        Kind::Long,
        "size of the object when it was listed, bytes",
    ),
    column(
        "cluster",
        Kind::Text,
        "cluster name given for the source; null: told by the records",
    ),
    column(
        "compression",
        Kind::Text,
        "none, gzip or zstd, told by content",
    ),
    column(
        "head_digest",
        Kind::Text,
        "BLAKE3 digest of the object's beginning (its first line of at least 64 bytes), by which a renamed or compressed copy is recognised",
    ),
    column(
        "range_start",
        Kind::Long,
        "first byte of the range in the decompressed object",
    ),
    column(
        "range_end",
        Kind::Long,
        "end of the range in the decompressed object: bytes up to here are in the tables",
    ),
    column(
        "range_digest",
        Kind::Text,
        "BLAKE3 digest of the range's bytes, hex",
    ),
    column(
        "records",
        Kind::Long,
        "records read: rows + duplicates + rejected",
    ),
    column("rows", Kind::Long, "records that became rows"),
    column("duplicates", Kind::Long, "records that were stored before"),
    column("rejected", Kind::Long, "records that could not be decoded"),
    column(
        "waiting_bytes",
        Kind::Long,
        "bytes of a half-written last record, left for the next run",
    ),
    column(
        "ended_early",
        Kind::Text,
        "why the object could not be read to its end, if so",
    ),
    column("redaction", Kind::Text, "on:<key id> or off"),
    column(
        "version",
        Kind::Text,
        "version of kolumn that wrote the batch",
    ),
    column(
        "first_rows_file",
        Kind::Text,
        "data file with the first rows of the batch; null if it stored none",
    ),
    column(
        "filtered",
        Kind::Long,
        "records that the source's settings drop, and wrappers without a log line; not among `records`",
    ),
    column(
        "continuations",
        Kind::Long,
        "lines that are part of the row of an earlier line; not among `records`",
    ),
];
