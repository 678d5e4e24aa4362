//! An audit event into one row of table `audit`.

use crate::{
    decode::AuditRecord,
    event::facts::{FactSource, Facts, Object},
    event::{audit::Text, lenient::Items},
    layout::build::Rows,
};

/// Where a record was read.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// URI of the object.
    pub source_uri: &'a str,
    /// Offset of its frame in the decompressed object, bytes.
    pub source_offset: i64,
}

/// Lengths of an event's parts as they were received, bytes, before anything was redacted.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// The record.
    pub record: usize,
    /// `requestObject`.
    pub request_object: Option<usize>,
    /// `responseObject`.
    pub response_object: Option<usize>,
}

/// Appends the row of an event.
pub fn push_audit_row(
    rows: &mut Rows,
    mut record: AuditRecord<'_>,
    origin: Origin<'_>,
    lengths: Lengths,
) {
    let read = record.event.take_read();
    let event = &record.event;
    let facts = Facts::of(event, read);

    rows.time("stage_timestamp", Some(event.stage_timestamp));
    rows.time(
        "request_received_timestamp",
        event.request_received_timestamp,
    );
    rows.text("audit_id", event.audit_id.as_deref());
    rows.text("stage", event.stage.as_deref());
    rows.text("level", event.level.as_deref());
    rows.text("verb", event.verb.as_deref());
    rows.text("request_uri", event.request_uri.as_deref());
    rows.text("username", event.user.username.as_deref());
    rows.text("user_uid", event.user.uid.as_deref());
    rows.texts("user_groups", event.user.groups.as_deref());
    rows.text("user_extra", event.user.extra.as_deref());
    rows.text("impersonated_user", event.impersonated_user.as_deref());
    rows.texts("source_ips", event.source_ips.as_deref());
    rows.text("user_agent", event.user_agent.as_deref());
    rows.text("api_group", event.object.api_group.as_deref());
    rows.text("api_version", event.object.api_version.as_deref());
    rows.text("resource", event.object.resource.as_deref());
    rows.text("subresource", event.object.subresource.as_deref());
    rows.text("namespace", event.object.namespace.as_deref());
    rows.text("name", value(&facts.name));
    rows.text("object_uid", value(&facts.uid));
    rows.text("resource_version", value(&facts.resource_version));
    rows.int("response_code", event.response.code);
    rows.text("response_reason", event.response.reason.as_deref());
    rows.text("response_message", event.response.message.as_deref());
    rows.text("response_status", event.response.json.as_deref());
    rows.text("annotations", event.annotations.as_deref());
    rows.text(
        "authorization_decision",
        event.authorization_decision.as_deref(),
    );
    rows.text(
        "authorization_reason",
        event.authorization_reason.as_deref(),
    );
    rows.text("request_object", event.request_object.as_deref());
    rows.text("response_object", event.response_object.as_deref());
    rows.text("extra", event.extra_json().as_deref());
    rows.text("source_uri", Some(origin.source_uri));
    rows.long("source_offset", Some(origin.source_offset));
    rows.text("name_source", source(&facts.name));
    rows.text("object_uid_source", source(&facts.uid));
    rows.text("resource_version_source", source(&facts.resource_version));
    rows.text(
        "impersonated_username",
        event.impersonated_username.as_deref(),
    );
    rows.text(
        "request_object_state",
        Some(event.request_object_state().as_str()),
    );
    rows.text(
        "response_object_state",
        Some(event.response_object_state().as_str()),
    );
    rows.text("request_kind", facts.request_kind.as_deref());
    rows.text("response_kind", facts.response_kind.as_deref());
    rows.text("facts_source", facts.source.map(FactSource::as_str));
    rows.text("generate_name", facts.generate_name.as_deref());
    push_object(rows, &facts);
    push_event(rows, &facts);
    rows.long("replicas", facts.object.spec.replicas.0);
    rows.flag("supersedes", None);
    rows.flag("redacted", event.redacted.then_some(true));
    rows.text("format", Some(record.format.as_str()));
    rows.text("api_server", record.envelope.api_server.as_deref());
    rows.text("envelope", record.envelope.json.as_deref());
    rows.text("envelope_time", record.envelope.time.as_deref());
    rows.bytes_count("request_object_bytes", lengths.request_object);
    rows.bytes_count("response_object_bytes", lengths.response_object);
    rows.bytes_count("record_bytes", Some(lengths.record));
    rows.text("legacy_line", event.legacy_line.as_deref());
    rows.end_row();
}

fn push_object(rows: &mut Rows, facts: &Facts<'_>) {
    let Object {
        metadata,
        spec,
        status,
        ..
    } = &*facts.object;
    rows.time_text("creation_timestamp", &metadata.creation_timestamp);
    rows.time_text("deletion_timestamp", &metadata.deletion_timestamp);
    rows.owner_references("owner_references", &metadata.owner_references);
    rows.text("node_name", spec.node_name.0.as_deref());
    rows.text("phase", status.phase.0.as_deref());
    rows.conditions("conditions", &status.conditions);
    rows.flag("unschedulable", facts.unschedulable);
    rows.taints("taints", &spec.taints);
    let template = &spec.template.spec;
    let job_template = &spec.job_template.spec.template.spec;
    let (init, main) = if spec.containers.0.is_some() {
        (&spec.init_containers, &spec.containers)
    } else if template.containers.0.is_some() {
        (&template.init_containers, &template.containers)
    } else if job_template.containers.0.is_some() {
        (&job_template.init_containers, &job_template.containers)
    } else {
        (&Items(None), &Items(None))
    };
    rows.containers("containers", init, main);
    rows.text("binding_target", facts.binding_target.as_deref());
    rows.long(
        "delete_grace_period_seconds",
        facts.delete.grace_period_seconds.0,
    );
    rows.text(
        "delete_propagation_policy",
        facts.delete.propagation_policy.0.as_deref(),
    );
    rows.text(
        "delete_precondition_uid",
        facts.delete.preconditions.uid.0.as_deref(),
    );
}

fn push_event(rows: &mut Rows, facts: &Facts<'_>) {
    let none = Default::default();
    let event = facts.event.as_ref().unwrap_or(&none);
    rows.text("event_type", event.r#type.as_deref());
    rows.text("event_reason", event.reason.as_deref());
    rows.text("event_message", event.message.as_deref());
    rows.long("event_count", event.count);
    rows.time("event_first_timestamp", event.first);
    rows.time("event_last_timestamp", event.last);
    rows.text("event_reporter", event.reporter.as_deref());
    rows.text("event_host", event.host.as_deref());
    rows.text("regarding_kind", event.regarding.kind.0.as_deref());
    rows.text(
        "regarding_namespace",
        event.regarding.namespace.0.as_deref(),
    );
    rows.text("regarding_name", event.regarding.name.0.as_deref());
    rows.text("regarding_uid", event.regarding.uid.0.as_deref());
    rows.text(
        "regarding_field_path",
        event.regarding.field_path.0.as_deref(),
    );
}

fn value<'f>(fact: &'f Option<(Text<'_>, FactSource)>) -> Option<&'f str> {
    fact.as_ref().map(|(text, _)| text.as_ref())
}

fn source(fact: &Option<(Text<'_>, FactSource)>) -> Option<&'static str> {
    fact.as_ref().map(|(_, source)| source.as_str())
}
