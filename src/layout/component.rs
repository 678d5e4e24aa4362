//! An entry of a component's log into one row of table `component`.

use crate::{
    event::component::ComponentEntry,
    layout::{audit::Origin, build::Rows},
};

/// Appends the row of an entry.
pub fn push_component_row(rows: &mut Rows, entry: &ComponentEntry<'_>, origin: Origin<'_>) {
    let line = &entry.origin;
    rows.time("time", Some(entry.time));
    rows.text("component", line.component.as_deref());
    rows.text("severity", entry.severity.map(|s| s.as_str()));
    rows.text("message", Some(&entry.message));
    rows.text("caller_file", entry.caller_file.as_deref());
    rows.int("caller_line", entry.caller_line);
    rows.text("fields", entry.fields.as_deref());
    rows.text("node", entry.node.as_deref());
    rows.text("namespace", entry.namespace.as_deref());
    rows.text("pod", entry.pod.as_deref());
    let objects: Vec<_> = entry.objects.iter().map(|o| o.as_str().into()).collect();
    rows.texts("objects", (!objects.is_empty()).then_some(&objects));
    rows.text("audit_id", entry.audit_id.as_deref());
    rows.text("logger", entry.logger.as_deref());
    rows.int("verbosity", entry.verbosity);
    rows.long("thread", entry.thread);
    rows.text("source_node", line.node.as_deref());
    rows.text("source_namespace", line.namespace.as_deref());
    rows.text("source_pod", line.pod.as_deref());
    rows.text("source_container", line.container.as_deref());
    rows.text("stream", line.stream.as_deref());
    rows.text("time_source", Some(entry.time_source.as_str()));
    rows.text("format", Some(entry.format.as_str()));
    rows.text("wrapper", Some(line.wrapper.as_str()));
    rows.text("record", Some(&entry.record));
    rows.int("lines", Some(entry.lines));
    rows.text("envelope", line.envelope.as_deref());
    rows.text("envelope_time", line.time_text.as_deref());
    let times = &entry.line_times;
    rows.texts("line_times", (!times.is_empty()).then_some(times));
    rows.text("event_id", line.event_id.as_deref());
    rows.bytes_count("record_bytes", Some(entry.record_bytes));
    rows.text("source_uri", Some(origin.source_uri));
    rows.long("source_offset", Some(origin.source_offset));
    rows.end_row();
}
