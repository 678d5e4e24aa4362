//! Decoded batches into the order of their table, without moving a byte of text: a sort finds the
//! order, [`SortedRows`] holds it, and the encoder takes the rows of one column at a time in it.

use arrow::compute::SortOptions;
use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::interleave,
    row::{RowConverter, SortField},
};

use crate::{
    error::{Context as _, Result},
    layout::{build::row_schema, columns::TableName},
};

/// Tag of an `add` action: the columns by which the file is sorted, separated by commas.
pub const SORT_TAG: &str = "sort";

/// One row: which batch, which row of it.
pub type RowId = (usize, usize);

/// Rows of one partition in the order of their table (K4). The only constructor sorts.
#[derive(Debug)]
pub struct SortedRows<'b> {
    table: TableName,
    batches: &'b [RecordBatch],
    order: Vec<RowId>,
}

impl<'b> SortedRows<'b> {
    /// Sorts the chosen rows. Rows that are equal in all sort columns keep the order they are given
    /// in, so that the same input gives the same file (K7).
    ///
    /// # Errors
    /// `Bug` if the batches lack a sort column.
    pub fn sort(
        table: TableName,
        batches: &'b [RecordBatch],
        mut rows: Vec<RowId>,
    ) -> Result<Self> {
        if table.sort_columns().is_empty() {
            return Ok(Self {
                table,
                batches,
                order: rows,
            });
        }
        let schema = row_schema(table);
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let fields = table
            .sort_columns()
            .iter()
            .map(|name| {
                let field = schema.field_with_name(name)?;
                Ok(SortField::new_with_options(
                    field.data_type().clone(),
                    options,
                ))
            })
            .collect::<std::result::Result<Vec<_>, arrow::error::ArrowError>>()
            .context("cannot find the sort columns")?;
        let converter = RowConverter::new(fields).context("cannot compare the sort columns")?;
        let keys = batches
            .iter()
            .map(|batch| {
                let columns: Vec<ArrayRef> = table
                    .sort_columns()
                    .iter()
                    .filter_map(|name| batch.column_by_name(name).cloned())
                    .collect();
                converter.convert_columns(&columns)
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .context("cannot compare the sort columns")?;
        rows.sort_by(|a, b| keys[a.0].row(a.1).cmp(&keys[b.0].row(b.1)));
        Ok(Self {
            table,
            batches,
            order: rows,
        })
    }

    /// The table these rows belong to.
    pub fn table(&self) -> TableName {
        self.table
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The rows `from..to` of one column.
    ///
    /// # Errors
    /// `Limit` if they do not fit one Arrow array.
    pub fn column(&self, index: usize, from: usize, to: usize) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = self
            .batches
            .iter()
            .map(|b| b.column(index).as_ref())
            .collect();
        interleave(&arrays, &self.order[from..to]).context("cannot gather sorted rows")
    }
}
