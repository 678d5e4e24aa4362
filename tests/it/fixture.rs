//! A small archive written by the tests themselves: rows as JSON, Parquet and a Delta commit, so
//! that what the query side reads does not come from the code that ingests.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake_core::kernel::{Action, Add};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use kolumn::layout::columns::TableName;
use kolumn::table::Archive;
use object_store::ObjectStoreExt as _;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// An archive in a folder that goes away with it.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) archive: Archive,
    files: usize,
}

/// One data file to write.
pub(crate) struct File<'a> {
    pub(crate) partition: Vec<(&'a str, Option<&'a str>)>,
    pub(crate) rows: Vec<Value>,
    pub(crate) sorted: bool,
    /// Columns that the file does not have.
    pub(crate) without: Vec<&'a str>,
    pub(crate) rows_per_group: usize,
}

impl<'a> File<'a> {
    pub(crate) fn audit(cluster: &'a str, date: &'a str, rows: Vec<Value>) -> Self {
        Self {
            partition: vec![("cluster", Some(cluster)), ("date", Some(date))],
            rows,
            sorted: true,
            without: Vec::new(),
            rows_per_group: 1000,
        }
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("arch ive ü")
            .tempdir()
            .unwrap();
        let url = Url::from_directory_path(folder.path()).unwrap();
        let archive = Archive::open_or_create(&url).await.unwrap();
        for name in TableName::ALL {
            archive.load_or_create(name).await.unwrap();
        }
        Self {
            folder,
            archive,
            files: 0,
        }
    }

    /// Writes one file of another table.
    pub(crate) async fn write_to(&mut self, table: TableName, file: File<'_>) {
        self.files += 1;
        write(&self.archive, table, self.files, file).await;
    }

    /// Writes one file of `audit`.
    pub(crate) async fn write(&mut self, file: File<'_>) {
        self.files += 1;
        write(&self.archive, TableName::Audit, self.files, file).await;
    }
}

/// Writes one file of a table in one commit, with the bounds that the log is meant to hold.
pub(crate) async fn write(archive: &Archive, name: TableName, number: usize, file: File<'_>) {
    let all = name.file_schema();
    let schema: SchemaRef = Arc::new(Schema::new(
        all.fields()
            .iter()
            .filter(|f| !file.without.contains(&f.name().as_str()))
            .cloned()
            .collect::<Vec<_>>(),
    ));
    let batch = batch_of(&schema, &file.rows);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(file.rows_per_group))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let folders: Vec<String> = file
        .partition
        .iter()
        .map(|(k, v)| {
            let value = v.unwrap_or("__HIVE_DEFAULT_PARTITION__");
            // As Hive writes it: the percent sign is part of the folder's name.
            format!(
                "{k}={}",
                value
                    .replace('%', "%25")
                    .replace('\'', "%27")
                    .replace(' ', "%20")
            )
        })
        .collect();
    let path = format!("{}/part-{number}.parquet", folders.join("/"));
    let delta = archive.load(name).await.unwrap().unwrap();
    let size = bytes.len() as i64;
    let location = object_store::path::Path::parse(&path).unwrap();
    delta
        .log_store()
        .object_store(None)
        .put(&location, bytes.into())
        .await
        .unwrap();
    let tag = name.sort_columns().join(",");
    let add = Add {
        path,
        partition_values: file
            .partition
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned)))
            .collect(),
        size,
        modification_time: 1_700_000_000_000,
        data_change: true,
        stats: Some(stats(name, &file.rows, &file.without)),
        tags: file
            .sorted
            .then(|| HashMap::from([("sort".to_owned(), Some(tag))])),
        ..no_add()
    };
    let snapshot = delta.snapshot().unwrap().snapshot().clone();
    CommitBuilder::from(CommitProperties::default())
        .with_actions(vec![Action::Add(add)])
        .build(
            Some(&snapshot as &dyn TableReference),
            delta.log_store(),
            DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            },
        )
        .await
        .unwrap();
}

fn no_add() -> Add {
    Add {
        path: String::new(),
        partition_values: HashMap::new(),
        size: 0,
        modification_time: 0,
        data_change: true,
        stats: None,
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

fn batch_of(schema: &SchemaRef, rows: &[Value]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap()
}

/// Bounds as Delta has them: timestamps cut to milliseconds.
fn stats(table: TableName, rows: &[Value], without: &[&str]) -> String {
    let (mut min, mut max, mut nulls) = (json!({}), json!({}), json!({}));
    for column in table.bounded_columns() {
        if without.contains(column) {
            continue;
        }
        let values: Vec<&Value> = rows.iter().map(|r| &r[*column]).collect();
        nulls[*column] = json!(values.iter().filter(|v| v.is_null()).count());
        let mut texts: Vec<String> = values
            .iter()
            .filter_map(|v| v.as_str())
            .map(str::to_owned)
            .collect();
        texts.sort();
        if let (Some(first), Some(last)) = (texts.first(), texts.last()) {
            let cut = |t: &str| match (column.contains("time"), t.split_once('.')) {
                (true, Some((whole, part))) if part.len() > 4 => format!("{whole}.{}Z", &part[..3]),
                _ => t.to_owned(),
            };
            min[*column] = json!(cut(first));
            max[*column] = json!(cut(last));
        }
    }
    json!({"numRecords": rows.len(), "minValues": min, "maxValues": max, "nullCount": nulls})
        .to_string()
}

/// One audit event of a pod: name, time and what else is to be set.
pub(crate) fn event(name: &str, time: &str, more: Value) -> Value {
    let mut row = json!({
        "stage_timestamp": time,
        "request_received_timestamp": time,
        "audit_id": format!("id-{name}-{time}"),
        "stage": "ResponseComplete",
        "level": "RequestResponse",
        "verb": "create",
        "request_uri": format!("/api/v1/namespaces/dev/pods/{name}"),
        "username": "alice",
        "resource": "pods",
        "namespace": "dev",
        "name": name,
        "response_code": 201,
        "request_object_state": "present",
        "response_object_state": "present",
        "response_object": format!("{{\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\"}}}}"),
    });
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}
