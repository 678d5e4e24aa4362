//! Rows of `audit` back into the events they were made of, equal as JSON (K6): one event a line, in
//! the field order of kube-apiserver, so that any tool for audit logs reads them.
//!
//! The typed columns give the fields; `extra` overlays them with whatever had no typed place, and
//! names the usual fields that the event did not have.

use std::io::{self, Write};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};
use serde_json::value::RawValue;

use crate::{
    decode::{
        Shape,
        audit::{ABSENT, API_VERSION},
    },
    event::time::Micros,
};

/// The columns that an event is rebuilt from.
pub const COLUMNS: [&str; 32] = [
    "level",
    "audit_id",
    "stage",
    "request_uri",
    "verb",
    "username",
    "user_uid",
    "user_groups",
    "user_extra",
    "impersonated_user",
    "source_ips",
    "user_agent",
    "resource",
    "namespace",
    "name",
    "name_source",
    "object_uid",
    "object_uid_source",
    "api_group",
    "api_version",
    "resource_version",
    "resource_version_source",
    "subresource",
    "response_status",
    "request_object",
    "response_object",
    "request_received_timestamp",
    "stage_timestamp",
    "annotations",
    "extra",
    "legacy_line",
    "format",
];

/// Writes the events of a batch that has [`COLUMNS`].
///
/// # Errors
/// Errors of `out`.
pub fn write_events(batch: &RecordBatch, out: &mut impl Write) -> io::Result<()> {
    for_each_event(batch, &mut |_, line| out.write_all(line))
}

/// Hands out each event of a batch that has [`COLUMNS`]: its row, and its line.
///
/// # Errors
/// Those of `sink`.
pub fn for_each_event(
    batch: &RecordBatch,
    sink: &mut dyn FnMut(usize, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    for row in 0..batch.num_rows() {
        line.clear();
        Row { batch, row }.write(&mut line)?;
        line.push(b'\n');
        sink(row, &line)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Row<'b> {
    batch: &'b RecordBatch,
    row: usize,
}

/// An object under construction: writes commas where they belong.
struct Fields<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Fields<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, name: &str) -> io::Result<()> {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        serde_json::to_writer(&mut *self.out, name)?;
        self.out.push(b':');
        Ok(())
    }

    fn json(&mut self, name: &str, json: Option<&str>) -> io::Result<()> {
        if let Some(json) = json {
            self.key(name)?;
            self.out.extend_from_slice(json.as_bytes());
        }
        Ok(())
    }

    fn text(&mut self, name: &str, text: Option<&str>) -> io::Result<()> {
        if let Some(text) = text {
            self.key(name)?;
            serde_json::to_writer(&mut *self.out, text)?;
        }
        Ok(())
    }

    fn texts(&mut self, name: &str, texts: Option<Vec<String>>) -> io::Result<()> {
        if let Some(texts) = texts {
            self.key(name)?;
            serde_json::to_writer(&mut *self.out, &texts)?;
        }
        Ok(())
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

impl<'b> Row<'b> {
    fn column(&self, name: &str) -> Option<&'b ArrayRef> {
        self.batch
            .column_by_name(name)
            .filter(|c| !c.is_null(self.row))
    }

    fn text(&self, name: &str) -> Option<&'b str> {
        self.column(name).and_then(|c| text_at(c, self.row))
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        let values = self.column(name)?.as_list_opt::<i32>()?.value(self.row);
        Some(
            (0..values.len())
                .map(|i| text_at(&values, i).unwrap_or_default().to_owned())
                .collect(),
        )
    }

    fn time(&self, name: &str) -> Option<String> {
        let column = self.column(name)?;
        let micros = match column.data_type() {
            DataType::Int64 => column.as_primitive_opt::<Int64Type>()?.value(self.row),
            _ => column
                .as_primitive_opt::<TimestampMicrosecondType>()?
                .value(self.row),
        };
        Some(Micros(micros).to_micro_time())
    }

    /// A value that was resolved from a body was not in `objectRef`.
    fn own(&self, name: &str, source: &str) -> Option<&'b str> {
        self.text(name)
            .filter(|_| self.text(source) == Some("objectRef"))
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let extra = self.text("extra").and_then(|json| Shape::of(json).ok());
        let absent: Vec<String> = extra
            .as_ref()
            .and_then(|e| e.get(ABSENT))
            .and_then(|v| serde_json::from_str(v.get()).ok())
            .unwrap_or_default();
        let overlay = |name: &str| -> Option<&RawValue> { extra.as_ref()?.get(name) };
        let mut fields = Fields::begin(out);
        for name in FIELDS {
            if let Some(value) = overlay(name) {
                fields.json(name, Some(value.get()))?;
            } else if !absent.iter().any(|a| a == name) {
                self.write_field(name, &mut fields)?;
            }
        }
        if let Some(extra) = &extra {
            for (name, value) in &extra.fields {
                if name != ABSENT && !FIELDS.contains(&name.as_ref()) {
                    fields.json(name, Some(value.get()))?;
                }
            }
        }
        fields.end();
        Ok(())
    }

    fn write_field(&self, name: &str, fields: &mut Fields<'_>) -> io::Result<()> {
        match name {
            "kind" => fields.text(name, Some("Event")),
            "apiVersion" => fields.text(name, Some(API_VERSION)),
            "level" => fields.text(name, self.text("level")),
            "auditID" => fields.text(name, self.text("audit_id")),
            "stage" => fields.text(name, self.text("stage")),
            "requestURI" => fields.text(name, self.text("request_uri")),
            "verb" => fields.text(name, self.text("verb")),
            "user" => self.write_user(fields),
            "impersonatedUser" => fields.json(name, self.text("impersonated_user")),
            "sourceIPs" => fields.texts(name, self.texts("source_ips")),
            "userAgent" => fields.text(name, self.text("user_agent")),
            "objectRef" => self.write_object(fields),
            "responseStatus" => fields.json(name, self.response_status().as_deref()),
            "requestObject" => fields.json(name, self.text("request_object")),
            "responseObject" => fields.json(name, self.text("response_object")),
            "requestReceivedTimestamp" => {
                fields.text(name, self.time("request_received_timestamp").as_deref())
            }
            "stageTimestamp" => fields.text(name, self.time("stage_timestamp").as_deref()),
            "annotations" => fields.json(name, self.text("annotations")),
            _ => Ok(()),
        }
    }

    /// The legacy format has a code only.
    fn response_status(&self) -> Option<String> {
        self.text("response_status").map(str::to_owned)
    }

    fn write_user(&self, fields: &mut Fields<'_>) -> io::Result<()> {
        fields.key("user")?;
        let mut user = Fields::begin(fields.out);
        user.text("username", self.text("username"))?;
        user.text("uid", self.text("user_uid"))?;
        user.texts("groups", self.texts("user_groups"))?;
        user.json("extra", self.text("user_extra"))?;
        user.end();
        Ok(())
    }

    fn write_object(&self, fields: &mut Fields<'_>) -> io::Result<()> {
        let parts = [
            ("resource", self.text("resource")),
            ("namespace", self.text("namespace")),
            ("name", self.own("name", "name_source")),
            ("uid", self.own("object_uid", "object_uid_source")),
            ("apiGroup", self.text("api_group")),
            ("apiVersion", self.text("api_version")),
            (
                "resourceVersion",
                self.own("resource_version", "resource_version_source"),
            ),
            ("subresource", self.text("subresource")),
        ];
        if parts.iter().all(|(_, value)| value.is_none()) {
            return Ok(());
        }
        fields.key("objectRef")?;
        let mut object = Fields::begin(fields.out);
        for (name, value) in parts {
            object.text(name, value)?;
        }
        object.end();
        Ok(())
    }
}

/// The fields of an event, in the order of `audit.k8s.io/v1`.
const FIELDS: [&str; 18] = [
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
];

fn text_at(array: &ArrayRef, row: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view_opt().map(|a| a.value(row)),
        DataType::Utf8 => array.as_string_opt::<i32>().map(|a| a.value(row)),
        _ => None,
    }
}
