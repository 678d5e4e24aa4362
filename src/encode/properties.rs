//! Every Parquet writer setting, with its reason.

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::ColumnPath,
};

use crate::{
    error::{Context as _, Result},
    layout::columns::{Kind, TableName},
};

/// Level of zstd at ingest: 9 is the knee for data at rest, but costs three times the CPU of 3.
pub const INGEST_ZSTD_LEVEL: i32 = 3;

/// Level of zstd of files at rest, written by `kolumn optimize`.
pub const REST_ZSTD_LEVEL: i32 = 9;

/// Tag of an `add` action: how the file was written for rest. A change of the layout changes the
/// value, so that `kolumn optimize` writes older files again.
pub const REST_TAG: &str = "rest";

/// The present value of [`REST_TAG`]; 2: with a search index.
pub const REST_LAYOUT: &str = "2";

/// Rows of a row group at most: large enough that bodies of one object stay together, small enough
/// that two cores share a file and pruning by row group still skips something.
pub const ROW_GROUP_ROWS_MAX: usize = 131_072;

/// A page is zstd's window: bodies of one object are near copies of each other, so they share one.
const BODY_PAGE_BYTES: usize = 4 << 20;

/// Columns that hold nearly all bytes.
const BODIES: [&str; 2] = ["request_object", "response_object"];

/// Columns that questions look single values up in, so that a Bloom filter skips row groups.
const BLOOMED: [&str; 3] = ["audit_id", "object_uid", "name"];

/// Columns without repetition, for which a dictionary costs time and saves nothing.
const UNIQUE: [&str; 4] = ["audit_id", "envelope_time", "legacy_line", "record_digest"];

/// The writer settings for a table's data files.
///
/// # Errors
/// `Bug` if the level is none of zstd's.
pub fn writer_properties(table: TableName, zstd_level: i32) -> Result<WriterProperties> {
    let level =
        ZstdLevel::try_new(zstd_level).context(format!("cannot use zstd level {zstd_level}"))?;
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("kolumn {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_statistics_truncate_length(Some(64))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(sorting_columns(table)));
    let columns = &table.columns()[table.partition_columns().len()..];
    for column in columns {
        let path = ColumnPath::from(column.name);
        if BODIES.contains(&column.name) {
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_data_page_size_limit(path.clone(), BODY_PAGE_BYTES)
                // Bounds of JSON text say nothing and would only fatten the footer.
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if UNIQUE.contains(&column.name) {
            builder = builder.set_column_dictionary_enabled(path.clone(), false);
        }
        if matches!(column.kind, Kind::Time | Kind::Long) {
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if BLOOMED.contains(&column.name) {
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), 0.01);
        }
        if table.sort_columns().contains(&column.name) {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
    }
    Ok(builder.build())
}

fn sorting_columns(table: TableName) -> Vec<SortingColumn> {
    // Valid while no nested column stands before a sort column: Parquet counts leaves.
    let leaves = &table.columns()[table.partition_columns().len()..];
    let leaf_index = |name: &str| {
        let before = leaves.iter().take_while(|c| c.name != name);
        before.map(|c| leaf_count(c.kind)).sum::<i32>()
    };
    table
        .sort_columns()
        .iter()
        .map(|name| SortingColumn {
            column_idx: leaf_index(name),
            descending: false,
            nulls_first: false,
        })
        .collect()
}

fn leaf_count(kind: Kind) -> i32 {
    match kind {
        Kind::OwnerReferences | Kind::Containers => 5,
        Kind::Conditions => 6,
        Kind::Taints => 3,
        _ => 1,
    }
}
