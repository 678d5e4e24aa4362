//! One polled sample: a row of a Container Insights table, as Log Analytics exports it.

use crate::event::{audit::Text, time::Micros};

/// A row of a Container Insights table.
#[derive(Debug, Default, Clone)]
pub struct InventoryRow<'a> {
    /// `TimeGenerated`.
    pub time: Micros,
    /// Name of the table: `KubeEvents`, `KubePodInventory`, `KubeNodeInventory` …
    pub table: Text<'a>,
    /// Cluster, in lower case.
    pub cluster: Option<String>,
    /// Kind of the object in lower case, as the API names it: `pod`, `node`.
    pub object_kind: Option<Text<'a>>,
    /// Namespace of the object.
    pub namespace: Option<Text<'a>>,
    /// Name of the object.
    pub name: Option<Text<'a>>,
    /// UID of the object.
    pub object_uid: Option<Text<'a>>,
    /// Node that it is, or runs on.
    pub node: Option<Text<'a>>,
    /// Its state: phase of a pod, conditions of a node, type of an Event.
    pub status: Option<Text<'a>>,
    /// Reason of an Event or of a container's state.
    pub reason: Option<Text<'a>>,
    /// Message of an Event or a log line.
    pub message: Option<Text<'a>>,
    /// How often an Event was seen.
    pub count: Option<i64>,
    /// When an Event was first seen.
    pub first_time: Option<Micros>,
    /// When an Event was last seen.
    pub last_time: Option<Micros>,
    /// The whole row, JSON, verbatim.
    pub record: Text<'a>,
}
