//! The active files of one version of a table, as the log tells them. In: an archive. Out: a
//! [`FileList`], whose statistics stay the text that they are until a question needs those of some
//! files, so that opening an archive costs little however many files it has.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, MapArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options, concat, filter_record_batch};
use arrow::datatypes::{Field, Int64Type};
use deltalake_core::kernel::Snapshot;
use deltalake_core::kernel::engine::arrow_data::EngineDataArrowExt as _;
use futures::TryStreamExt as _;
use object_store::path::Path;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::Archive;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::layout::{columns::TableName, sort::SORT_TAG};

/// The active files of one version of a table.
#[derive(Debug)]
pub struct FileList {
    name: TableName,
    version: u64,
    url: Url,
    root: Path,
    batches: Vec<RecordBatch>,
    /// Index of the first file of each batch.
    starts: Vec<usize>,
    partitions: Vec<ArrayRef>,
    sizes: Vec<u64>,
    rows: Vec<Option<u64>>,
    sorted: Vec<bool>,
}

/// What the log says of the rows of one file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileStatistics<'t> {
    /// Number of rows.
    pub num_records: Option<u64>,
    /// Least values by column.
    #[serde(borrow)]
    pub min_values: HashMap<&'t str, &'t RawValue>,
    /// Greatest values by column.
    #[serde(borrow)]
    pub max_values: HashMap<&'t str, &'t RawValue>,
    /// How many rows have no value, by column.
    #[serde(borrow)]
    pub null_count: HashMap<&'t str, &'t RawValue>,
}

impl<'t> FileStatistics<'t> {
    /// Reads Delta's JSON; statistics that cannot be read say nothing.
    pub fn parse(text: Option<&'t str>) -> Self {
        text.and_then(|t| serde_json::from_str(t).ok())
            .unwrap_or_default()
    }
}

impl Archive {
    /// The newest version of a table, which is `known` or a later one.
    ///
    /// # Errors
    /// `Corrupt` if its log cannot be read, and the errors of the store.
    pub async fn newest_version(&self, name: TableName, known: u64) -> Result<u64> {
        self.log_store(name)?
            .get_latest_version(known)
            .await
            .map_err(|e| self.error(name, e))
    }

    /// The files of a table at its newest version; `None` if nothing was written to it yet.
    ///
    /// # Errors
    /// `Corrupt` if its log cannot be read or uses features that would make answers wrong, and the
    /// errors of the store.
    pub async fn files(&self, name: TableName) -> Result<Option<FileList>> {
        let log_store = self.log_store(name)?;
        let is_table = log_store
            .is_delta_table_location()
            .await
            .map_err(|e| self.error(name, e))?;
        if !is_table {
            return Ok(None);
        }
        let snapshot = Snapshot::try_new(log_store.as_ref(), None)
            .await
            .map_err(|e| self.error(name, e))?;
        refuse_unreadable(name, &snapshot)?;
        // Not `Snapshot::files`: it parses the statistics of every file.
        let scan = snapshot
            .scan_builder()
            .build()
            .map_err(|e| self.error(name, e))?;
        let mut replayed = scan.scan_metadata(log_store.engine(None));
        let mut batches = Vec::new();
        while let Some(found) = replayed.try_next().await.map_err(|e| self.error(name, e))? {
            let (data, mut chosen) = found.scan_files.into_parts();
            let batch = data
                .try_into_record_batch()
                .map_err(|e| self.error(name, e.into()))?;
            chosen.resize(batch.num_rows(), true);
            let batch = filter_record_batch(&batch, &BooleanArray::from(chosen))
                .context("cannot choose the active files")?;
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        FileList::of(name, snapshot.version(), self.table_url(name)?, batches).map(Some)
    }
}

impl FileList {
    fn of(name: TableName, version: u64, url: Url, batches: Vec<RecordBatch>) -> Result<Self> {
        let root = Path::from_url_path(url.path())
            .map_err(|e| corrupt(name, "its location is no path").because(e))?;
        let schema = name.schema();
        let mut list = Self {
            name,
            version,
            url,
            root,
            starts: Vec::with_capacity(batches.len()),
            partitions: Vec::new(),
            sizes: Vec::new(),
            rows: Vec::new(),
            sorted: Vec::new(),
            batches: Vec::new(),
        };
        let partition_fields = &schema.fields()[..name.partition_columns().len()];
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); partition_fields.len()];
        let order = name.sort_columns().join(",");
        for batch in &batches {
            list.starts.push(list.sizes.len());
            let odd = || corrupt(name, "its list of files has another form");
            let sizes = batch
                .column_by_name("size")
                .and_then(|c| c.as_primitive_opt::<Int64Type>())
                .ok_or_else(odd)?;
            for size in sizes.values() {
                list.sizes.push(
                    u64::try_from(*size)
                        .map_err(|e| corrupt(name, "a file has a negative size").because(e))?,
                );
            }
            for row in 0..batch.num_rows() {
                list.rows.push(row_count(text_at(batch, "stats", row)));
            }
            let constants = batch
                .column_by_name("fileConstantValues")
                .and_then(|c| c.as_struct_opt())
                .ok_or_else(odd)?;
            let map_of = |field: &str| constants.column_by_name(field)?.as_map_opt();
            let map = map_of("partitionValues").ok_or_else(odd)?;
            for (place, field) in values.iter_mut().zip(partition_fields) {
                place.push(partition_values(name, field, map)?);
            }
            let tags = map_of("tags");
            list.sorted.extend((0..batch.num_rows()).map(|row| {
                let tag = tags.and_then(|tags| map_value(tags, row, SORT_TAG));
                !order.is_empty() && tag == Some(order.as_str())
            }));
        }
        for (arrays, field) in values.iter().zip(partition_fields) {
            let arrays: Vec<&dyn Array> = arrays.iter().map(|a| a.as_ref()).collect();
            list.partitions.push(match arrays.as_slice() {
                [] => arrow::array::new_empty_array(field.data_type()),
                arrays => concat(arrays).context("cannot gather partition values")?,
            });
        }
        list.batches = batches;
        Ok(list)
    }

    /// Which table this is.
    pub fn name(&self) -> TableName {
        self.name
    }

    /// The version of the table.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The URL of the table.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// True if there are no files.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Values of one partition column, a row a file.
    pub fn partition(&self, column: usize) -> &ArrayRef {
        &self.partitions[column]
    }

    /// Bytes of a file.
    pub fn size(&self, file: usize) -> u64 {
        self.sizes[file]
    }

    /// Rows of a file, if the log tells.
    pub fn rows(&self, file: usize) -> Option<u64> {
        self.rows[file]
    }

    /// True if the rows of a file stand in the order of the table.
    pub fn is_sorted(&self, file: usize) -> bool {
        self.sorted[file]
    }

    /// When a file was made, milliseconds since the epoch.
    pub fn modified(&self, file: usize) -> i64 {
        let (batch, row) = self.place(file);
        batch
            .column_by_name("modificationTime")
            .and_then(|c| c.as_primitive_opt::<Int64Type>())
            .map_or(0, |c| c.value(row))
    }

    /// Where a file lies below the table.
    ///
    /// # Errors
    /// `Corrupt` for what is no path.
    pub fn path(&self, file: usize) -> Result<Path> {
        let (batch, row) = self.place(file);
        let text = text_at(batch, "path", row).unwrap_or_default();
        // The log holds a URL; its characters are those of the object's name once decoded.
        Path::from_url_path(text)
            .map_err(|e| corrupt(self.name, &format!("{text} is no path")).because(e))
    }

    /// Where a file lies in the store.
    ///
    /// # Errors
    /// `Corrupt` for what is no path.
    pub fn location(&self, file: usize) -> Result<Path> {
        let path = self.path(file)?;
        Ok(self.root.parts().chain(path.parts()).collect())
    }

    /// A tag of a file.
    pub fn tag(&self, file: usize, name: &str) -> Option<&str> {
        let (batch, row) = self.place(file);
        let constants = batch
            .column_by_name("fileConstantValues")?
            .as_struct_opt()?;
        map_value(constants.column_by_name("tags")?.as_map_opt()?, row, name)
    }

    /// The statistics of a file, Delta's JSON.
    pub fn statistics(&self, file: usize) -> Option<&str> {
        let (batch, row) = self.place(file);
        text_at(batch, "stats", row)
    }

    fn place(&self, file: usize) -> (&RecordBatch, usize) {
        let batch = self.starts.partition_point(|start| *start <= file) - 1;
        (&self.batches[batch], file - self.starts[batch])
    }
}

fn text_at<'b>(batch: &'b RecordBatch, column: &str, row: usize) -> Option<&'b str> {
    let texts = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    (!texts.is_null(row)).then(|| texts.value(row))
}

/// The number of rows in statistics. As kolumn writes them it stands behind its name, so most of the
/// text is not read.
fn row_count(text: Option<&str>) -> Option<u64> {
    const NAME: &str = "\"numRecords\":";
    let text = text?;
    let told = text.rfind(NAME).and_then(|at| {
        let rest = &text[at + NAME.len()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..digits].parse().ok()
    });
    told.or_else(|| FileStatistics::parse(Some(text)).num_records)
}

/// The value of a key in one map of a column.
fn map_value<'m>(maps: &'m MapArray, row: usize, key: &str) -> Option<&'m str> {
    let keys = maps.keys().as_string_opt::<i32>()?;
    let values = maps.values().as_string_opt::<i32>()?;
    let offset = |at: usize| usize::try_from(maps.value_offsets()[at]).ok();
    let at = (offset(row)?..offset(row + 1)?).find(|at| keys.value(*at) == key)?;
    (maps.is_valid(row) && values.is_valid(at)).then(|| values.value(at))
}

fn partition_values(name: TableName, field: &Field, maps: &MapArray) -> Result<ArrayRef> {
    let rows = 0..maps.len();
    let texts: StringArray = rows.map(|row| map_value(maps, row, field.name())).collect();
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&texts, field.data_type(), &strict).map_err(|e| {
        let what = format!(
            "a file has an odd value of partition column {}",
            field.name()
        );
        corrupt(name, &what).because(e)
    })
}

pub(super) fn corrupt(name: TableName, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("cannot read table {}: {what}", name.as_str()),
    )
}

/// Deletion vectors and column mapping change what a file's rows mean; both are never written here.
fn refuse_unreadable(name: TableName, snapshot: &Snapshot) -> Result<()> {
    let protocol = serde_json::to_string(snapshot.protocol())
        .map_err(|e| corrupt(name, "its protocol cannot be read").because(e))?;
    let mapped = snapshot
        .metadata()
        .configuration()
        .get("delta.columnMapping.mode")
        .is_some_and(|mode| mode != "none");
    for (feature, used) in [
        ("deletion vectors", protocol.contains("\"deletionVectors\"")),
        (
            "column mapping",
            mapped || protocol.contains("\"columnMapping\""),
        ),
    ] {
        if used {
            return Err(
                corrupt(name, &format!("another program switched on {feature}"))
                    .hint("rewrite the table without it; kolumn never uses it"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_in_statistics_of_any_writer() {
        assert_eq!(
            row_count(Some(r#"{"nullCount":{"a":1},"numRecords":17}"#)),
            Some(17)
        );
        assert_eq!(
            row_count(Some(r#"{ "numRecords": 3, "nullCount": {} }"#)),
            Some(3)
        );
        assert_eq!(row_count(Some("no JSON")), None);
        assert_eq!(row_count(None), None);
    }
}
