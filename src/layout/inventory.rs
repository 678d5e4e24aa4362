//! A polled sample into one row of table `inventory`.

use crate::{
    event::inventory::InventoryRow,
    layout::{audit::Origin, build::Rows},
};

/// Appends the row of a sample.
pub fn push_inventory_row(
    rows: &mut Rows,
    sample: &InventoryRow<'_>,
    origin: Origin<'_>,
    record_bytes: usize,
) {
    rows.time("time", Some(sample.time));
    rows.text("source_table", Some(&sample.table));
    rows.text("object_kind", sample.object_kind.as_deref());
    rows.text("namespace", sample.namespace.as_deref());
    rows.text("name", sample.name.as_deref());
    rows.text("object_uid", sample.object_uid.as_deref());
    rows.text("node", sample.node.as_deref());
    rows.text("status", sample.status.as_deref());
    rows.text("reason", sample.reason.as_deref());
    rows.text("message", sample.message.as_deref());
    rows.long("count", sample.count);
    rows.time("first_time", sample.first_time);
    rows.time("last_time", sample.last_time);
    rows.text("record", Some(&sample.record));
    rows.bytes_count("record_bytes", Some(record_bytes));
    rows.text("source_uri", Some(origin.source_uri));
    rows.long("source_offset", Some(origin.source_offset));
    rows.end_row();
}
